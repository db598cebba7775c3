//! Forks while connections are open: children that exec another program, and children that stay a copy of the
//! process for a while.
#![allow(unsafe_code, reason = "a plain fork is the C library's")]

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net,
    os::fd::{AsRawFd, OwnedFd},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ringback::{
    Loop, Timer,
    net::{Event, TcpListener, TcpStream},
    work,
};

use crate::{
    server::GUARD,
    subprocess::{parameter, report, run, subprocess},
};

#[derive(Default)]
struct State {
    streams: Vec<TcpStream>,
    ticks: u64,
    jobs: u64,
}

struct EchoServer {
    lp: Loop<State>,
    state: State,
    addr: net::SocketAddr,
}

impl EchoServer {
    fn new() -> EchoServer {
        let mut lp = Loop::<State>::new().unwrap();
        lp.on_failure(|_, _, failure| panic!("{failure}"));
        let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
        listener
            .start(&mut lp, |lp, state, conn| {
                state.streams.push(conn);
                conn.start(lp, move |lp, _, event| match event? {
                    Event::Data(bytes) => conn.write(lp, bytes),
                    Event::End => conn.finish(lp),
                    _ => Ok(()),
                })
            })
            .unwrap();
        Timer::every(&mut lp, Duration::from_millis(1), |_, state| {
            state.ticks += 1;
            Ok(())
        })
        .unwrap();
        let addr = listener.local_addr(&mut lp).unwrap();
        EchoServer { lp, state: State::default(), addr }
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&State) -> bool) {
        let begun = Instant::now();
        while !done(&self.state) {
            self.lp.run_for(&mut self.state, Duration::from_millis(1)).unwrap();
            self.lp.verify();
            assert!(begun.elapsed() < GUARD, "{what}: not within {GUARD:?}\n{}", self.lp.why_alive());
        }
    }

    /// A new connection: the loop's end, and the peer's.
    fn connect(&mut self) -> (TcpStream, net::TcpStream) {
        let peer = net::TcpStream::connect(self.addr).unwrap();
        peer.set_nonblocking(true).unwrap();
        let before = self.state.streams.len();
        self.run_until("the connection is accepted", |state| state.streams.len() > before);
        (self.state.streams[before], peer)
    }

    /// Checks that what the peer sends is echoed.
    fn echoes(&mut self, peer: &mut net::TcpStream) {
        let text: Vec<u8> = (0..100_000_u32).map(|number| number as u8 ^ (number >> 8) as u8).collect();
        let (mut sent, mut received, mut buffer) = (0, Vec::new(), vec![0; 64 << 10]);
        self.run_until("everything is echoed", |_| {
            sent += peer.write(&text[sent..]).unwrap_or(0);
            match peer.read(&mut buffer) {
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            received.len() == text.len()
        });
        assert!(received == text, "the echo differs");
    }

    /// Checks that timers, jobs, and connections old and new still work.
    fn is_unharmed(&mut self, old: &mut net::TcpStream) {
        let (ticks, jobs) = (self.state.ticks, self.state.jobs);
        work::run(
            &mut self.lp,
            || 6 * 7,
            |_, state, result| {
                state.jobs += result? / 42;
                Ok(())
            },
        )
        .unwrap();
        self.echoes(old);
        let (stream, mut new) = self.connect();
        self.echoes(&mut new);
        stream.close(&mut self.lp);
        self.run_until("a job and three ticks", |state| state.ticks >= ticks + 3 && state.jobs == jobs + 1);
    }
}

/// The sockets (by inode) and epoll instances that a process has.
fn sockets(pid: u32) -> BTreeSet<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
    let names = names.map(|name| name.display().to_string());
    names.filter(|name| name.starts_with("socket:") || name.contains("eventpoll")).collect()
}

/// Returns whether the peer has received EOF or a reset.
fn has_ended(peer: &mut net::TcpStream) -> bool {
    match peer.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Another program, killed when the test is over.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        let mut command = Command::new("sleep");
        // Without this process's output: a reader of that would wait for the child's copy to be closed.
        let command = command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Sleeper(command.spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A child that execs another program has none of the loop's descriptors.
fn exec(server: &mut EchoServer) {
    let inherited = sockets(std::process::id());
    let (_, mut old) = server.connect();
    let (stream, mut peer) = server.connect();
    let ours: BTreeSet<String> = &sockets(std::process::id()) - &inherited;
    assert!(ours.len() >= 4, "two connections are four sockets: {ours:?}");
    let mut child = Sleeper::start();
    assert!(sockets(child.0.id()).is_disjoint(&ours), "the child has inherited descriptors");
    stream.close(&mut server.lp);
    server.run_until("the peer receives EOF while the child runs", |_| has_ended(&mut peer));
    assert!(child.0.try_wait().unwrap().is_none());
    server.is_unharmed(&mut old);
}

/// Forks. The child does nothing until the pipe is closed, and then exits.
fn fork() -> (libc::pid_t, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // SAFETY: the child calls nothing but `close`, `read` and `_exit`, which are async-signal-safe, so no
    // lock that another thread held at the fork matters.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let mut byte = 0_u8;
        // SAFETY: as above; `read` writes one byte, to `byte`.
        unsafe {
            libc::close(writer.as_raw_fd());
            libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::_exit(0);
        }
    }
    (pid, writer)
}

fn wait_for(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: the call writes to `status` only.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0);
}

/// A forked child shares the sockets and the epoll instance. While it does nothing, the loop works as before;
/// only closing a connection sends no FIN, because the child still has the descriptor.
fn fork_without_exec(server: &mut EchoServer) {
    let (_, mut old) = server.connect();
    let (stream, mut peer) = server.connect();
    let (pid, pipe) = fork();
    server.is_unharmed(&mut old);

    stream.close(&mut server.lp);
    peer.write_all(b"is anybody there?").unwrap();
    // The child's socket is readable. An epoll instance that still watched it would report it on every wait.
    let (turns, ticks) = (server.lp.metrics().turns, server.state.ticks);
    server.run_until("50 ticks pass", |state| state.ticks >= ticks + 50);
    let turns = server.lp.metrics().turns - turns;
    assert!(turns < 50 * 20, "{turns} turns for 50 ticks: the loop spins");
    assert!(!has_ended(&mut peer), "EOF although the child has the connection, too");

    drop(pipe);
    wait_for(pid);
    server.run_until("the peer receives EOF when the child is gone", |_| has_ended(&mut peer));
    server.is_unharmed(&mut old);
}

pub(crate) fn forking() {
    let rounds: u32 = parameter("ROUNDS");
    let mut server = EchoServer::new();
    for _ in 0..rounds {
        exec(&mut server);
        fork_without_exec(&mut server);
        server.state.streams.drain(..).for_each(|stream| stream.close(&mut server.lp));
    }
    server.lp.verify();
    println!("done: {rounds} times fork and exec, {rounds} times fork alone, with connections open");
}

#[test]
fn a_fork_inherits_no_descriptor_and_harms_no_connection() {
    report("fork", run(subprocess("fork").env("ROUNDS", "5")));
}

#[test]
#[ignore = "long form"]
fn hundreds_of_forks_inherit_no_descriptor_and_harm_no_connection() {
    report("fork", run(subprocess("fork").env("ROUNDS", "500")));
}
