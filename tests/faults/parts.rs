//! Parts of the tests that need a process of their own: their limits, signals and forks are the process's. The
//! test starts its own program again, and says in the environment what it shall be.
#![allow(unsafe_code, reason = "a signal for this very thread is the C library's")]

use std::{
    env,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};

const PART: &str = "FAULTS_PART";

/// This program again, as that part.
pub(crate) fn part(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments()).env(PART, name).stdin(Stdio::null());
    command
}

pub(crate) fn arguments() -> [&'static str; 4] {
    ["--exact", "parts::a_part_of_a_test_is_nothing_by_itself", "--nocapture", "--test-threads=2"]
}

/// What a part is to do, by the name under which the test has left it.
pub(crate) fn wish<T: std::str::FromStr>(name: &str) -> T {
    let text = env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    text.parse().unwrap_or_else(|_| panic!("{name}={text}"))
}

#[test]
fn a_part_of_a_test_is_nothing_by_itself() {
    match env::var(PART).as_deref() {
        Err(_) => {}
        Ok("clock") => crate::clock::jumping(),
        Ok("clock: stop") => crate::clock::standing_still(),
        Ok("fork") => crate::fork::forking(),
        Ok("interrupt") => crate::interrupt::in_the_storm(),
        Ok("kill: victim") => crate::kill::victim(),
        Ok("stopped: reader") => crate::stopped::reader(),
        Ok("stopped: sender") => crate::stopped::sender(),
        Ok(other) => panic!("there is no part {other}"),
    }
}

/// Runs a part to its end, which must be a good one. Gives the line of what it did.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (text, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let line = text.lines().find_map(|line| line.split_once("done: "));
    match line {
        Some((_, line)) if output.status.success() => line.to_owned(),
        _ => panic!("{}\n{text}\n{complaints}", output.status),
    }
}

/// Stands still (SIGSTOP) until somebody lets this process go on.
pub(crate) fn stand_still() {
    // To this thread: what is sent to the process may be taken by another, and this one would run on for a while.
    // SAFETY: takes no pointer.
    assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0);
}

/// Says what was tried, captured or not: people who run the tests shall see it.
pub(crate) fn say(theme: &str, line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "faults: {theme}: {line}");
}

/// How long the long form goes on, where it could go on for ever.
pub(crate) fn minutes() -> Duration {
    let minutes = env::var("MINUTES").map_or(2.0, |text| text.parse().expect("MINUTES is a number"));
    Duration::from_secs_f64(60.0 * minutes)
}

/// As many descriptors as the system lets this process have.
pub(crate) fn many_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
