//! One test, many seeds.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
};

use super::World;
use crate::{backend::job::panic_message, error::Result};

/// How much of the timeline is shown when a seed fails. All of it when it is replayed.
const LINES: usize = 40;

/// Runs a test in a new world for each of `seeds` seeds, and panics for the first that fails: with the seed, the end of
/// the timeline, and the command that replays it.
///
/// A test fails if it panics, or returns an error; and if the first seed, run twice, does not come to the same trace, for then
/// nothing could be replayed. `SEEDS=1000000` in the environment runs so many instead;
/// `SEED=7` runs that one alone, and shows its whole timeline when it fails.
///
/// ```
/// use std::time::Duration;
/// use ringback::{Timer, sim};
///
/// sim::check(20, |world| {
///     let host = world.host("one", 0, |lp, _| {
///         Timer::after(lp, Duration::from_secs(3600), |_, fired: &mut u32| { *fired += 1; Ok(()) }).map(drop)
///     })?;
///     world.run()?;
///     assert_eq!(*world.state(host), 1);
///     Ok(())
/// });
/// ```
pub fn check(seeds: u64, test: impl Fn(&mut World) -> Result) {
    let number = |name: &str| {
        env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
    };
    match number("SEED") {
        Some(seed) => _ = run(seed, usize::MAX, &test),
        None => {
            for seed in 0..number("SEEDS").unwrap_or(seeds) {
                let hash = run(seed, LINES, &test);
                // Or no failure could be replayed. Once: what makes a test differ does so for any seed.
                assert!(
                    seed > 0 || hash == run(seed, LINES, &test),
                    "the same seed has come to something else: the program, or the test, does what no seed decides \
                     (the time of day, threads, the order of a hash map)"
                );
            }
        }
    }
}

/// Says what the trace came to.
fn run(seed: u64, lines: usize, test: &impl Fn(&mut World) -> Result) -> u64 {
    let mut world = World::new(seed);
    let result = panic::catch_unwind(AssertUnwindSafe(|| test(&mut world)));
    let why = match result {
        Ok(Ok(())) => return world.trace_hash(),
        Ok(Err(error)) => match world.failed {
            Some(number) => format!("on {}: {error}", world.shared.borrow().machines[number].name),
            None => error.to_string(),
        },
        Err(panic) => panic_message(&*panic),
    };
    let name = std::thread::current().name().unwrap_or("").to_owned();
    let timeline = world.timeline().last(lines);
    // Who uses this crate has the feature in a dependency, and none of that name.
    let own = env::var("CARGO_PKG_NAME").is_ok_and(|name| name == env!("CARGO_PKG_NAME"));
    let feature = if own { "--features sim " } else { "" };
    panic!("seed {seed} fails: {why}\n\n{timeline}\nreplay it with: SEED={seed} cargo test {feature}{name}");
}
