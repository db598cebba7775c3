//! Wake: other threads get the loop's attention, and have closures run on its thread.
//!
//!     cargo run --release --example wake
//!
//! Two threads wake the loop ten thousand times each, as fast as they can: many wakes become one call,
//! and none is lost. Then each posts a closure that carries what the thread has computed.

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
    /// How often the loop was called.
    calls: u64,
    /// How many wakes it had seen by then.
    seen: u64,
    reports: Vec<String>,
}

fn main() -> Result {
    let mut lp = Loop::new()?;
    let work_done = Arc::new(AtomicU64::new(0));

    let counted = work_done.clone();
    let wake = Wake::new(&mut lp, move |_, tally: &mut Tally| {
        tally.calls += 1;
        // A wake says that there is something, not what or how much. That is for the program to say.
        tally.seen = counted.load(Ordering::Acquire);
        Ok(())
    })?;

    let mut threads = Vec::new();
    for name in ["first", "second"] {
        let (waker, remote, work_done) = (wake.waker(&lp)?, lp.remote(), work_done.clone());
        threads.push(thread::spawn(move || {
            for _ in 0..WAKES {
                work_done.fetch_add(1, Ordering::Release);
                waker.wake()?;
            }
            let report = format!("{name} thread: {WAKES} wakes");
            remote.post(move |lp, tally| {
                tally.reports.push(report);
                println!("{}", tally.reports[tally.reports.len() - 1]);
                if tally.reports.len() == 2 {
                    // It would hold the loop for ever: it cannot know that nobody will wake it again.
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
