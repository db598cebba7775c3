//! The examples that are no servers: each runs for a second or two, and exits by itself.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::Stdio,
};

use crate::harness::{Process, assert_lines, command, stdout_of};

#[test]
fn tour_shows_one_feature_after_the_other() {
    let text = stdout_of("tour");
    assert_lines(&text, &["why alive?", "timer \"heartbeat\" started at examples/tour.rs:", "timer: beat 1"]);
    assert_lines(
        &text,
        &[
            "timer: beat 1",
            "idle: counted to 1000",
            "file: written by a loop",
            "worker: removed the file",
            "server: received \"is this a loop?\"",
            "client: received \"IS THIS A LOOP?\"",
            "failure: timer started at examples/tour.rs:",
            "metrics: ",
        ],
    );
}

#[test]
fn timers_fire_in_order_unless_they_are_cancelled() {
    let text = stdout_of("timers");
    let events: Vec<_> =
        text.lines().map(|line| line.split_once(": ").expect("a time and a text").1).collect();
    let expected = [
        "beat 1: ",
        "one-shot",
        "cancelled a timer, ",
        "beat 2: ",
        "beat 3: ",
        "beat 4: ",
        "timeout: no beat for 250 ms, after 4 beats",
        "no timer is left",
    ];
    assert_eq!(events.len(), expected.len(), "{text}");
    for (event, expected) in events.iter().zip(expected) {
        assert!(event.starts_with(expected), "{expected:?} in:\n{text}");
    }
}

#[test]
fn idle_finds_every_prime_while_the_timer_reports() {
    let text = stdout_of("idle");
    assert_lines(&text, &["timer: ", "total: "]);
    let (primes, limit) = text
        .lines()
        .find_map(|line| line.strip_prefix("total: ")?.split_once(" primes below "))
        .expect("it prints the total");
    let (primes, limit): (usize, usize) =
        (primes.parse().expect("a number"), limit.parse().expect("a number"));
    assert_eq!(primes, count_primes_below(limit));
}

/// The sieve of Eratosthenes.
fn count_primes_below(limit: usize) -> usize {
    let mut is_prime = vec![true; limit];
    for number in (2..).take_while(|number| number * number < limit) {
        if is_prime[number] {
            for multiple in (number * number..limit).step_by(number) {
                is_prime[multiple] = false;
            }
        }
    }
    is_prime.iter().skip(2).filter(|&&is_prime| is_prime).count()
}

#[test]
fn idle_reports_when_enter_is_pressed() {
    let mut command = command("idle");
    let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut stdout = BufReader::new(process.0.stdout.take().expect("stdout is piped"));
    let mut stdin = process.0.stdin.take().expect("stdin is piped");
    let mut text = String::new();
    stdout.read_line(&mut text).expect("stdout is UTF-8");
    assert_eq!(text, "press Enter for a report\n");
    stdin.write_all(b"\n").expect("the example reads");
    stdout.read_to_string(&mut text).expect("stdout is UTF-8");
    assert_lines(&text, &["Enter: ", "total: "]);
    assert!(process.wait().success());
}

#[test]
fn work_completes_every_job() {
    let text = stdout_of("work");
    for job in ["first", "second"] {
        let progress = [25, 50, 75, 100].map(|percent| format!("{job}: {percent} %"));
        assert_lines(&text, &progress.each_ref().map(String::as_str));
    }
    for line in [
        "first: 9592 primes",
        "second: 8392 primes",
        "third: panicked: this job panics on purpose",
        "fourth: work: cancelled",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} in:\n{text}");
    }
    assert_eq!(text.lines().last(), Some("all jobs have completed: 17984 primes"));
}

#[test]
fn wake_coalesces_wakes_and_loses_none() {
    let text = stdout_of("wake");
    for thread in ["first", "second"] {
        assert!(text.contains(&format!("{thread} thread: 10000 wakes\n")), "{text}");
    }
    let last = text.lines().last().unwrap_or_default();
    let calls = last.strip_prefix("20000 wakes were seen in ").and_then(|rest| rest.strip_suffix(" calls"));
    let calls: u32 = calls.expect("the last line counts the calls").parse().expect("a number");
    assert!((1..=20_000).contains(&calls), "{text}");
}

#[test]
fn embed_serves_both_loops() {
    let text = stdout_of("embed");
    assert_lines(&text, &["inner: tick 1", "inner: the timers are done", "both loops are done, after "]);
    assert_lines(&text, &["outer: read \"", "outer: end of the socket", "both loops are done, after "]);
    assert_lines(&text, &["inner: a worker found 20! = 2432902008176640000"]);
}
