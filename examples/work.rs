//! Work: what would hold up the loop, done by its worker threads.
//!
//!     cargo run --release --example work
//!
//! Two jobs count primes at the same time and report how far they are; one panics, which harms nobody;
//! one is called off before it has begun. The loop ends when every job is accounted for.

use ringback::{Error, Options, Result, channel, channel::SendError, work};

/// How far a job is: its name, and in percent.
type Progress = (&'static str, u32);

fn count_primes(
    job: &'static str,
    numbers: std::ops::Range<u32>,
    progress: &channel::Sender<Progress>,
) -> Result<usize, SendError<Progress>> {
    let is_prime = |&number: &u32| (2..).take_while(|n| n * n <= number).all(|n| number % n != 0);
    let (start, part) = (numbers.start, (numbers.end - numbers.start) / 4);
    let mut primes = 0;
    for quarter in 0..4 {
        let from = start + quarter * part;
        primes += (from..from + part).filter(is_prime).count();
        // Waits while the loop has not heard the last report: a worker cannot bury it under them.
        progress.send((job, (quarter + 1) * 25))?;
    }
    Ok(primes)
}

fn main() -> Result {
    let mut lp = Options::new().workers(2).build()?;
    lp.on_failure(|_, _, failure| {
        println!("failure: {}", failure.error);
        Ok(())
    });

    let (_, progress) = channel::bounded(&mut lp, 1, |_, _, (job, percent): Progress| {
        println!("{job}: {percent} %");
        Ok(())
    })?;

    for (job, numbers) in [("first", 2..100_002), ("second", 100_002..200_002)] {
        let progress = progress.clone();
        work::run(
            &mut lp,
            move || count_primes(job, numbers, &progress),
            move |_, answers: &mut Vec<usize>, primes| {
                // Two things may go wrong: the job itself (it panicked), and what it was doing.
                let primes = primes??;
                println!("{job}: {primes} primes");
                answers.push(primes);
                Ok(())
            },
        )?;
    }
    // The loop's end of the channel closes when the last sender is gone; this one is not needed any more.
    drop(progress);

    work::run(
        &mut lp,
        || -> u32 { panic!("this job panics on purpose") },
        |_, _, answer| match answer {
            Err(Error::Panicked { message, .. }) => {
                println!("third: panicked: {message}");
                Ok(())
            }
            other => other.map(drop),
        },
    )?;

    let fourth = work::run(
        &mut lp,
        || println!("fourth: never said"),
        |_, _, answer| {
            // Cancelled, it is answered all the same: every request is, once.
            println!("fourth: {}", answer.map_or_else(|error| error.to_string(), |()| "done".into()));
            Ok(())
        },
    )?;
    // Both workers are busy, and cannot be done before the loop has heard from them.
    fourth.cancel(&mut lp)?;

    let mut answers = Vec::new();
    lp.run(&mut answers)?;
    println!("all jobs are accounted for: {} primes", answers.iter().sum::<usize>());
    Ok(())
}
