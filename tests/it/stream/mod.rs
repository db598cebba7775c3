//! What every byte stream does, whatever carries it: one suite, run for each carrier.
//!
//! A new kind of stream is a line in `byte_streams!`, an implementation of `Carrier` and a line in
//! `carriers!`. The groups state what a carrier can do: `reading` and `writing` need one direction each,
//! `duplex` both, `resetting` a peer that can reset the connection, `close_reset` a stream that can,
//! `connecting` addresses. What is particular to TCP is in `tcp.rs`, to Unix sockets in `unix.rs`.
//!
//! Unix streams have all groups except `close_reset`: their sockets know no reset on request.

mod carrier;
#[cfg(feature = "sim")]
mod simulated;
mod system;

/// Makes a `#[test]` of each function of a group, for one carrier.
macro_rules! instantiate {
    ($carrier:ty, $group:ident: $($test:ident),* $(,)?) => {$(
        #[test]
        fn $test() {
            super::check::<$carrier>(super::$group::$test);
        }
    )*};
}

#[macro_use]
mod close_reset;
#[macro_use]
mod connecting;
#[macro_use]
mod duplex;
#[macro_use]
mod reading;
#[macro_use]
mod resetting;
#[macro_use]
mod writing;

macro_rules! carriers {
    ($($(#[$attribute:meta])* $name:ident: $carrier:ty => $($group:ident),*;)*) => {$(
        $(#[$attribute])*
        mod $name {
            $($group!($carrier);)*
        }
    )*};
}

carriers! {
    tcp: crate::stream::system::Tcp => reading, writing, duplex, resetting, close_reset, connecting;
    unix: crate::stream::system::Unix => reading, writing, duplex, resetting, connecting;
    #[cfg(feature = "sim")]
    simulated_tcp: crate::stream::simulated::Simulated<crate::stream::simulated::Tcp>
        => reading, writing, duplex, resetting, close_reset, connecting;
    #[cfg(feature = "sim")]
    simulated_unix: crate::stream::simulated::Simulated<crate::stream::simulated::Unix>
        => reading, writing, duplex, resetting, connecting;
}

use std::time::{Duration, Instant};

use ringback::{Loop, Result};

use self::carrier::{ByteStream, Carrier};
use crate::common::{GUARD, Log, describe_event, note};

/// Runs a test once for each seed of its carrier.
fn check<C: Carrier>(test: fn(&mut Fixture<C>)) {
    for seed in C::SEEDS {
        // Captured, and shown if the test fails.
        println!("seed {seed}");
        let mut carrier = C::new(seed);
        let lp = carrier.new_loop();
        test(&mut Fixture { lp, log: Log::new(), carrier });
    }
}

/// A loop under test, its log, and what carries its streams.
struct Fixture<C> {
    lp: Loop<Log>,
    log: Log,
    carrier: C,
}

impl<C: Carrier> Fixture<C> {
    /// A connected stream of the loop, and its peer.
    #[track_caller]
    fn pair(&mut self) -> (C::Stream, C::Peer) {
        self.carrier.pair(&mut self.lp)
    }

    /// Starts a stream that logs its events, each with `name` before it.
    fn record(&mut self, stream: C::Stream, name: &'static str) {
        record(&mut self.lp, stream, name).unwrap();
    }

    /// Runs for a few milliseconds of the loop's time. Returns whether it is alive.
    fn advance(&mut self) -> Result<bool> {
        let alive = self.lp.run_for(&mut self.log, C::SLICE);
        self.lp.verify();
        self.carrier.pump();
        alive
    }

    fn run_until(&mut self, mut condition: impl FnMut(&Loop<Log>, &Log) -> bool) {
        let started = Instant::now();
        while !condition(&self.lp, &self.log) {
            self.advance().unwrap();
            let (lp, log) = (&self.lp, &self.log);
            let why = lp.why_alive();
            assert!(started.elapsed() < GUARD, "condition not met within {GUARD:?}; log: {log:?}\n{why}");
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.lp.now() + duration;
        while self.lp.now() < end && self.advance().unwrap() {}
    }

    /// Runs until the loop is no longer alive; no handle may be left. Returns the log.
    fn run(&mut self) -> Log {
        self.run_until(|lp, _| !lp.is_alive());
        assert!(self.lp.handles().is_empty(), "handles are left:\n{}", self.lp.why_alive());
        std::mem::take(&mut self.log)
    }

    /// Closes a stream and runs until nothing is left. Returns the log.
    fn close(&mut self, stream: C::Stream) -> Log {
        stream.close(&mut self.lp);
        self.run()
    }
}

/// As [`Fixture::record`], for use inside a callback.
fn record(lp: &mut Loop<Log>, stream: impl ByteStream, name: &'static str) -> Result {
    stream.start(lp, move |_, log, event| note(log, format!("{name} {}", describe_event(&event))))
}
