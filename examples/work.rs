//! Work: jobs that would block the loop run on its worker threads.
//!
//!     cargo run --release --example work
//!
//! Two jobs count primes in parallel and report their progress through a channel. A third panics, which the
//! loop survives; Rust prints the panic's message on standard error. A fourth is cancelled before it starts.
//! The loop returns once all four have completed.

use std::ops::Range;

use ringback::{Error, Options, Result, channel, channel::SendError, work};

/// The name of a job, and how much of it is done, in percent.
type Progress = (&'static str, u32);

/// Counts primes, in four parts.
fn count_primes(
    job: &'static str,
    numbers: Range<u32>,
    progress: &channel::Sender<Progress>,
) -> Result<usize, SendError<Progress>> {
    let is_prime = |&number: &u32| (2..).take_while(|n| n * n <= number).all(|n| number % n != 0);
    let part = (numbers.end - numbers.start) / 4;
    let mut primes = 0;
    for quarter in 0..4 {
        let start = numbers.start + quarter * part;
        primes += (start..start + part).filter(is_prime).count();
        // Blocks while the channel is full, so that a worker never gets far ahead of the loop.
        progress.send((job, (quarter + 1) * 25))?;
    }
    Ok(primes)
}

fn main() -> Result {
    let mut lp = Options::new().workers(2).build()?;
    let (_, progress) = channel::bounded(&mut lp, 1, |_, _, (job, percent): Progress| {
        println!("{job}: {percent} %");
        Ok(())
    })?;

    for (job, numbers) in [("first", 2..100_002), ("second", 100_002..200_002)] {
        let progress = progress.clone();
        let count = move || count_primes(job, numbers, &progress);
        work::run(&mut lp, count, move |_, total: &mut usize, primes| {
            // The first `?` is for a job that panicked, the second for what it returned.
            let primes = primes??;
            println!("{job}: {primes} primes");
            *total += primes;
            Ok(())
        })?;
    }
    // The channel keeps the loop alive until its last sender is dropped. The jobs have their own.
    drop(progress);

    let panic = || -> u32 { panic!("this job panics on purpose") };
    work::run(&mut lp, panic, |_, _, result| match result {
        Err(Error::Panicked { message, .. }) => {
            println!("third: panicked: {message}");
            Ok(())
        }
        result => result.map(drop),
    })?;

    let fourth = work::run(
        &mut lp,
        || println!("fourth: never printed"),
        |_, _, result| {
            // A cancelled job completes, too: with an error. Every request completes exactly once.
            match result {
                Ok(()) => println!("fourth: done"),
                Err(error) => println!("fourth: {error}"),
            }
            Ok(())
        },
    )?;
    // Both workers are still busy: they cannot send all their progress before the loop runs.
    fourth.cancel(&mut lp)?;

    let mut total = 0;
    lp.run(&mut total)?;
    println!("all jobs have completed: {total} primes");
    Ok(())
}
