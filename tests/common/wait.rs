//! How tests wait for other processes, and where the examples are.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

/// No answer takes that long, on whatever machine.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < GUARD, "{what}: not within {GUARD:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An example of the same profile as this test.
pub(crate) fn example(name: &str) -> PathBuf {
    // target/PROFILE/deps/test-…
    let test = std::env::current_exe().expect("the test knows where it is");
    let target = test.ancestors().nth(2).expect("it is in target/PROFILE/deps");
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is not built: cargo build --examples", path.display());
    path
}
