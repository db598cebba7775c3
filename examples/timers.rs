//! Timers: once, again and again, put off, called off.
//!
//!     cargo run --example timers
//!
//! For about a second you see what happens when, by the loop's own time: four beats, each of which puts
//! off a time limit; a timer that never fires; the limit, once the beats have ended. Then no timer is
//! left, and so the loop ends by itself.

use std::time::Duration;

use ringback::{Loop, Result, Timer};

/// The beats so far. Belongs to `main`, which lends it to the loop, which lends it to every callback.
type Beats = u32;

fn say(lp: &Loop<Beats>, what: &str) {
    println!("{:>4} ms: {what}", lp.now().as_millis());
}

fn main() -> Result {
    let millis = Duration::from_millis;
    let mut lp = Loop::new()?;

    Timer::after(&mut lp, millis(50), |lp, _| {
        say(lp, "once");
        Ok(())
    })?;

    // To be started again and again it must not be gone once it fires: `new`, not `after`.
    let limit = Timer::new(&mut lp)?;
    limit.start(&mut lp, millis(250), move |lp, beats| {
        say(lp, &format!("nothing for 250 ms, after {beats} beats: the time limit"));
        limit.close(lp);
        Ok(())
    })?;

    let beat = Timer::new(&mut lp)?;
    beat.set_period(&mut lp, Some(millis(150)))?;
    beat.start(&mut lp, Duration::ZERO, move |lp, beats| {
        *beats += 1;
        let left = limit.due_in(lp).unwrap_or_default();
        say(lp, &format!("beat {beats}, with {left:.0?} to the limit, which is put off"));
        limit.again(lp)?;
        if *beats == 4 {
            beat.close(lp);
        }
        Ok(())
    })?;

    let never = Timer::after(&mut lp, millis(200), |lp, _| {
        say(lp, "never said");
        Ok(())
    })?;
    Timer::after(&mut lp, millis(100), move |lp, _| {
        let left = never.due_in(lp).unwrap_or_default();
        say(lp, &format!("called off, {left:.0?} before it was due"));
        never.close(lp);
        Ok(())
    })?;

    let mut beats = 0;
    lp.run(&mut beats)?;
    say(&lp, "no timer is left");
    Ok(())
}
