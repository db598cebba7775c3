//! Clocks that jump, and a process that is stopped until all its deadlines have passed.
//!
//! The time of day is the machine's, and other programs live by it. So the clock is set for this process only: the
//! function that everybody reads it with is this file's, which asks the system and adds what it shall have jumped.
#![allow(unsafe_code, reason = "the clock is the C library's")]

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use ringback::{
    Loop, Result, Timer, fs,
    net::{Event, TcpListener, TcpStream},
    work,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    parts::{arguments, part, run, say, stand_still, wish},
    random::{Random, seed},
    server::eventually,
    stopped::is_stopped,
};

/// By how many seconds the clocks of this process are off.
static WALL: AtomicI64 = AtomicI64::new(0);
static MONOTONIC: AtomicI64 = AtomicI64::new(0);
/// How often anybody has read the time of day.
static WALL_READ: AtomicU64 = AtomicU64::new(0);

/// In the place of the C library's, for everything in this program.
///
/// # Safety
///
/// `time` has room for an answer, as everybody who calls it knows.
#[unsafe(no_mangle)]
#[allow(deprecated, reason = "the name of the type of seconds, with musl")]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: as its caller says.
    unsafe {
        let answer = libc::syscall(libc::SYS_clock_gettime, clock, time);
        let off = match clock {
            libc::CLOCK_REALTIME => {
                WALL_READ.fetch_add(1, Ordering::Relaxed);
                WALL.load(Ordering::Relaxed)
            }
            libc::CLOCK_MONOTONIC => MONOTONIC.load(Ordering::Relaxed),
            _ => 0,
        };
        if answer == 0 {
            (*time).tv_sec += off as libc::time_t;
        }
        answer as libc::c_int
    }
}

/// What has fired, in order. Those that repeat are below zero.
#[derive(Default)]
struct Fired(Vec<i64>);

const REPEATING: i64 = 3;

/// Timers that fire once, at these times, and some that repeat. They are started in a callback, so that all count
/// from the same time.
fn timers(lp: &mut Loop<Fired>, once: &[Duration], period: Duration) -> Result {
    let once = once.to_vec();
    lp.defer(move |lp, _| {
        for (number, &after) in once.iter().enumerate() {
            Timer::after(lp, after, move |_, fired: &mut Fired| {
                fired.0.push(number as i64);
                Ok(())
            })?;
        }
        for number in 1..=REPEATING {
            let timer = Timer::every(lp, period * number as u32, move |_, fired: &mut Fired| {
                fired.0.push(-number);
                Ok(())
            })?;
            timer.unref(lp)?;
        }
        Ok(())
    });
    let mut fired = Fired::default();
    lp.poll_once(&mut fired)?;
    assert!(fired.0.is_empty(), "nothing is due yet");
    Ok(())
}

/// The numbers of those that fire once, in the order of their deadlines.
fn in_order(once: &[Duration]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..once.len()).collect();
    order.sort_by_key(|&number| once[number]);
    order.into_iter().map(|number| number as i64).collect()
}

fn delays(random: &mut Random, many: usize, most: Duration) -> Vec<Duration> {
    (0..many).map(|_| Duration::from_nanos(random.next() % most.as_nanos() as u64)).collect()
}

/// The time of day jumps by years, back and forth, at every beat.
fn wall_clock_jumps(seed: u64) -> Result<u64> {
    let mut lp = Loop::<Fired>::new()?;
    let once = delays(&mut Random::new(seed), 100, Duration::from_millis(200));
    let once: Vec<Duration> = once.into_iter().map(|after| after + Duration::from_millis(50)).collect();
    timers(&mut lp, &once, Duration::from_millis(20))?;
    // These must neither end at once nor wait for years.
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0")?;
    listener.start(&mut lp, |lp, _, conn| {
        conn.set_idle_timeout(lp, Some(Duration::from_millis(150)))?;
        conn.start(lp, move |lp, fired: &mut Fired, event| match event {
            Err(ringback::Error::TimedOut { .. }) => {
                fired.0.push(1000);
                conn.close(lp);
                Ok(())
            }
            _ => Ok(()),
        })
    })?;
    listener.unref(&mut lp)?;
    let addr = listener.local_addr(&mut lp)?;
    TcpStream::connect_timeout(&mut lp, addr, Duration::from_secs(60), |lp, _, conn| {
        let conn = conn?;
        conn.start(lp, move |lp, _, event| match event? {
            Event::End => conn.finish(lp),
            _ => Ok(()),
        })
    })?;
    let (mut sign, jumps) = (1, std::rc::Rc::new(std::cell::Cell::new(0)));
    let counted = std::rc::Rc::clone(&jumps);
    let jump = Timer::every(&mut lp, Duration::from_millis(2), move |lp, _| {
        let before = SystemTime::now();
        WALL.store(sign * 20 * 365 * 86_400, Ordering::Relaxed);
        // Or nothing has jumped.
        assert_eq!(SystemTime::now() > before, sign > 0);
        sign = -sign;
        counted.set(counted.get() + 1);
        work::run(lp, || (), |_, _, done| done)?;
        fs::metadata(lp, "/", |_, _, found| found.map(drop)).map(drop)
    })?;
    jump.unref(&mut lp)?;
    let mut fired = Fired::default();
    lp.run(&mut fired)?;
    WALL.store(0, Ordering::Relaxed);
    let ended = fired.0.iter().filter(|&&number| number == 1000).count();
    assert_eq!(ended, 1, "the idle one is told, once");
    let single: Vec<i64> = fired.0.into_iter().filter(|number| (0..1000).contains(number)).collect();
    assert_eq!(single, in_order(&once));
    Ok(jumps.get())
}

/// Nobody in a loop asks for the time of day.
fn wall_clock_is_not_read() -> Result {
    let mut lp = Loop::<Fired>::new()?;
    timers(&mut lp, &[Duration::from_millis(50), Duration::from_millis(70)], Duration::from_millis(20))?;
    let before = WALL_READ.load(Ordering::Relaxed);
    lp.run(&mut Fired::default())?;
    assert_eq!(WALL_READ.load(Ordering::Relaxed), before);
    Ok(())
}

/// What must hold in the turn after all deadlines have passed: those that fire once have done so in order, and
/// those that repeat fire once, however often they would have; and in the turns after it, not sooner than ever.
fn all_are_due(lp: &mut Loop<Fired>, once: &[Duration], period: Duration) -> Result {
    let mut fired = Fired::default();
    let before = lp.metrics().turns;
    while fired.0.is_empty() {
        lp.run_once(&mut fired)?;
        lp.verify();
        assert!(lp.metrics().turns - before < 10, "nothing is due");
    }
    let repeated = |number: i64| fired.0.iter().filter(|&&fired| fired == -number).count();
    for number in 1..=REPEATING {
        assert_eq!(repeated(number), 1, "it fires once, and does not catch up: {:?}", fired.0);
    }
    let single: Vec<i64> = fired.0.iter().copied().filter(|&number| number >= 0).collect();
    assert_eq!(single, in_order(once), "each has fired once, in order");
    let (from, mut later) = (lp.now(), Fired::default());
    for _ in 0..500 {
        lp.poll_once(&mut later)?;
    }
    let passed = lp.now() - from;
    for number in 1..=REPEATING {
        let count = later.0.iter().filter(|&&fired| fired == -number).count();
        let most = passed.as_nanos() / (period * number as u32).as_nanos();
        assert!(count as u128 <= most, "{count} times in {passed:?}, every {period:?}: it catches up");
    }
    assert!(later.0.iter().all(|&number| number < 0), "those that fire once have fired");
    Ok(())
}

/// The monotonic clock goes on by an hour between two turns, as it may while a machine sleeps, and then back: which
/// it never does.
fn monotonic_clock_jumps(seed: u64) -> Result {
    let mut lp = Loop::<Fired>::new()?;
    let once = delays(&mut Random::new(seed), 500, Duration::from_secs(3500));
    // Not one of them is due before.
    let once: Vec<Duration> = once.into_iter().map(|after| after + Duration::from_secs(60)).collect();
    let period = Duration::from_secs(10);
    timers(&mut lp, &once, period)?;
    MONOTONIC.fetch_add(3600, Ordering::Relaxed);
    all_are_due(&mut lp, &once, period)?;
    // Back to before the loop was made. Nothing is lost: it waits until the clock is there again.
    Timer::after(&mut lp, Duration::ZERO, |_, fired: &mut Fired| {
        fired.0.push(7);
        Ok(())
    })?;
    MONOTONIC.fetch_sub(7200, Ordering::Relaxed);
    let mut fired = Fired::default();
    lp.poll_once(&mut fired)?;
    lp.verify();
    MONOTONIC.fetch_add(3600 + 3600 + 3600, Ordering::Relaxed);
    while !fired.0.contains(&7) {
        lp.run_once(&mut fired)?;
        lp.verify();
    }
    MONOTONIC.store(0, Ordering::Relaxed);
    Ok(())
}

pub(crate) fn jumping() {
    let seed = wish("SEED");
    wall_clock_is_not_read().unwrap();
    let jumps = wall_clock_jumps(seed).unwrap();
    monotonic_clock_jumps(seed).unwrap();
    println!(
        "done: {jumps} jumps of the time of day by 40 years; an hour of the monotonic clock: 500 timers once and in order, {REPEATING} that repeat once each; seed {seed}"
    );
}

/// Stands still by itself, with everything started.
pub(crate) fn standing_still() {
    let seed = wish("SEED");
    let mut lp = Loop::<Fired>::new().unwrap();
    let once = delays(&mut Random::new(seed), 500, Duration::from_millis(150));
    // Later than it takes to start them, on whatever machine.
    let once: Vec<Duration> = once.into_iter().map(|after| after + Duration::from_millis(100)).collect();
    let period = Duration::from_millis(20);
    timers(&mut lp, &once, period).unwrap();
    stand_still();
    all_are_due(&mut lp, &once, period).unwrap();
    // The clock of this namespace, if it is one.
    println!("done: {} timers, {REPEATING} that repeat, up since {:?}", once.len(), uptime());
}

/// By the monotonic clock.
fn uptime() -> Duration {
    // SAFETY: all zeroes is a valid timespec, and it has room for the answer.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        clock_gettime(libc::CLOCK_MONOTONIC, &mut time);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Stops the process that stops itself, until all its deadlines have passed by far.
fn stop_and_go_on(command: &mut Command) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    eventually("it stops", || is_stopped(pid).then_some(()));
    // The fault itself, not a wait for something: the time that passes without the process.
    std::thread::sleep(Duration::from_millis(400));
    kill_process(pid, Signal::CONT).unwrap();
    let output = child.wait_with_output().unwrap();
    let (text, complaints) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}\n{complaints}", output.status);
    text.lines().find_map(|line| line.split_once("done: ")).expect("it says what it did").1.to_owned()
}

#[test]
fn a_time_of_day_that_jumps_changes_nothing_and_an_hour_that_is_missing_fires_each_timer_once() {
    let seed = seed("clock");
    say("clock", run(part("clock").env("SEED", seed.to_string())));
}

#[test]
fn a_process_that_stood_still_past_its_deadlines_fires_each_timer_once_and_in_order() {
    let seed = seed("clock").to_string();
    say(
        "clock",
        format!(
            "stopped for 400 ms: {}; seed {seed}",
            stop_and_go_on(part("clock: stop").env("SEED", &seed))
        ),
    );

    // And where the monotonic clock has a century behind it: a namespace, which not everybody may make.
    const CENTURY: u64 = 100 * 365 * 86_400;
    let unshare = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--time", "--monotonic", &CENTURY.to_string(), command]).stdin(Stdio::null());
        unshare
    };
    if !unshare("true").output().is_ok_and(|output| output.status.success()) {
        return say("clock", "skipped: a namespace with a clock of its own, which this user may not make");
    }
    let own = std::env::current_exe().unwrap();
    let mut command = unshare(own.to_str().unwrap());
    command.args(arguments()).env("FAULTS_PART", "clock: stop").env("SEED", &seed);
    let line = stop_and_go_on(&mut command);
    let seconds = line.rsplit_once("up since ").and_then(|(_, time)| time.split_once('.')).expect("a time").0;
    assert!(seconds.parse::<u64>().expect("seconds") >= CENTURY, "{line}");
    say("clock", format!("the same a century later: {line}"));
}
