//! Counts the instructions of the five hottest paths, and compares them with limits. A noisy machine cannot
//! disturb it.
//!
//!     cargo bench --bench instructions                # needs valgrind
//!
//! Each path runs twice under valgrind's callgrind, with different numbers of operations. The difference of
//! the counts is divided by the difference of the operations, so the start-up cancels out. The kernel's part
//! of a system call is not counted.
//!
//! Exit status 1 if a path takes more than its limit, which is a little above the count when it was set. A
//! change that makes a path shorter lowers its limit. One that makes it longer raises it, and its commit says
//! why.

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this file, too, without the argument `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [path, count] => linux::run(path, count.parse()?),
        [] if std::env::args().any(|argument| argument == "--bench") => linux::check(),
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("this check needs valgrind on Linux");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        env,
        error::Error,
        io::{Read, Write},
        net, process,
        time::Duration,
    };

    use ringback::{
        Idle, Loop, Timer, channel,
        net::{Event, TcpStream},
    };

    type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

    struct Path {
        name: &'static str,
        what: &'static str,
        /// Instructions per operation, at most.
        limit: u64,
        run: fn(u64) -> Result,
    }

    const PATHS: [Path; 5] = [
        Path { name: "echo", what: "a message of 64 bytes, read and sent back", limit: 1475, run: echo },
        Path { name: "write", what: "a small write, coalesced with fifteen others", limit: 245, run: write },
        Path { name: "timer", what: "a timer, started, fired and closed", limit: 1205, run: timer },
        Path { name: "turn", what: "a turn with an idle hook", limit: 505, run: turn },
        Path { name: "channel", what: "a value, sent and delivered", limit: 180, run: send },
    ];

    /// How far above its limit a count may be: another version of the compiler varies by less than this.
    const TOLERANCE: f64 = 1.025;

    pub(super) fn check() -> Result {
        let mut over = 0;
        println!("{:<9} {:>12} {:>7}", "path", "instructions", "limit");
        for path in &PATHS {
            let (few, many) = (2_000, 10_000);
            let instructions = (count(path.name, many)? - count(path.name, few)?) / (many - few);
            let is_over = instructions as f64 > path.limit as f64 * TOLERANCE;
            over += usize::from(is_over);
            let verdict = if is_over { "  OVER THE LIMIT" } else { "" };
            println!("{:<9} {:>12} {:>7}  {}{verdict}", path.name, instructions, path.limit, path.what);
        }
        if over > 0 { Err(format!("{over} path(s) over the limit").into()) } else { Ok(()) }
    }

    /// Returns the instructions of a process that does so many operations of a path.
    fn count(path: &str, operations: u64) -> Result<u64> {
        let output = process::Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(env::current_exe()?)
            .args([path, &operations.to_string()])
            .output()
            .map_err(|error| format!("valgrind: {error} (apt-get install -y valgrind)"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1));
        match collected {
            Some(number) if output.status.success() => Ok(number.trim().parse()?),
            _ => Err(format!("{path}: {text}").into()),
        }
    }

    pub(super) fn run(name: &str, operations: u64) -> Result {
        let path = PATHS.iter().find(|path| path.name == name).ok_or("unknown path")?;
        (path.run)(operations)
    }

    /// Returns a stream of the loop, and the blocking socket at the other end of its connection.
    fn pair(lp: &mut Loop) -> Result<(TcpStream, net::TcpStream)> {
        let listener = net::TcpListener::bind("127.0.0.1:0")?;
        let peer = net::TcpStream::connect(listener.local_addr()?)?;
        peer.set_nodelay(true)?;
        Ok((TcpStream::from_std(lp, listener.accept()?.0)?, peer))
    }

    fn echo(operations: u64) -> Result {
        let mut lp = Loop::new()?;
        let (stream, mut peer) = pair(&mut lp)?;
        stream.start(&mut lp, move |lp, _, event| match event? {
            Event::Data(bytes) => stream.write(lp, bytes),
            _ => Ok(()),
        })?;
        let mut message = [b'm'; 64];
        for _ in 0..operations {
            peer.write_all(&message)?;
            lp.run_once(&mut ())?;
            peer.read_exact(&mut message)?;
        }
        Ok(())
    }

    fn write(operations: u64) -> Result {
        let mut lp = Loop::new()?;
        let (stream, mut peer) = pair(&mut lp)?;
        stream.start(&mut lp, move |lp, _, event| match event? {
            Event::Data(_) => (0..16).try_for_each(|_| stream.write(lp, &[b'm'; 64])),
            _ => Ok(()),
        })?;
        let mut received = [0; 16 * 64];
        for _ in 0..operations / 16 {
            peer.write_all(b"x")?;
            lp.run_once(&mut ())?;
            peer.read_exact(&mut received)?;
        }
        Ok(())
    }

    fn timer(operations: u64) -> Result {
        let mut lp = Loop::new()?;
        for _ in 0..operations {
            // So long that no timer is due before the last one is started.
            Timer::after(&mut lp, Duration::from_millis(400), |_, _| Ok(()))?;
        }
        Ok(lp.run(&mut ())?)
    }

    fn turn(operations: u64) -> Result {
        let mut lp = Loop::new()?;
        let idle = Idle::new(&mut lp)?;
        idle.start(&mut lp, move |lp, left: &mut u64| {
            *left -= 1;
            if *left == 0 { idle.stop(lp) } else { Ok(()) }
        })?;
        Ok(lp.run(&mut { operations })?)
    }

    fn send(operations: u64) -> Result {
        let mut lp = Loop::new()?;
        let (_, sender) = channel::unbounded(&mut lp, |_, sum: &mut u64, value: u64| {
            *sum += value;
            Ok(())
        })?;
        for value in 0..operations {
            sender.send(value).map_err(|refused| refused.error)?;
        }
        drop(sender);
        Ok(lp.run(&mut 0)?)
    }
}
