//! Clocks that jump, and a process that is stopped until all its deadlines have passed.
//!
//! Setting the machine's clock would affect other programs. Instead, this file replaces the C library's
//! `clock_gettime` for this process: the replacement asks the kernel and adds an offset that the tests set.
//! Every scenario runs in a subprocess of its own.
#![allow(unsafe_code, reason = "`clock_gettime` is a C function")]

use std::{
    cell::Cell,
    process::{Command, Stdio},
    rc::Rc,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use ringback::{
    Loop, Options, Result, Timer, fs,
    net::{Event, TcpListener, TcpStream},
    work,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    random::{Random, seed},
    server::eventually,
    sigstop::is_stopped,
    subprocess::{self, parameter, report, stop_self, subprocess},
};

/// Seconds that are added to each reading of a clock.
static WALL_OFFSET: AtomicI64 = AtomicI64::new(0);
static MONOTONIC_OFFSET: AtomicI64 = AtomicI64::new(0);
/// Nanoseconds by which every third monotonic reading of a thread steps back, less than a second.
static STEP_BACK: AtomicI64 = AtomicI64::new(0);
/// How many times the time of day was read.
static WALL_READINGS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static MONOTONIC_READINGS: Cell<u64> = const { Cell::new(0) };
}

/// Two hours: a test may set the monotonic clock back by less, however short a time ago the machine was
/// booted.
const BASE: i64 = 2 * HOUR;
const HOUR: i64 = 3600;

/// Replaces the C library's function for the whole program.
///
/// # Safety
///
/// `time` points to a `timespec` that may be written to, as for the function it replaces.
#[unsafe(no_mangle)]
#[allow(deprecated, reason = "musl has deprecated the name of the type of seconds")]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the kernel writes one `timespec` to `time`, which the caller has made room for.
    let status = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as libc::c_int;
    let offset = match clock {
        libc::CLOCK_REALTIME => {
            WALL_READINGS.fetch_add(1, Ordering::Relaxed);
            WALL_OFFSET.load(Ordering::Relaxed)
        }
        libc::CLOCK_MONOTONIC => MONOTONIC_OFFSET.load(Ordering::Relaxed),
        _ => 0,
    };
    if status == 0 {
        // SAFETY: as above, and the kernel has initialized it.
        let time = unsafe { &mut *time };
        time.tv_sec = time.tv_sec.saturating_add(offset as libc::time_t);
        if clock == libc::CLOCK_MONOTONIC {
            time.tv_nsec -= step_back() as libc::c_long;
            if time.tv_nsec < 0 {
                (time.tv_sec, time.tv_nsec) = (time.tv_sec.saturating_sub(1), time.tv_nsec + 1_000_000_000);
            }
        }
    }
    status
}

/// By how many nanoseconds this reading steps back.
fn step_back() -> i64 {
    let readings = MONOTONIC_READINGS.get() + 1;
    MONOTONIC_READINGS.set(readings);
    if readings % 3 == 0 { STEP_BACK.load(Ordering::Relaxed) } else { 0 }
}

/// By the monotonic clock, offset included.
fn uptime() -> Duration {
    // SAFETY: all zeroes is a valid timespec, and the call may write to it.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        clock_gettime(libc::CLOCK_MONOTONIC, &mut time);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

// ---- timers to observe

/// The numbers of the timers that fired, in order. Those of repeating timers are below zero.
#[derive(Default)]
struct Fired(Vec<i64>);

const REPEATING: i64 = 3;
/// What the timeout of the idle connection is logged as.
const IDLE: i64 = 1000;

/// Starts timers that fire once, after these delays, and some that repeat. A callback starts them, so that
/// all count from the same time.
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
    assert!(fired.0.is_empty(), "a timer fired in the turn that started it");
    Ok(())
}

/// The numbers of the timers that fire once, in the order of their deadlines.
fn in_order(once: &[Duration]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..once.len()).collect();
    order.sort_by_key(|&number| once[number]);
    order.into_iter().map(|number| number as i64).collect()
}

/// Random delays from `least` on, spread over `spread`.
fn delays(seed: u64, many: usize, least: Duration, spread: Duration) -> Vec<Duration> {
    let mut random = Random::new(seed);
    (0..many).map(|_| least + Duration::from_nanos(random.next() % spread.as_nanos() as u64)).collect()
}

/// Checks the turn after all deadlines have passed, and the turns after it. Timers that fire once have fired
/// in order; repeating timers fire once, however many periods have passed, and then at their usual pace.
fn all_are_due(lp: &mut Loop<Fired>, once: &[Duration], period: Duration) -> Result {
    let mut fired = Fired::default();
    let before = lp.metrics().turns;
    while fired.0.is_empty() {
        lp.run_once(&mut fired)?;
        lp.verify();
        assert!(lp.metrics().turns - before < 10, "no timer is due");
    }
    let repeated = |number: i64| fired.0.iter().filter(|&&fired| fired == -number).count();
    for number in 1..=REPEATING {
        assert_eq!(repeated(number), 1, "a repeating timer fired again to catch up: {:?}", fired.0);
    }
    let single: Vec<i64> = fired.0.iter().copied().filter(|&number| number >= 0).collect();
    assert_eq!(single, in_order(once), "each timer fires once, in order");
    let (from, mut later) = (lp.now(), Fired::default());
    for _ in 0..500 {
        lp.poll_once(&mut later)?;
    }
    let passed = lp.now() - from;
    for number in 1..=REPEATING {
        let count = later.0.iter().filter(|&&fired| fired == -number).count();
        let most = passed.as_nanos() / (period * number as u32).as_nanos();
        assert!(
            count as u128 <= most,
            "{count} times in {passed:?} at a period of {period:?}: it catches up"
        );
    }
    assert!(later.0.iter().all(|&number| number < 0), "a timer fired twice");
    Ok(())
}

// ---- the time of day

/// The time of day jumps by 40 years, forward and back, every 2 ms.
pub(crate) fn wall_clock_jumps() {
    wall_clock_is_not_read().unwrap();
    let (seed, jumps) = (parameter("SEED"), Rc::new(Cell::new(0)));
    jump_while_timers_run(seed, Rc::clone(&jumps)).unwrap();
    println!("done: the time of day jumped {} times by 40 years; seed {seed}", jumps.get());
}

fn wall_clock_is_not_read() -> Result {
    let mut lp = Loop::<Fired>::new()?;
    timers(&mut lp, &[Duration::from_millis(50), Duration::from_millis(70)], Duration::from_millis(20))?;
    let before = WALL_READINGS.load(Ordering::Relaxed);
    lp.run(&mut Fired::default())?;
    assert_eq!(WALL_READINGS.load(Ordering::Relaxed), before, "a loop has read the time of day");
    Ok(())
}

fn jump_while_timers_run(seed: u64, jumps: Rc<Cell<u64>>) -> Result {
    let mut lp = Loop::<Fired>::new()?;
    let once = delays(seed, 100, Duration::from_millis(50), Duration::from_millis(200));
    timers(&mut lp, &once, Duration::from_millis(20))?;
    idle_connection(&mut lp)?;
    let mut sign = 1;
    let jump = Timer::every(&mut lp, Duration::from_millis(2), move |lp, _| {
        let before = SystemTime::now();
        WALL_OFFSET.store(sign * 20 * 365 * 86_400, Ordering::Relaxed);
        assert_eq!(SystemTime::now() > before, sign > 0, "the time of day did not jump");
        sign = -sign;
        jumps.set(jumps.get() + 1);
        work::run(lp, || (), |_, _, done| done)?;
        fs::metadata(lp, "/", |_, _, found| found.map(drop)).map(drop)
    })?;
    jump.unref(&mut lp)?;
    let mut fired = Fired::default();
    lp.run(&mut fired)?;
    WALL_OFFSET.store(0, Ordering::Relaxed);
    let timeouts = fired.0.iter().filter(|&&number| number == IDLE).count();
    assert_eq!(timeouts, 1, "the idle connection times out once");
    let single: Vec<i64> = fired.0.into_iter().filter(|number| (0..IDLE).contains(number)).collect();
    assert_eq!(single, in_order(&once));
    Ok(())
}

/// A connection with an idle timeout, made with a connect timeout: neither may elapse at once or take years.
fn idle_connection(lp: &mut Loop<Fired>) -> Result {
    let listener = TcpListener::bind(lp, "127.0.0.1:0")?;
    listener.start(lp, |lp, _, conn| {
        conn.set_idle_timeout(lp, Some(Duration::from_millis(150)))?;
        conn.start(lp, move |lp, fired: &mut Fired, event| match event {
            Err(ringback::Error::TimedOut { .. }) => {
                fired.0.push(IDLE);
                conn.close(lp);
                Ok(())
            }
            _ => Ok(()),
        })
    })?;
    listener.unref(lp)?;
    let addr = listener.local_addr(lp)?;
    TcpStream::connect_timeout(lp, addr, Duration::from_secs(60), |lp, _, conn| {
        let conn = conn?;
        conn.start(lp, move |lp, _, event| match event? {
            Event::End => conn.finish(lp),
            _ => Ok(()),
        })
    })?;
    Ok(())
}

// ---- the monotonic clock

/// Delays of a minute to an hour: no timer is due before the clock jumps by an hour.
fn within_an_hour(seed: u64) -> Vec<Duration> {
    delays(seed, 500, Duration::from_secs(60), Duration::from_secs(3500))
}

/// The monotonic clock jumps forward by an hour between two turns, as it may while a machine is suspended.
pub(crate) fn jump_forward() {
    let seed = parameter("SEED");
    let (mut lp, once, period) = (Loop::new().unwrap(), within_an_hour(seed), Duration::from_secs(10));
    timers(&mut lp, &once, period).unwrap();
    MONOTONIC_OFFSET.fetch_add(HOUR, Ordering::Relaxed);
    all_are_due(&mut lp, &once, period).unwrap();
    println!(
        "done: {} timers fired once and in order, {REPEATING} that repeat once each; seed {seed}",
        once.len()
    );
}

/// The monotonic clock steps back to before the loop was made, which a sound one never does.
pub(crate) fn jump_back() {
    MONOTONIC_OFFSET.store(BASE, Ordering::Relaxed);
    let mut lp = Loop::<Fired>::new().unwrap();
    let start = |lp: &mut Loop<Fired>, number, after| {
        Timer::after(lp, after, move |_, fired: &mut Fired| {
            fired.0.push(number);
            Ok(())
        })
        .unwrap();
    };
    start(&mut lp, 1, Duration::from_secs(60));
    MONOTONIC_OFFSET.store(BASE - HOUR, Ordering::Relaxed);
    start(&mut lp, 2, Duration::from_secs(30));
    let mut fired = Fired::default();
    lp.poll_once(&mut fired).unwrap();
    let now = lp.now();
    lp.poll_once(&mut fired).unwrap();
    lp.verify();
    assert_eq!((lp.now(), &*fired.0), (now, &[][..]), "the loop's time stands still, and no timer is due");
    MONOTONIC_OFFSET.store(BASE + HOUR, Ordering::Relaxed);
    lp.run(&mut fired).unwrap();
    assert_eq!(fired.0, [2, 1], "no timer is lost");
    println!(
        "done: the clock stepped back by an hour, and two timers fired once it had passed their deadlines"
    );
}

/// Every third reading is 20 ms behind the others. What the loop counts must be the time that passed.
pub(crate) fn unsteady() {
    let busy_poll = Duration::from_micros(parameter("BUSY_POLL_US"));
    MONOTONIC_OFFSET.store(BASE, Ordering::Relaxed);
    STEP_BACK.store(20_000_000, Ordering::Relaxed);
    let mut lp = Options::new().busy_poll(busy_poll).build::<Fired>().unwrap();
    // The clock is read around each callback, too.
    lp.on_slow(Duration::from_secs(9), |_, _, slow| panic!("no callback takes 9 s: {slow:?}"));
    let mut last = Duration::ZERO;
    let timer = Timer::new(&mut lp).unwrap();
    let tick = move |lp: &mut Loop<Fired>, fired: &mut Fired| {
        assert!(lp.now() >= last, "the loop's time steps back");
        last = lp.now();
        fired.0.push(1);
        if fired.0.len() == 200 {
            timer.close(lp);
        }
        Ok(())
    };
    timer.set_period(&mut lp, Some(Duration::from_millis(1))).unwrap();
    timer.start(&mut lp, Duration::from_millis(1), tick).unwrap();
    let mut fired = Fired::default();
    lp.run(&mut fired).unwrap();
    lp.verify();
    let (passed, counted) = (lp.now(), lp.metrics());
    assert!(
        counted.blocked + counted.busy <= passed,
        "{:?} blocked and {:?} busy in {passed:?}",
        counted.blocked,
        counted.busy
    );
    println!("done: {} ticks in {passed:.0?}, every third reading 20 ms behind", fired.0.len());
}

/// The clock reads less than zero, and then passes zero. In debug builds a conversion of that once panicked.
pub(crate) fn before_zero() {
    let seed = parameter("SEED");
    MONOTONIC_OFFSET.store(-(uptime().as_secs() as i64) - HOUR / 2, Ordering::Relaxed);
    let (mut lp, once) = (Loop::new().unwrap(), delays(seed, 100, Duration::ZERO, Duration::from_millis(50)));
    timers(&mut lp, &once, Duration::from_secs(1)).unwrap();
    let mut fired = Fired::default();
    lp.run(&mut fired).unwrap();
    assert_eq!(fired.0, in_order(&once), "timers fire in order below zero");

    let (mut lp, once, period) = (Loop::new().unwrap(), within_an_hour(seed), Duration::from_secs(10));
    timers(&mut lp, &once, period).unwrap();
    MONOTONIC_OFFSET.fetch_add(HOUR, Ordering::Relaxed);
    all_are_due(&mut lp, &once, period).unwrap();
    println!("done: timers below zero and across it fired once and in order; seed {seed}");
}

/// Readings from one end of the clock's range to the other. None may panic, or count time that did not pass.
pub(crate) fn extreme() {
    const READINGS: [i64; 9] =
        [0, i64::MAX, i64::MIN, i64::MAX / 2, i64::MIN / 2, -1, 1 << 34, -(1 << 34), 7];
    let mut lp = Loop::<Fired>::new().unwrap();
    lp.on_slow(Duration::ZERO, |_, _, _| Ok(()));
    let mut last = Duration::ZERO;
    for from in READINGS {
        for to in READINGS {
            MONOTONIC_OFFSET.store(from, Ordering::Relaxed);
            for delay in [Duration::ZERO, Duration::from_millis(1), Duration::MAX] {
                Timer::after(&mut lp, delay, |_, _| Ok(())).unwrap();
            }
            Timer::every(&mut lp, Duration::from_secs(1), |_, _| Ok(())).unwrap();
            let _ = lp.poll_timeout();
            MONOTONIC_OFFSET.store(to, Ordering::Relaxed);
            lp.poll_once(&mut Fired::default()).unwrap();
            lp.verify();
            assert!(lp.now() >= last, "the loop's time steps back from {last:?} to {:?}", lp.now());
            last = lp.now();
            let counted = lp.metrics();
            assert!(counted.blocked + counted.busy <= last, "{counted:?}");
        }
    }
    MONOTONIC_OFFSET.store(0, Ordering::Relaxed);
    println!("done: {} jumps between the ends of the clock's range", READINGS.len() * READINGS.len());
}

// ---- a stopped process

/// Stops its own process once everything is started.
pub(crate) fn stopping() {
    let seed = parameter("SEED");
    let mut lp = Loop::<Fired>::new().unwrap();
    let once = delays(seed, 500, Duration::from_millis(100), Duration::from_millis(150));
    let period = Duration::from_millis(20);
    timers(&mut lp, &once, period).unwrap();
    stop_self();
    all_are_due(&mut lp, &once, period).unwrap();
    println!("done: {} timers, {REPEATING} that repeat, uptime {:?}", once.len(), uptime());
}

/// Leaves a process that stops itself stopped until all its deadlines have passed. Returns what it reports.
fn stop_and_continue(command: &mut Command) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    eventually("the process stops", || is_stopped(pid).then_some(()));
    // The fault itself, not a wait for something: the last deadline is 250 ms after the start.
    std::thread::sleep(Duration::from_millis(400));
    kill_process(pid, Signal::CONT).unwrap();
    subprocess::done(child.wait_with_output().unwrap())
}

fn run(scenario: &str) -> String {
    subprocess::run(subprocess(scenario).env("SEED", seed("clock").to_string()))
}

#[test]
fn a_time_of_day_that_jumps_affects_no_timer() {
    report("clock", run("clock: time of day"));
}

#[test]
fn an_hour_that_is_missing_fires_each_timer_once() {
    report("clock", run("clock: forward"));
}

#[test]
fn a_clock_that_steps_back_loses_no_timer() {
    report("clock", run("clock: back"));
}

#[test]
fn a_clock_that_steps_back_within_a_turn_corrupts_no_counter() {
    report("clock", subprocess::run(subprocess("clock: unsteady").env("BUSY_POLL_US", "0")));
}

#[test]
fn a_clock_that_steps_back_while_busy_polling_corrupts_no_counter() {
    report("clock", subprocess::run(subprocess("clock: unsteady").env("BUSY_POLL_US", "2000")));
}

#[test]
fn a_clock_below_zero_works() {
    report("clock", run("clock: before zero"));
}

#[test]
fn no_reading_of_the_clock_panics() {
    report("clock", run("clock: extreme"));
}

#[test]
fn a_process_stopped_past_its_deadlines_fires_each_timer_once() {
    let seed = seed("clock").to_string();
    let line = stop_and_continue(subprocess("clock: stop").env("SEED", &seed));
    report("clock", format!("stopped for 400 ms: {line}; seed {seed}"));
}

/// In a time namespace, which not every user may create.
#[test]
fn a_monotonic_clock_of_a_century_changes_nothing() {
    const CENTURY: u64 = 100 * 365 * 86_400;
    let seed = seed("clock").to_string();
    let unshare = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--time", "--monotonic", &CENTURY.to_string(), command]).stdin(Stdio::null());
        unshare
    };
    if !unshare("true").output().is_ok_and(|output| output.status.success()) {
        return report("clock", "skipped: this user may not create a time namespace");
    }
    let mut command = unshare(std::env::current_exe().unwrap().to_str().unwrap());
    subprocess::enter(&mut command, "clock: stop");
    let line = stop_and_continue(command.env("SEED", &seed));
    let seconds =
        line.rsplit_once("uptime ").and_then(|(_, time)| time.split_once('.')).expect("an uptime").0;
    assert!(seconds.parse::<u64>().expect("seconds") >= CENTURY, "{line}");
    report("clock", format!("stopped for 400 ms, a century after boot: {line}; seed {seed}"));
}
