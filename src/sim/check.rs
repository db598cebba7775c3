//! One test, many seeds.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
};

use super::{AnyHost, World};
use crate::{backend::job::panic_message, error::Result};

/// How many entries of the timeline are shown when a seed fails. A replay shows all.
const ENTRIES_SHOWN: usize = 40;

/// Runs a test in a new world for each of `seeds` seeds, and panics at the first that fails.
///
/// The panic's message has the seed, the end of the timeline, and the command that replays it. A test fails
/// if it panics or returns an error. It also fails if its first seed, run twice, gives two different traces:
/// then no failure could be replayed.
///
/// Two environment variables change what is run. `SEEDS=1000000` runs that many seeds. `SEED=7` runs that one
/// alone, and shows its whole timeline if it fails.
///
/// ```
/// use std::time::Duration;
/// use ringback::{Timer, sim};
///
/// sim::check(20, |world| {
///     let host = world.host("one", 0, |lp, _| {
///         Timer::after(lp, Duration::from_secs(3600), |_, fired: &mut u32| {
///             *fired += 1;
///             Ok(())
///         })?;
///         Ok(())
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
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
    };
    match number("SEED") {
        Some(seed) => _ = run(seed, usize::MAX, &test),
        None => {
            for seed in 0..number("SEEDS").unwrap_or(seeds) {
                let hash = run(seed, ENTRIES_SHOWN, &test);
                // One seed is enough: what makes a test differ does so for any seed.
                assert!(
                    seed > 0 || hash == run(seed, ENTRIES_SHOWN, &test),
                    "the same seed gave two different traces: the program or the test depends on something \
                     that no seed decides (the time of day, threads, the order of a hash map)"
                );
            }
        }
    }
}

/// Runs one seed. Returns the hash of its trace.
fn run(seed: u64, entries_shown: usize, test: &impl Fn(&mut World) -> Result) -> u64 {
    let mut world = World::new(seed);
    let result = panic::catch_unwind(AssertUnwindSafe(|| test(&mut world)));
    let why = match result {
        Ok(Ok(())) => return world.trace_hash(),
        Ok(Err(error)) => match world.last_failed {
            Some(number) => format!("on {}: {error}", world.name_of(AnyHost(number))),
            None => error.to_string(),
        },
        Err(panic) => panic_message(&*panic),
    };
    let name = std::thread::current().name().unwrap_or("").to_owned();
    let timeline = world.timeline().last(entries_shown);
    // The feature belongs to this crate: a crate that depends on it may have no feature of that name.
    let own = env::var("CARGO_PKG_NAME").is_ok_and(|name| name == env!("CARGO_PKG_NAME"));
    let feature = if own { "--features sim " } else { "" };
    panic!("seed {seed} fails: {why}\n\n{timeline}\nreplay it with: SEED={seed} cargo test {feature}{name}");
}
