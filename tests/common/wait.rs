//! How tests wait for other processes and threads, and where the examples are.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// A guard against waiting for ever: more than anything takes on the slowest machine.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

/// Polls until there is a result. Panics with `what` if there is none within the guard time.
pub(crate) fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(result) = poll() {
            return result;
        }
        assert!(started.elapsed() < GUARD, "{what}: not within {GUARD:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The path of an example that was built in the same profile as this test.
pub(crate) fn example(name: &str) -> PathBuf {
    // target/PROFILE/deps/test-…
    let test = std::env::current_exe().expect("the test has a path");
    let target = test.ancestors().nth(2).expect("the test is in target/PROFILE/deps");
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is not built: cargo build --examples", path.display());
    path
}
