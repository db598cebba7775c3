//! Timers: one-shot, repeating, restarted and cancelled.
//!
//!     cargo run --example timers
//!
//! Prints for about 700 ms what happens when, by the loop's clock: four beats, each of which restarts a
//! timeout; a timer that is cancelled; and the timeout, 250 ms after the last beat. Then no timer is left, so
//! the loop returns.

use std::time::Duration;

use ringback::{Loop, Result, Timer};

/// The number of beats so far. `main` owns it and lends it to the loop, which lends it to every callback.
type Beats = u32;

fn print(lp: &Loop<Beats>, text: &str) {
    println!("{:>4} ms: {text}", lp.now().as_millis());
}

fn main() -> Result {
    let millis = Duration::from_millis;
    let mut lp = Loop::new()?;

    Timer::after(&mut lp, millis(50), |lp, _| {
        print(lp, "one-shot");
        Ok(())
    })?;

    // A timer made by `after` is closed once it has fired. One made by `new` stays until it is closed.
    let timeout = Timer::new(&mut lp)?;
    timeout.start(&mut lp, millis(250), move |lp, beats| {
        print(lp, &format!("timeout: no beat for 250 ms, after {beats} beats"));
        timeout.close(lp);
        Ok(())
    })?;

    let beat = Timer::new(&mut lp)?;
    beat.set_period(&mut lp, Some(millis(150)))?;
    beat.start(&mut lp, Duration::ZERO, move |lp, beats| {
        *beats += 1;
        let left = timeout.due_in(lp).unwrap_or_default();
        print(lp, &format!("beat {beats}: restarts the timeout, which was due in {left:.0?}"));
        timeout.again(lp)?;
        if *beats == 4 {
            beat.close(lp);
        }
        Ok(())
    })?;

    let cancelled = Timer::after(&mut lp, millis(200), |lp, _| {
        print(lp, "never printed");
        Ok(())
    })?;
    Timer::after(&mut lp, millis(100), move |lp, _| {
        let left = cancelled.due_in(lp).unwrap_or_default();
        print(lp, &format!("cancelled a timer, {left:.0?} before it was due"));
        cancelled.close(lp);
        Ok(())
    })?;

    let mut beats = 0;
    lp.run(&mut beats)?;
    print(&lp, "no timer is left");
    Ok(())
}
