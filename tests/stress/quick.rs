//! An echo server in this process and peers of every manner. Every byte is checked, and the loop is verified
//! all the time.

use std::{
    net::SocketAddr,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ringback::{
    Check, Error, Kind, Loop, Remote, Result, Timer,
    net::{Event, ListenOptions, TcpStream},
};

use crate::{
    client::{self, Manner, Plan},
    random::{Bytes, Random, seed},
    wait::GUARD,
};

/// What the server counts.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) accepted: usize,
    pub(crate) open: usize,
    pub(crate) closed: usize,
    pub(crate) failures: usize,
    pub(crate) verified: usize,
    /// The most connections that were open at a time, without those that were closing.
    pub(crate) peak: usize,
}

/// An echo server in a thread of its own. The test reaches it by its `Remote`.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) remote: Remote<Served>,
    thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(options: ListenOptions) -> Server {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut lp = Loop::<Served>::new().unwrap();
            lp.on_failure(|_, served, _| {
                served.failures += 1;
                Ok(())
            });
            let listener = options.bind(&mut lp, "127.0.0.1:0").unwrap();
            listener.start(&mut lp, accept).unwrap();
            let mut turns = 0;
            // Verifying takes time in proportion to the connections, so it happens less often the more there
            // are.
            Check::every_turn(&mut lp, move |lp, served| {
                turns += 1;
                if turns % (1 + served.open / 16) == 0 {
                    lp.verify();
                    served.verified += 1;
                }
                Ok(())
            })
            .unwrap()
            .unref(&mut lp)
            .unwrap();
            let addr = listener.local_addr(&mut lp).unwrap();
            sender.send((addr, lp.remote())).unwrap();
            lp.run(&mut Served::default()).unwrap();
            lp.verify();
        });
        let (addr, remote) = receiver.recv().unwrap();
        Server { addr, remote, thread }
    }

    /// Runs a closure on the loop's thread, and returns its result.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut Loop<Served>, &mut Served) -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = mpsc::channel();
        self.remote
            .post(move |lp, served| {
                sender.send(query(lp, served)).map_err(|_| Error::other("the test has ended"))
            })
            .unwrap();
        receiver.recv().unwrap()
    }

    /// Waits until every connection is closed, and stops the server.
    pub(crate) fn finish(self) -> Served {
        let started = Instant::now();
        while self.ask(|_, served| served.open) > 0 {
            let late = started.elapsed() >= GUARD;
            assert!(!late, "connections are open:\n{}", self.ask(|lp, _| lp.why_alive().to_string()));
            thread::sleep(Duration::from_millis(5));
        }
        let served = self.ask(|lp, served| {
            // The listener and the hook.
            assert_eq!(lp.handles().len(), 2, "{:?}", lp.handles());
            lp.verify();
            lp.stop();
            std::mem::take(served)
        });
        self.thread.join().unwrap();
        served
    }
}

fn accept(lp: &mut Loop<Served>, served: &mut Served, conn: TcpStream) -> Result {
    served.accepted += 1;
    served.open += 1;
    let open = |entry: &ringback::HandleInfo| entry.origin.kind == Kind::TcpStream && !entry.closing;
    served.peak = served.peak.max(lp.handles().iter().filter(|entry| open(entry)).count());
    let mut closed = false;
    // Some connections wait for the completion of writes, some write in another callback, some in pieces.
    let manner = served.accepted % 4;
    conn.start(lp, move |lp, served, event| {
        assert!(!closed, "an event after Closed");
        if let Ok(Event::Closed) = event {
            closed = true;
            served.open -= 1;
            served.closed += 1;
            return Ok(());
        }
        match event? {
            Event::Data(bytes) if manner == 1 => {
                conn.write_then(lp, bytes, |_, _, result| match result {
                    Err(error) if !error.is_canceled() => Err(error),
                    _ => Ok(()),
                })?;
            }
            Event::Data(bytes) if manner == 2 => {
                // In another callback, later.
                let bytes = bytes.to_vec();
                lp.defer(move |lp, _| if conn.is_open(lp) { conn.write(lp, bytes) } else { Ok(()) });
            }
            Event::Data(bytes) if manner == 3 => {
                for piece in bytes.chunks(1 + bytes.len() / 3) {
                    conn.write(lp, piece.to_vec())?;
                }
            }
            Event::Data(bytes) => conn.write(lp, bytes)?,
            // Behind the deferred writes.
            Event::End => {
                lp.defer(move |lp, _| if conn.is_open(lp) { conn.finish(lp) } else { Ok(()) });
            }
            _ => {}
        }
        Ok(())
    })
}

#[test]
fn every_byte_comes_back_while_others_reset_stall_or_close() {
    let seed = seed("every_byte_comes_back_while_others_reset_stall_or_close");
    let server = Server::start(ListenOptions::new());
    let plan = Plan {
        addr: server.addr,
        total: 1500,
        at_once: 120,
        bytes_max: 4 << 20,
        chunk_max: 1 << 20,
        manners: &[
            Manner::Fair,
            Manner::Fair,
            Manner::Fair,
            Manner::Sips,
            Manner::Stalls,
            Manner::EndsEarly,
            Manner::Resets,
            Manner::Leaves,
            Manner::Visits,
        ],
        patience: GUARD,
    };
    let started = Instant::now();
    let tally = client::run(&plan, seed, |_| {});
    println!("{tally:?} in {:?}", started.elapsed());
    let served = server.finish();
    println!("{served:?}");
    assert_eq!((served.accepted, served.closed), (1500, 1500));
    assert!(served.verified > 0);
}

#[test]
fn a_listener_with_a_limit_serves_every_peer() {
    let seed = seed("a_listener_with_a_limit_serves_every_peer");
    let server = Server::start(ListenOptions::new().max_connections(7));
    let plan = Plan {
        addr: server.addr,
        total: 300,
        at_once: 60,
        bytes_max: 64 << 10,
        chunk_max: 4096,
        manners: &[Manner::Fair, Manner::Fair, Manner::Sips, Manner::Resets, Manner::Leaves, Manner::Visits],
        patience: GUARD,
    };
    client::run(&plan, seed, |_| {});
    let served = server.finish();
    assert_eq!((served.accepted, served.closed), (300, 300));
    assert_eq!(served.peak, 7);
}

/// The client is a loop, too: it connects, writes, gives up and connects again in callbacks.
#[test]
fn two_loops_talk_to_each_other() {
    let seed = seed("two_loops_talk_to_each_other");
    let server = Server::start(ListenOptions::new());
    let mut lp = Loop::<Caller>::new().unwrap();
    lp.on_failure(|_, _, failure| panic!("{failure}"));
    let mut caller = Caller {
        random: Random::new(seed),
        bytes: Bytes::new(),
        addr: server.addr,
        remaining: 1000,
        open: 0,
        complete: 0,
        given_up: 0,
    };
    for _ in 0..80 {
        call(&mut lp, &mut caller).unwrap();
    }
    let started = Instant::now();
    let mut turns = 0_u32;
    while lp.run_once(&mut caller).unwrap() {
        turns += 1;
        if turns % 64 == 0 {
            lp.verify();
            assert!(started.elapsed() < GUARD, "{}", lp.why_alive());
        }
    }
    assert!(lp.handles().is_empty());
    println!("{} complete, {} given up", caller.complete, caller.given_up);
    assert_eq!((caller.remaining, caller.open), (0, 0));
    assert_eq!(caller.complete + caller.given_up, 1000);
    let served = server.finish();
    assert_eq!(served.accepted, served.closed);
}

/// The state of the client's loop.
struct Caller {
    random: Random,
    bytes: Bytes,
    addr: SocketAddr,
    remaining: usize,
    open: usize,
    complete: usize,
    given_up: usize,
}

/// Makes a connection, and the next one when it is closed.
fn call(lp: &mut Loop<Caller>, caller: &mut Caller) -> Result {
    if caller.remaining == 0 {
        return Ok(());
    }
    caller.remaining -= 1;
    caller.open += 1;
    let id = caller.remaining as u64;
    let total = caller.random.size(1 << 20) as u64;
    let (mut sent, mut received, mut ended) = (0, 0, false);
    let give_up = caller.random.one_in(5).then(|| caller.random.below(total as usize) as u64);
    let reset = caller.random.one_in(2);
    let conn = TcpStream::connect(lp, caller.addr, |_, _, _| Ok(()))?;
    // Runs for the first time before the stream is connected: the bytes are queued.
    let mut write = move |lp: &mut Loop<Caller>, caller: &mut Caller| -> Result {
        while sent < total && conn.queued(lp) < 300_000 {
            let len = caller.random.size(100_000).min((total - sent) as usize);
            let piece = caller.bytes.at(id, sent, len);
            match caller.random.below(3) {
                0 => conn.write(lp, piece)?,
                1 => conn.write(lp, piece.to_vec())?,
                _ => conn.write_then(lp, std::rc::Rc::<[u8]>::from(piece), |_, _, _| Ok(()))?,
            }
            sent += len as u64;
        }
        if sent == total && !ended {
            ended = true;
            conn.finish(lp)?;
        }
        Ok(())
    };
    conn.set_watermarks(lp, 50_000, 200_000)?;
    conn.set_idle_timeout(lp, Some(GUARD))?;
    write(lp, caller)?;
    conn.start(lp, move |lp, caller, event| {
        match event? {
            Event::Data(bytes) => {
                assert!(caller.bytes.check(id, received, bytes), "wrong byte after {received}");
                received += bytes.len() as u64;
                if give_up.is_some_and(|limit| received > limit) {
                    if reset {
                        conn.close_reset(lp)?
                    } else {
                        conn.close(lp)
                    }
                    return Ok(());
                }
                write(lp, caller)?;
            }
            Event::Drained => write(lp, caller)?,
            Event::End => assert_eq!(received, total, "EOF before the last byte"),
            Event::Closed => {
                caller.open -= 1;
                if received == total {
                    caller.complete += 1;
                } else {
                    assert!(give_up.is_some());
                    caller.given_up += 1;
                }
                // Some at once, some after a delay.
                if caller.random.one_in(2) {
                    call(lp, caller)?;
                } else {
                    Timer::after(lp, Duration::from_micros(500), call)?;
                }
            }
            _ => {}
        }
        Ok(())
    })
}
