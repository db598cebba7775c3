//! One who is served by the same loop while others are in trouble: are its answers right, and do they come?

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::server::{GUARD, eventually};

/// How the probe asks, and what must be answered.
pub(crate) const ECHO: (&[u8], &[u8]) = (b"is anybody there?", b"is anybody there?");
pub(crate) const HTTP: (&[u8], &[u8]) = (
    b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 14\r\n\r\nHello, world!\n",
);

/// Round trips before the fault, to compare with.
const QUIET: usize = 200;
/// The least that must be served during one.
const SERVED_MIN: usize = 20;
/// A typical delay in the fault, and the worst one, in typical delays without: a loop that somebody holds up is far
/// above, a machine that has much to do stays far below.
const TYPICAL_MAX: u32 = 2_000;
const WORST_MAX: u32 = 100_000;

/// Quiet, fault, over.
const FAULT: usize = 1;
const OVER: usize = 2;

pub(crate) struct Probe {
    phase: Arc<AtomicUsize>,
    /// How many round trips there have been, in this phase.
    trips: Arc<AtomicUsize>,
    thread: JoinHandle<[Vec<Duration>; 2]>,
}

impl Probe {
    /// Connects, and has its quiet round trips.
    pub(crate) fn start(addr: SocketAddr, protocol: (&'static [u8], &'static [u8])) -> Probe {
        let (phase, trips) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, count) = (Arc::clone(&phase), Arc::clone(&trips));
        let thread = thread::spawn(move || watch(addr, protocol, &now, &count));
        let probe = Probe { phase, trips, thread };
        probe.sees(QUIET);
        probe
    }

    /// Waits until so many round trips were made.
    pub(crate) fn sees(&self, trips: usize) {
        let before = self.trips.load(Ordering::SeqCst);
        eventually("the probe is served", || {
            assert!(!self.thread.is_finished(), "the probe has failed");
            (self.trips.load(Ordering::SeqCst) >= before + trips).then_some(())
        });
    }

    /// From here on there is a fault.
    pub(crate) fn fault(&self) {
        self.phase.store(FAULT, Ordering::SeqCst);
    }

    /// The fault is over: judges the delays, and says what they were.
    pub(crate) fn finish(self) -> String {
        self.sees(SERVED_MIN);
        self.phase.store(OVER, Ordering::SeqCst);
        let [mut quiet, mut fault] = self.thread.join().expect("the probe was served");
        quiet.sort();
        fault.sort();
        let (usual, typical, worst) =
            (quiet[quiet.len() / 2], fault[fault.len() / 2], fault[fault.len() - 1]);
        let line = format!(
            "probe: {usual:.0?} typically and {:.0?} at worst before, {typical:.0?} and {worst:.0?} in {} round trips of the fault",
            quiet[quiet.len() - 1],
            fault.len()
        );
        assert!(typical <= usual * TYPICAL_MAX && worst <= usual * WORST_MAX, "others have waited: {line}");
        line
    }
}

fn watch(
    addr: SocketAddr,
    (question, right): (&[u8], &[u8]),
    phase: &AtomicUsize,
    trips: &AtomicUsize,
) -> [Vec<Duration>; 2] {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let mut delays = [Vec::new(), Vec::new()];
    let mut answer = vec![0; right.len()];
    loop {
        let now = phase.load(Ordering::SeqCst);
        if now == OVER {
            return delays;
        }
        let begun = Instant::now();
        stream.write_all(question).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert!(answer == right, "the probe was told {:?}", String::from_utf8_lossy(&answer));
        delays[now].push(begun.elapsed());
        trips.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1));
    }
}
