//! What an echo costs: the server's CPU time per message, against a loop written by hand on epoll.
//!
//!     cargo bench --bench echo
//!     cargo bench --bench echo -- --connections 50 --pairs 15 --seconds 2
//!
//! Each server is a process of its own, pinned to one core; the client, the same for both, is pinned to
//! another. Each connection has one message of 64 bytes in flight. The servers take turns, and each pair
//! of runs gives one ratio, so that whatever else the machine does meanwhile meets both alike.
//!
//! Prints, for 50 and for 1000 connections: microseconds of CPU time per message and messages per second
//! (median, and in brackets the least and the most), the latency that the client sees, and the median of
//! the ratios against its goal. With two cores and one of them busy with something else, only the ratio
//! means anything.
//!
//! To look into one server with `perf`, `strace` or `valgrind`, run the two sides by hand:
//!
//!     BENCH=target/release/deps/echo-…
//!     perf record -- $BENCH --bench --serve ringback     # or epoll; prints its address
//!     $BENCH --bench --drive 127.0.0.1:PORT --connections 50 --seconds 5

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this file as well, without the argument that `cargo bench` gives.
    if std::env::args().any(|argument| argument == "--bench") { linux::main() } else { Ok(()) }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This benchmark compares with epoll, so it needs Linux.");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        env,
        error::Error,
        fs,
        io::{self, BufRead, BufReader, Write},
        net::{Ipv4Addr, SocketAddr, SocketAddrV4},
        os::fd::{AsRawFd, OwnedFd},
        process::{Child, Command, Stdio},
        str::FromStr,
        thread,
        time::{Duration, Instant},
    };

    use ringback::{
        Loop,
        net::{Event, TcpListener},
    };
    use rustix::{
        buffer::spare_capacity,
        event::epoll,
        io::Errno,
        net::{
            AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect,
            getsockname, listen, recv, send, socket_with, sockopt::set_tcp_nodelay,
        },
        process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit},
        thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    };

    type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

    const MESSAGE: [u8; 64] = [b'm'; 64];
    /// What one wait of either server takes from the kernel, at most.
    const BATCH: usize = 1024;
    const GOAL: f64 = 1.10;
    const WARM_UP: Duration = Duration::from_millis(300);

    pub(super) fn main() -> Result {
        let options = Options::from_arguments()?;
        raise_descriptor_limit();
        if let Some(server) = &options.serve {
            if let Some(core) = options.core {
                pin_to(core)?;
                // The benchmark may be interrupted. Nobody should find its servers tomorrow.
                set_parent_process_death_signal(Some(Signal::KILL))?;
            }
            return serve(server);
        }
        if let Some(addr) = options.drive {
            return drive(addr, &options);
        }
        compare(&options)
    }

    struct Options {
        connections: Vec<usize>,
        pairs: usize,
        seconds: f64,
        serve: Option<String>,
        core: Option<usize>,
        drive: Option<SocketAddrV4>,
    }

    impl Options {
        fn from_arguments() -> Result<Options> {
            let mut options = Options {
                connections: vec![50, 1000],
                pairs: 7,
                seconds: 1.0,
                serve: None,
                core: None,
                drive: None,
            };
            let mut arguments = env::args().skip(1);
            while let Some(name) = arguments.next() {
                if name == "--bench" {
                    continue;
                }
                let value = arguments.next().ok_or_else(|| format!("{name}: a value is missing"))?;
                match name.as_str() {
                    "--connections" => options.connections = vec![at_least_one(&name, &value)?],
                    "--pairs" => options.pairs = at_least_one(&name, &value)?,
                    "--seconds" => options.seconds = parse(&name, &value)?,
                    "--serve" => options.serve = Some(value),
                    "--core" => options.core = Some(parse(&name, &value)?),
                    "--drive" => options.drive = Some(parse(&name, &value)?),
                    _ => return Err(format!("{name}: no such option").into()),
                }
            }
            Ok(options)
        }

        fn window(&self) -> Duration {
            Duration::from_secs_f64(self.seconds)
        }
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<T> {
        value.parse().map_err(|error| format!("{name} {value}: {error}").into())
    }

    fn at_least_one(name: &str, value: &str) -> Result<usize> {
        Ok(parse::<usize>(name, value)?.max(1))
    }

    // ---- the servers

    fn serve(server: &str) -> Result {
        match server {
            "ringback" => Ok(serve_ringback()?),
            "epoll" => Ok(serve_epoll()?),
            _ => Err(format!("--serve {server}: ringback or epoll").into()),
        }
    }

    fn say_where(addr: SocketAddr) -> io::Result<()> {
        println!("{addr}");
        io::stdout().flush()
    }

    /// The echo server of the documentation, word for word.
    fn serve_ringback() -> ringback::Result {
        let mut lp = Loop::new()?;
        lp.on_failure(|_, _, failure| {
            eprintln!("{failure}");
            Ok(())
        });
        let listener = TcpListener::bind(&mut lp, "127.0.0.1:0")?;
        listener.start(&mut lp, |lp, _, conn| {
            conn.start(lp, move |lp, _, event| {
                match event? {
                    Event::Data(bytes) => conn.write(lp, bytes)?,
                    Event::End => conn.finish(lp)?,
                    _ => {}
                }
                Ok(())
            })
        })?;
        say_where(listener.local_addr(&mut lp)?).map_err(ringback::Error::other)?;
        lp.run(&mut ())
    }

    /// The least that an echo server can do: what is read is sent, and what the system does not take at
    /// once is the end of the connection. No queue, no time, no ids. It is the yardstick, not a server.
    fn serve_epoll() -> io::Result<()> {
        const LISTENER: u64 = u64::MAX;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        // Inherited by what is accepted, and set here because ringback sets it.
        set_tcp_nodelay(&listener, true)?;
        bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        listen(&listener, 1024)?;
        say_where(getsockname(&listener)?.try_into()?)?;

        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        // By descriptor, as the kernel has them.
        let mut connections: Vec<Option<OwnedFd>> = Vec::new();
        let mut events = Vec::with_capacity(BATCH);
        let mut buffer = vec![0; 64 << 10];
        loop {
            events.clear();
            match epoll::wait(&epoll, spare_capacity(&mut events), None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            for event in &events {
                let key = event.data.u64();
                if key == LISTENER {
                    loop {
                        let connection = match accept_with(&listener, flags) {
                            Ok(connection) => connection,
                            Err(Errno::AGAIN) => break,
                            Err(error) => return Err(error.into()),
                        };
                        let place = connection.as_raw_fd() as usize;
                        let key = epoll::EventData::new_u64(place as u64);
                        epoll::add(&epoll, &connection, key, epoll::EventFlags::IN)?;
                        if place >= connections.len() {
                            connections.resize_with(place + 1, || None);
                        }
                        connections[place] = Some(connection);
                    }
                    continue;
                }
                let Some(connection) = &connections[key as usize] else { continue };
                let echoed = match recv(connection, &mut buffer[..], RecvFlags::empty()) {
                    Ok((0, _)) => false,
                    Ok((count, _)) => send(connection, &buffer[..count], SendFlags::NOSIGNAL) == Ok(count),
                    Err(error) => error == Errno::AGAIN,
                };
                if !echoed {
                    connections[key as usize] = None;
                }
            }
        }
    }

    // ---- the client

    struct Connection {
        socket: OwnedFd,
        /// Bytes of the message that have come back.
        received: usize,
        sent_at: Instant,
    }

    struct Client {
        epoll: OwnedFd,
        connections: Vec<Connection>,
        events: Vec<epoll::Event>,
        buffer: Vec<u8>,
    }

    impl Client {
        fn connect(addr: SocketAddrV4, count: usize) -> io::Result<Client> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let mut connections = Vec::with_capacity(count);
            for index in 0..count {
                let flags = SocketFlags::CLOEXEC;
                let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
                set_tcp_nodelay(&socket, true)?;
                connect(&socket, &addr)?;
                rustix::io::ioctl_fionbio(&socket, true)?;
                epoll::add(&epoll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
                connections.push(Connection { socket, received: 0, sent_at: Instant::now() });
            }
            let events = Vec::with_capacity(BATCH);
            Ok(Client { epoll, connections, events, buffer: vec![0; 4 << 10] })
        }

        /// Sends a message on each connection, and another each time one has come back, for as long as
        /// `window`; then waits for those that are under way, so that the server has nothing left to do.
        /// Adds the time that each took to `latencies`, in nanoseconds.
        fn exchange(&mut self, window: Duration, latencies: &mut Vec<u32>) -> io::Result<()> {
            let end = Instant::now() + window;
            for connection in &mut self.connections {
                connection.sent_at = Instant::now();
                send_message(&connection.socket)?;
            }
            let mut under_way = self.connections.len();
            while under_way > 0 {
                self.events.clear();
                match epoll::wait(&self.epoll, spare_capacity(&mut self.events), None) {
                    Err(Errno::INTR) => continue,
                    other => other?,
                };
                for event in &self.events {
                    let connection = &mut self.connections[event.data.u64() as usize];
                    match recv(&connection.socket, &mut self.buffer[..], RecvFlags::empty()) {
                        Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok((count, _)) => connection.received += count,
                        Err(Errno::AGAIN) => {}
                        Err(error) => return Err(error.into()),
                    }
                    if connection.received < MESSAGE.len() {
                        continue;
                    }
                    connection.received = 0;
                    let now = Instant::now();
                    let latency = now.duration_since(connection.sent_at).as_nanos();
                    latencies.push(u32::try_from(latency).unwrap_or(u32::MAX));
                    if now < end {
                        connection.sent_at = now;
                        send_message(&connection.socket)?;
                    } else {
                        under_way -= 1;
                    }
                }
            }
            Ok(())
        }
    }

    fn send_message(socket: &OwnedFd) -> io::Result<()> {
        let sent = send(socket, &MESSAGE, SendFlags::NOSIGNAL)?;
        // One message in flight always fits into an empty socket buffer.
        assert_eq!(sent, MESSAGE.len(), "a message leaves in one piece");
        Ok(())
    }

    /// Only the client, for a server that somebody has started by hand.
    fn drive(addr: SocketAddrV4, options: &Options) -> Result {
        let mut client = Client::connect(addr, options.connections[0])?;
        let mut latencies = Vec::new();
        client.exchange(options.window(), &mut latencies)?;
        println!("{} messages", latencies.len());
        Ok(())
    }

    // ---- measuring

    struct Server {
        process: Child,
        addr: SocketAddrV4,
    }

    impl Server {
        fn start(name: &str, core: usize) -> Result<Server> {
            let mut process = Command::new(env::current_exe()?)
                .args(["--bench", "--serve", name, "--core", &core.to_string()])
                .stdout(Stdio::piped())
                .spawn()?;
            let mut line = String::new();
            if let Some(output) = process.stdout.take() {
                BufReader::new(output).read_line(&mut line)?;
            }
            match line.trim().parse() {
                Ok(addr) => Ok(Server { process, addr }),
                Err(_) => {
                    let status = process.wait()?;
                    Err(format!("the server {name} did not say where it listens: {status}").into())
                }
            }
        }

        /// CPU time in nanoseconds, of the process's one thread. Exact only while it is blocked: of a
        /// thread that runs, the kernel tells what it knew at the last tick.
        fn cpu_time(&self) -> Result<u64> {
            let path = format!("/proc/{}/schedstat", self.process.id());
            let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            let first = text.split_whitespace().next().unwrap_or_default();
            parse(&path, first)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            // It may have ended by itself; that was reported by whoever missed its answers.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    /// One run of one server.
    struct Run {
        micros_per_message: f64,
        messages_per_second: f64,
        /// In microseconds.
        latency_median: f64,
        latency_99: f64,
    }

    fn run(name: &str, core: usize, connections: usize, window: Duration) -> Result<Run> {
        // A new process each time, because where the loader puts things makes a difference, too.
        let server = Server::start(name, core)?;
        let mut client = Client::connect(server.addr, connections)?;
        let mut latencies = Vec::with_capacity(1 << 20);
        client.exchange(WARM_UP, &mut latencies)?;
        latencies.clear();
        // Until the server blocks, and its CPU time is accounted for.
        thread::sleep(Duration::from_millis(5));
        let before = server.cpu_time()?;
        let begun = Instant::now();
        client.exchange(window, &mut latencies)?;
        let took = begun.elapsed();
        thread::sleep(Duration::from_millis(5));
        let spent = server.cpu_time()? - before;

        let messages = latencies.len() as f64;
        latencies.sort_unstable();
        let quantile = |share: f64| {
            let place = (messages * share) as usize;
            f64::from(latencies[place.min(latencies.len() - 1)]) / 1000.0
        };
        Ok(Run {
            micros_per_message: spent as f64 / 1000.0 / messages,
            messages_per_second: messages / took.as_secs_f64(),
            latency_median: quantile(0.5),
            latency_99: quantile(0.99),
        })
    }

    fn compare(options: &Options) -> Result {
        let cores = allowed_cores()?;
        // The first and the last: hardly ever two threads of one core. `taskset` chooses others.
        let (server_core, client_core) = (cores[0], cores[cores.len() - 1]);
        pin_to(client_core)?;
        println!("Linux {} on {}", kernel(), cpu_model());
        println!("server on core {server_core}, client on core {client_core}");
        if server_core == client_core {
            println!("(only one core may be used: both share it)");
        }
        println!(
            "messages of {} bytes, one in flight per connection; {} pairs of {} s\n",
            MESSAGE.len(),
            options.pairs,
            options.seconds
        );
        println!(
            "{:>11}  {:<8}  {:^26}  {:^26}  {:>6}  {:>6}",
            "connections", "server", "CPU µs/message", "1000 messages/s", "p50 µs", "p99 µs"
        );
        for &connections in &options.connections {
            let (mut ringback, mut epoll) = (Vec::new(), Vec::new());
            for pair in 0..options.pairs {
                // Who goes first changes, so that a machine that warms up favours neither.
                let order = if pair % 2 == 0 { ["ringback", "epoll"] } else { ["epoll", "ringback"] };
                for name in order {
                    let run = run(name, server_core, connections, options.window())?;
                    if name == "ringback" { ringback.push(run) } else { epoll.push(run) }
                }
            }
            for (name, runs) in [("ringback", &ringback), ("epoll", &epoll)] {
                let spread = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
                println!(
                    "{connections:>11}  {name:<8}  {:^26}  {:^26}  {:>6.0}  {:>6.0}",
                    spread(|run| run.micros_per_message).to_string(),
                    spread(|run| run.messages_per_second / 1000.0).to_string(),
                    spread(|run| run.latency_median).median,
                    spread(|run| run.latency_99).median,
                );
            }
            let ratios = ringback.iter().zip(&epoll);
            let ratio =
                Spread::of(ratios.map(|(ours, raw)| ours.micros_per_message / raw.micros_per_message));
            let verdict = if ratio.median <= GOAL { "met" } else { "not met" };
            println!(
                "{connections:>11}  {:<8}  {:^26}  goal ≤ {GOAL:.2}: {verdict}\n",
                "ratio",
                ratio.to_string()
            );
        }
        Ok(())
    }

    struct Spread {
        least: f64,
        median: f64,
        most: f64,
    }

    impl Spread {
        fn of(figures: impl Iterator<Item = f64>) -> Spread {
            let mut figures: Vec<f64> = figures.collect();
            figures.sort_unstable_by(f64::total_cmp);
            let last = figures.len() - 1;
            // Of an even number the median lies between the two in the middle.
            let median = (figures[last / 2] + figures[figures.len() / 2]) / 2.0;
            Spread { least: figures[0], median, most: figures[last] }
        }
    }

    impl std::fmt::Display for Spread {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let decimals = if self.median < 10.0 { 3 } else { 1 };
            let Spread { least, median, most } = self;
            write!(out, "{median:.decimals$} [{least:.decimals$}, {most:.decimals$}]")
        }
    }

    // ---- the machine

    fn allowed_cores() -> Result<Vec<usize>> {
        let allowed = sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect())
    }

    fn pin_to(core: usize) -> Result {
        let mut cores = CpuSet::new();
        cores.set(core);
        sched_setaffinity(None, &cores).map_err(|error| format!("core {core}: {error}").into())
    }

    /// As many descriptors as the system lets everybody have. If it does not, connecting will say so.
    fn raise_descriptor_limit() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }

    fn kernel() -> String {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        release.trim().to_owned()
    }

    fn cpu_model() -> String {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        model.map_or_else(|| env::consts::ARCH.to_owned(), |(_, model)| model.to_owned())
    }
}
