//! Idle hooks: a long computation in small steps, while the loop stays responsive.
//!
//!     cargo run --release --example idle
//!
//! Searches for prime numbers for 1.5 seconds, on the loop's own thread. Meanwhile a timer reports the
//! progress, and so does Enter. Neither waits longer than one step takes.

use std::{fs::File, io::Read, os::fd::AsFd, time::Duration};

use ringback::{Idle, Loop, Poll, Result, Timer, poll::Interest};

/// Numbers per step: enough to be worth a turn of the loop, and too few to delay the other events.
const STEP: u64 = 500;

#[derive(Default)]
struct Search {
    primes: Vec<u64>,
    /// All numbers below this one were tried.
    next: u64,
}

impl Search {
    fn step(&mut self) {
        let end = self.next + STEP;
        for number in self.next.max(2)..end {
            let mut divisors = self.primes.iter().take_while(|&divisor| divisor * divisor <= number);
            if divisors.all(|divisor| number % divisor != 0) {
                self.primes.push(number);
            }
        }
        self.next = end;
    }

    fn report(&self, cause: &str) {
        println!("{cause}: {} primes below {}", self.primes.len(), self.next);
    }
}

fn main() -> Result {
    let mut lp = Loop::new()?;
    let idle = Idle::every_turn(&mut lp, |_, search: &mut Search| {
        search.step();
        Ok(())
    })?;
    let tick = Timer::every(&mut lp, Duration::from_millis(250), |_, search| {
        search.report("timer");
        Ok(())
    })?;

    // Read standard input through a `File`: `io::stdin()` would read ahead into a buffer that the poll does
    // not know of. Some inputs, such as `/dev/null`, cannot be polled; then Enter is not available.
    let keyboard = Poll::new(&mut lp, std::io::stdin())?;
    let mut input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let started = keyboard.start(&mut lp, Interest::READABLE, move |lp, search, ready| {
        ready?;
        match input.read(&mut [0; 256])? {
            0 => keyboard.close(lp),
            _ => search.report("Enter"),
        }
        Ok(())
    });
    match started {
        Ok(()) => println!("press Enter for a report"),
        Err(error) => println!("no reports on Enter: {error}"),
    }

    Timer::after(&mut lp, Duration::from_millis(1500), move |lp, _| {
        idle.close(lp);
        tick.close(lp);
        keyboard.close(lp);
        Ok(())
    })?;

    let mut search = Search::default();
    lp.run(&mut search)?;
    search.report("total");
    let metrics = lp.metrics();
    println!("{} turns; 99 % of events waited at most {:.1?}", metrics.turns, metrics.latency.quantile(0.99));
    Ok(())
}
