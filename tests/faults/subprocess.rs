//! Scenarios that need a process of their own, because limits, signals, forks and the clock belong to the
//! process. A test starts its own program again and names the scenario in the environment.
#![allow(unsafe_code, reason = "sending a signal to this thread is a C function")]

use std::{
    env,
    io::Write,
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::process::{Resource, getrlimit, setrlimit};

const SCENARIO: &str = "FAULTS_SCENARIO";

/// This program again, to run a scenario.
pub(crate) fn subprocess(scenario: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.stdin(Stdio::null());
    enter(&mut command, scenario);
    command
}

/// Lets a command that starts this program run a scenario.
pub(crate) fn enter(command: &mut Command, scenario: &str) {
    let test = "subprocess::entry_point_of_subprocesses";
    command.args(["--exact", test, "--nocapture", "--test-threads=2"]).env(SCENARIO, scenario);
}

/// A parameter of the scenario, which the test has left in the environment.
pub(crate) fn parameter<T: std::str::FromStr>(name: &str) -> T {
    let text = env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    text.parse().unwrap_or_else(|_| panic!("{name}={text}"))
}

/// Does nothing when the suite runs it: it is what [`subprocess`] starts.
#[test]
fn entry_point_of_subprocesses() {
    match env::var(SCENARIO).as_deref() {
        Err(_) => {}
        Ok("clock: time of day") => crate::clock::wall_clock_jumps(),
        Ok("clock: forward") => crate::clock::jump_forward(),
        Ok("clock: back") => crate::clock::jump_back(),
        Ok("clock: unsteady") => crate::clock::unsteady(),
        Ok("clock: before zero") => crate::clock::before_zero(),
        Ok("clock: extreme") => crate::clock::extreme(),
        Ok("clock: stop") => crate::clock::stopping(),
        Ok("fd exhaustion") => crate::fd_exhaustion::out_of_descriptors(),
        Ok("fork") => crate::fork::forking(),
        Ok("interrupt") => crate::interrupt::under_signals(),
        Ok("sigkill: victim") => crate::sigkill::victim(),
        Ok("sigstop: reader") => crate::sigstop::reader(),
        Ok("sigstop: sender") => crate::sigstop::sender(),
        Ok(other) => panic!("there is no scenario {other}"),
    }
}

/// Runs a scenario to its end. Returns its report.
pub(crate) fn run(command: &mut Command) -> String {
    done(command.output().unwrap())
}

/// The line with which a scenario that succeeded reports what it did.
pub(crate) fn done(output: Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let line = stdout.lines().find_map(|line| line.split_once("done: "));
    match line {
        Some((_, line)) if output.status.success() => line.to_owned(),
        _ => panic!("{}\n{stdout}\n{stderr}", output.status),
    }
}

/// Stops this process (SIGSTOP) until another one continues it.
pub(crate) fn stop_self() {
    // To this thread: another thread may take a signal that is sent to the process, and this one would run
    // on. SAFETY: takes no pointer.
    assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0);
}

/// Sets a flag when it is dropped, also by a panic: a scope waits for its threads, so they must end for the
/// panic to leave it.
pub(crate) struct SetOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Prints what a test tried, even where the harness captures output.
pub(crate) fn report(theme: &str, line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "faults: {theme}: {line}");
}

/// How long an open-ended test of the long form runs: `MINUTES`, two by default.
pub(crate) fn long_form() -> Duration {
    let minutes = env::var("MINUTES").map_or(2.0, |text| text.parse().expect("MINUTES is a number"));
    Duration::from_secs_f64(60.0 * minutes)
}

/// Raises this process's limit of descriptors to what the system allows.
pub(crate) fn raise_fd_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}
