//! A client that measures latency: it sends well-formed requests to a server while other clients of the same
//! loop cause a fault. Its responses must be right, and its round trips are compared with those before the
//! fault.

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

/// A request, and the response to it.
type Protocol = (&'static [u8], &'static [u8]);

pub(crate) const ECHO: Protocol = (b"is anybody there?", b"is anybody there?");
pub(crate) const HTTP: Protocol = (
    b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 14\r\n\r\nHello, world!\n",
);

/// Round trips before the fault, to compare with.
const QUIET_TRIPS: usize = 200;
/// The fewest round trips during the fault.
const FAULT_TRIPS_MIN: usize = 20;
/// Limits of the median and of the longest round trip during the fault, in medians before it. A loop that one
/// client blocks is far above them; a machine under load stays far below.
const MEDIAN_MAX: u32 = 2_000;
const WORST_MAX: u32 = 100_000;

/// Phases: 0 is before the fault.
const FAULT: usize = 1;
const OVER: usize = 2;

pub(crate) struct Probe {
    phase: Arc<AtomicUsize>,
    /// Round trips so far.
    trips: Arc<AtomicUsize>,
    thread: JoinHandle<[Vec<Duration>; 2]>,
}

impl Probe {
    /// Connects, and waits for the round trips before the fault.
    pub(crate) fn start(addr: SocketAddr, protocol: Protocol) -> Probe {
        let (phase, trips) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (thread_phase, thread_trips) = (Arc::clone(&phase), Arc::clone(&trips));
        let thread = thread::spawn(move || measure(addr, protocol, &thread_phase, &thread_trips));
        let probe = Probe { phase, trips, thread };
        probe.wait_for_trips(QUIET_TRIPS);
        probe
    }

    /// Waits for more round trips.
    pub(crate) fn wait_for_trips(&self, trips: usize) {
        let before = self.trips.load(Ordering::SeqCst);
        eventually("the probe is served", || {
            assert!(!self.thread.is_finished(), "the probe has failed");
            (self.trips.load(Ordering::SeqCst) >= before + trips).then_some(())
        });
    }

    /// Counts the round trips from here on as those of the fault.
    pub(crate) fn begin_fault(&self) {
        self.phase.store(FAULT, Ordering::SeqCst);
    }

    /// Ends the fault, checks the latencies and returns a summary of them.
    pub(crate) fn finish(self) -> String {
        self.wait_for_trips(FAULT_TRIPS_MIN);
        self.phase.store(OVER, Ordering::SeqCst);
        let [mut quiet, mut fault] = self.thread.join().expect("the probe was served");
        quiet.sort();
        fault.sort();
        let median = |trips: &[Duration]| trips[trips.len() / 2];
        let worst = |trips: &[Duration]| trips[trips.len() - 1];
        let summary = format!(
            "round trips of others: median {:.0?}, worst {:.0?} before; median {:.0?}, worst {:.0?} of {} \
             during it",
            median(&quiet),
            worst(&quiet),
            median(&fault),
            worst(&fault),
            fault.len()
        );
        assert!(median(&fault) <= median(&quiet) * MEDIAN_MAX, "other clients were delayed: {summary}");
        assert!(worst(&fault) <= median(&quiet) * WORST_MAX, "another client was delayed: {summary}");
        summary
    }
}

fn measure(
    addr: SocketAddr,
    (request, expected): Protocol,
    phase: &AtomicUsize,
    trips: &AtomicUsize,
) -> [Vec<Duration>; 2] {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let mut latencies = [Vec::new(), Vec::new()];
    let mut response = vec![0; expected.len()];
    loop {
        let now = phase.load(Ordering::SeqCst);
        if now == OVER {
            return latencies;
        }
        let begun = Instant::now();
        stream.write_all(request).unwrap();
        stream.read_exact(&mut response).unwrap();
        assert!(response == expected, "the probe received {:?}", String::from_utf8_lossy(&response));
        latencies[now].push(begun.elapsed());
        trips.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(1));
    }
}
