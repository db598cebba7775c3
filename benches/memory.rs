//! What things weigh: the heap bytes of an idle connection, of a timer and of an idle hook.
//!
//!     cargo bench --bench memory
//!
//! Each kind is made in great number in a process of its own, whose allocator counts. The peers of the
//! connections live in another process, so that nothing of theirs is counted. Each connection has
//! exchanged a message before it is weighed, so its write queue has been used; each callback captures
//! what a small one would: its own id and a number.
//!
//! Prints, for each kind: the bytes asked of the allocator, which includes the room that the loop's
//! tables keep for growing, and in how many blocks; and by how much the process's resident memory grew,
//! which includes what the allocator itself needs for each block. What the kernel keeps for a socket is
//! in neither.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this file as well, without the argument that `cargo bench` gives.
    if std::env::args().any(|argument| argument == "--bench") { linux::main() } else { Ok(()) }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This benchmark asks /proc about memory, so it needs Linux.");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        alloc::System,
        env,
        error::Error,
        fs,
        io::{self, Read, Write},
        net::{SocketAddr, TcpStream},
        process::{Command, Stdio},
        time::Duration,
    };

    use ringback::{
        Idle, Loop, Timer,
        net::{Event, TcpListener},
    };
    use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
    use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

    // From a crate, because an allocator cannot be written without `unsafe`, which is denied here.
    #[global_allocator]
    static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

    type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

    const CONNECTIONS: usize = 10_000;
    const TIMERS: usize = 1_000_000;
    const HOOKS: usize = 100_000;
    /// Of an idle connection: what libuv's takes, with a number of its owner's.
    const GOAL: f64 = 272.0;
    /// Descriptors that a process needs besides those of its connections, generously.
    const DESCRIPTORS_SPARE: usize = 50;

    pub(super) fn main() -> Result {
        let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if let [_, ..] = arguments[..] {
            // A benchmark that is interrupted should leave no process behind.
            set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        match arguments[..] {
            [] => weigh_all(),
            ["connections"] => weigh_connections(),
            ["timers"] => weigh_timers(),
            ["hooks"] => weigh_hooks(),
            ["peers", addr, count] => be_peers(addr.parse()?, count.parse()?),
            _ => Err(format!("no such arguments: {arguments:?}").into()),
        }
    }

    fn weigh_all() -> Result {
        println!(
            "{:<16}  {:>9}  {:>10}  {:>11}  {:>14}",
            "", "number", "heap bytes", "heap blocks", "resident bytes"
        );
        for what in ["connections", "timers", "hooks"] {
            // One process each: memory that one has given back would be resident before the next begins.
            let status = this_program(&[what])?.status()?;
            if !status.success() {
                return Err(format!("{what}: {status}").into());
            }
        }
        Ok(())
    }

    fn this_program(arguments: &[&str]) -> io::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("--bench").args(arguments);
        Ok(command)
    }

    // ---- the scales

    #[derive(Clone, Copy)]
    struct Weight {
        bytes: usize,
        blocks: usize,
        resident: usize,
    }

    fn weigh() -> Result<Weight> {
        let stats = ALLOCATOR.stats();
        Ok(Weight {
            bytes: stats.bytes_allocated - stats.bytes_deallocated,
            blocks: stats.allocations - stats.deallocations,
            resident: resident()?,
        })
    }

    /// Of the heap and other memory without a file, by the kernel's own books.
    fn resident() -> Result<usize> {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no RssAnon here")?;
        Ok(kibibytes.parse::<usize>()? * 1024)
    }

    /// What `number` of them have added since `before`. Gives the bytes of one.
    fn report(what: &str, number: usize, before: Weight) -> Result<f64> {
        let now = weigh()?;
        let each = |now: usize, before: usize| (now as f64 - before as f64) / number as f64;
        let bytes = each(now.bytes, before.bytes);
        print!(
            "{what:<16}  {number:>9}  {bytes:>10.1}  {:>11.2}  {:>14.1}",
            each(now.blocks, before.blocks),
            each(now.resident, before.resident),
        );
        Ok(bytes)
    }

    // ---- what is weighed

    fn weigh_timers() -> Result {
        let mut lp = Loop::<u64>::new()?;
        let before = weigh()?;
        for number in 0..TIMERS as u64 {
            let delay = Duration::from_secs(3600) + Duration::from_micros(number);
            Timer::after(&mut lp, delay, move |_, sum| {
                *sum += number;
                Ok(())
            })?;
        }
        report("timer", TIMERS, before)?;
        println!();
        Ok(())
    }

    fn weigh_hooks() -> Result {
        let mut lp = Loop::<u64>::new()?;
        let before = weigh()?;
        for number in 0..HOOKS as u64 {
            Idle::every_turn(&mut lp, move |_, sum| {
                *sum += number;
                Ok(())
            })?;
        }
        report("idle hook", HOOKS, before)?;
        println!();
        Ok(())
    }

    /// An echo server, whose state is the number of connections that have had a message.
    fn weigh_connections() -> Result {
        let connections = CONNECTIONS.min(descriptor_limit().saturating_sub(DESCRIPTORS_SPARE));
        let mut lp = Loop::new()?;
        let listener = TcpListener::bind(&mut lp, "127.0.0.1:0")?;
        listener.start(&mut lp, move |lp, _, conn| {
            let mut messages = 0_u64;
            conn.start(lp, move |lp, greeted: &mut usize, event| {
                if let Event::Data(bytes) = event? {
                    conn.write(lp, bytes)?;
                    messages += 1;
                    if messages == 1 {
                        *greeted += 1;
                    }
                    if *greeted == connections {
                        lp.stop();
                    }
                }
                Ok(())
            })
        })?;
        let addr = listener.local_addr(&mut lp)?.to_string();
        let mut peers =
            this_program(&["peers", &addr, &connections.to_string()])?.stdin(Stdio::piped()).spawn()?;

        // One connection first: what the loop makes when it is first needed, its read buffer above all,
        // belongs to no connection.
        let mut greeted = 0;
        while greeted == 0 {
            lp.run_once(&mut greeted)?;
        }
        let before = weigh()?;
        lp.run(&mut greeted)?;
        let bytes = report("idle connection", connections - 1, before)?;
        let verdict = if bytes <= GOAL { "met" } else { "not met" };
        println!("  goal ≤ {GOAL} heap bytes: {verdict}");
        if connections < CONNECTIONS {
            println!("({CONNECTIONS} were wanted; the limit of descriptors allows no more)");
        }

        drop(peers.stdin.take());
        let status = peers.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the peers: {status}").into()) }
    }

    /// Connects, exchanges one message on each connection, and keeps them until it is told to end.
    fn be_peers(addr: SocketAddr, count: usize) -> Result {
        descriptor_limit();
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            let mut socket = TcpStream::connect(addr)?;
            let mut answer = [0; 64];
            socket.write_all(&[b'm'; 64])?;
            socket.read_exact(&mut answer)?;
            sockets.push(socket);
        }
        io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// Raises the limit of open descriptors as far as everybody may, and says how many there may be.
    fn descriptor_limit() -> usize {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // If it is refused, the limit stays what it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        usize::try_from(current).unwrap_or(usize::MAX)
    }
}
