//! Idle: a long computation in small pieces, while everything else stays responsive.
//!
//!     cargo run --release --example idle
//!
//! Looks for prime numbers for a second and a half, on the loop's own thread. A timer says meanwhile how
//! far it is, and so does Enter: neither waits for longer than one piece takes.

use std::{fs::File, io::Read, os::fd::AsFd, time::Duration};

use ringback::{Idle, Loop, Poll, Result, Timer, poll::Interest};

/// So many numbers a piece: long enough to be worth a turn of the loop, too short to be noticed.
const PIECE: u64 = 500;

/// The computation: where it is.
#[derive(Default)]
struct Search {
    primes: Vec<u64>,
    tried: u64,
}

impl Search {
    fn advance(&mut self) {
        for number in self.tried.max(2)..self.tried + PIECE {
            let mut divisors = self.primes.iter().take_while(|&divisor| divisor * divisor <= number);
            if divisors.all(|divisor| number % divisor != 0) {
                self.primes.push(number);
            }
        }
        self.tried += PIECE;
    }

    fn report(&self, who: &str) {
        println!("{who}: {} primes below {}", self.primes.len(), self.tried);
    }
}

fn main() -> Result {
    let mut lp = Loop::new()?;
    let idle = Idle::every_turn(&mut lp, |_, search: &mut Search| {
        search.advance();
        Ok(())
    })?;
    let tick = Timer::every(&mut lp, Duration::from_millis(250), |_, search| {
        search.report("timer");
        Ok(())
    })?;

    // A file of its own for standard input: the library's would read ahead, and what it holds nobody is
    // told of. What cannot be waited for (`< /dev/null`) is done without.
    let keys = Poll::new(&mut lp, std::io::stdin())?;
    let mut input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let watched = keys.start(&mut lp, Interest::READABLE, move |lp, search, ready| {
        ready?;
        match input.read(&mut [0; 256])? {
            0 => keys.close(lp),
            _ => search.report("you asked"),
        }
        Ok(())
    });
    println!("{}", if watched.is_ok() { "press Enter to be told" } else { "nobody to ask, it seems" });

    Timer::after(&mut lp, Duration::from_millis(1500), move |lp, _| {
        idle.close(lp);
        tick.close(lp);
        keys.close(lp);
        Ok(())
    })?;

    let mut search = Search::default();
    lp.run(&mut search)?;
    search.report("in the end");
    let metrics = lp.metrics();
    println!(
        "{} turns; in 99 of 100, events waited {:?} at most",
        metrics.turns,
        metrics.latency.quantile(0.99)
    );
    Ok(())
}
