//! A fork in the middle of it: children that run another program, children that are copies and end, and what a copy
//! does to connections while it is there.
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

struct World {
    lp: Loop<State>,
    state: State,
    addr: net::SocketAddr,
}

impl World {
    fn new() -> World {
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
        World { lp, state: State::default(), addr }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&State) -> bool) {
        let begun = Instant::now();
        while !done(&self.state) {
            self.lp.run_for(&mut self.state, Duration::from_millis(1)).unwrap();
            self.lp.verify();
            assert!(begun.elapsed() < GUARD, "{what}: never\n{}", self.lp.why_alive());
        }
    }

    /// A new connection: the loop's end, and the peer's.
    fn connect(&mut self) -> (TcpStream, net::TcpStream) {
        let peer = net::TcpStream::connect(self.addr).unwrap();
        peer.set_nonblocking(true).unwrap();
        let before = self.state.streams.len();
        self.until("it is accepted", |state| state.streams.len() > before);
        (self.state.streams[before], peer)
    }

    /// What the peer says comes back.
    fn echoes(&mut self, peer: &mut net::TcpStream) {
        let text: Vec<u8> = (0..100_000_u32).map(|number| number as u8 ^ (number >> 8) as u8).collect();
        let (mut sent, mut heard, mut buffer) = (0, Vec::new(), vec![0; 64 << 10]);
        self.until("it comes back", |_| {
            sent += peer.write(&text[sent..]).unwrap_or(0);
            match peer.read(&mut buffer) {
                Ok(count) => heard.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            heard.len() == text.len()
        });
        assert!(heard == text, "another echo");
    }

    /// Timers, jobs, connections old and new: everything goes on.
    fn is_unharmed(&mut self, old: &mut net::TcpStream) {
        let (ticks, jobs) = (self.state.ticks, self.state.jobs);
        work::run(
            &mut self.lp,
            || 6 * 7,
            |_, state, answer| {
                state.jobs += answer? / 42;
                Ok(())
            },
        )
        .unwrap();
        self.echoes(old);
        let (stream, mut new) = self.connect();
        self.echoes(&mut new);
        stream.close(&mut self.lp);
        self.until("jobs and timers go on", |state| state.ticks >= ticks + 3 && state.jobs == jobs + 1);
    }
}

/// The sockets that a process has, by inode, and its epolls.
fn sockets(pid: u32) -> BTreeSet<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let names = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
    let names = names.map(|name| name.display().to_string());
    names.filter(|name| name.starts_with("socket:") || name.contains("eventpoll")).collect()
}

/// Whether the peer has been told of the end.
fn ended(peer: &mut net::TcpStream) -> bool {
    match peer.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// Another program, until its test is over.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Sleeper {
        let mut command = Command::new("sleep");
        // Or whoever reads what this process prints would wait for it.
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

/// A child that runs another program has none of the loop's descriptors.
fn a_program_is_started(world: &mut World) {
    let inherited = sockets(std::process::id());
    let (_, mut old) = world.connect();
    let (stream, mut peer) = world.connect();
    let ours: BTreeSet<String> = &sockets(std::process::id()) - &inherited;
    assert!(ours.len() >= 4, "two connections have four sockets: {ours:?}");
    let mut child = Sleeper::start();
    assert!(sockets(child.0.id()).is_disjoint(&ours), "the child has some of ours");
    stream.close(&mut world.lp);
    world.until("the peer is told of the end, though the child is there", |_| ended(&mut peer));
    assert!(child.0.try_wait().unwrap().is_none());
    world.is_unharmed(&mut old);
}

/// A copy of the process that does nothing until the pipe is closed, and then ends.
fn copy() -> (libc::pid_t, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    // SAFETY: the child calls nothing but `close`, `read` and `_exit`, which may be called when other threads held
    // whatever they held at the fork. Its ends of the pipe are open, and the buffer has a byte.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let mut byte = 0_u8;
        // SAFETY: as above.
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
    // SAFETY: the child is this process's, and `status` has room for the answer.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0);
}

/// A copy shares the sockets and the epoll. While it is there and does nothing, the loop goes on as ever; only
/// an end is told to nobody, for the system counts the copy's descriptor.
fn a_copy_is_made(world: &mut World) {
    let (_, mut old) = world.connect();
    let (stream, mut peer) = world.connect();
    let (pid, pipe) = copy();
    world.is_unharmed(&mut old);

    stream.close(&mut world.lp);
    peer.write_all(b"is anybody there?").unwrap();
    // The copy still has a socket with something to read. An epoll that still watched it would say so for ever.
    let (turns, ticks) = (world.lp.metrics().turns, world.state.ticks);
    world.until("some ticks pass", |state| state.ticks >= ticks + 50);
    let turns = world.lp.metrics().turns - turns;
    assert!(turns < 50 * 20, "{turns} turns for 50 ticks: it spins");
    assert!(!ended(&mut peer), "the copy has the connection, too");

    drop(pipe);
    wait_for(pid);
    world.until("the peer is told of the end when the copy is gone", |_| ended(&mut peer));
    world.is_unharmed(&mut old);
}

pub(crate) fn forking() {
    let rounds: u32 = parameter("ROUNDS");
    let mut world = World::new();
    for _ in 0..rounds {
        a_program_is_started(&mut world);
        a_copy_is_made(&mut world);
        world.state.streams.drain(..).for_each(|stream| stream.close(&mut world.lp));
    }
    world.lp.verify();
    println!("done: {rounds} programs started and {rounds} copies made with connections open");
}

#[test]
fn a_fork_takes_nothing_along_and_harms_nothing() {
    report("fork", run(subprocess("fork").env("ROUNDS", "5")));
}

#[test]
#[ignore = "the long form"]
fn five_hundred_forks_take_nothing_along_and_harm_nothing() {
    report("fork", run(subprocess("fork").env("ROUNDS", "500")));
}
