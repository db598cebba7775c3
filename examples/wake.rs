//! Wake and post: other threads notify the loop, and run closures on its thread.
//!
//!     cargo run --release --example wake
//!
//! Two threads wake the loop ten thousand times each, as fast as they can. Wakes that come before the loop
//! looks are coalesced into one call, and none is lost. Then each thread posts a closure with its report.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ringback::{Loop, Result, Wake};

const WAKES: u64 = 10_000;

#[derive(Default)]
struct Tally {
    /// Calls of the wake's callback.
    calls: u64,
    /// Wakes sent before the last call.
    seen: u64,
    reports: u32,
}

fn main() -> Result {
    let mut lp = Loop::new()?;
    let sent = Arc::new(AtomicU64::new(0));

    let counter = sent.clone();
    let wake = Wake::new(&mut lp, move |_, tally: &mut Tally| {
        tally.calls += 1;
        // A wake carries no data. What there is to do, the program keeps elsewhere.
        tally.seen = counter.load(Ordering::Acquire);
        Ok(())
    })?;

    let mut threads = Vec::new();
    for name in ["first", "second"] {
        let (waker, remote, sent) = (wake.waker(&lp)?, lp.remote(), sent.clone());
        threads.push(thread::spawn(move || {
            for _ in 0..WAKES {
                sent.fetch_add(1, Ordering::Release);
                waker.wake()?;
            }
            remote.post(move |lp, tally| {
                println!("{name} thread: {WAKES} wakes");
                tally.reports += 1;
                if tally.reports == 2 {
                    // An open wake keeps the loop alive, because another thread may still use it.
                    wake.close(lp);
                }
                Ok(())
            })
        }));
    }

    let mut tally = Tally::default();
    lp.run(&mut tally)?;
    for thread in threads {
        thread.join().expect("no thread panics")?;
    }
    println!("{} wakes were seen in {} calls", tally.seen, tally.calls);
    Ok(())
}
