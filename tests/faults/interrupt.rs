//! Constant signals: each thread gets one every 100 µs from a timer of its own, and the handler is installed
//! without `SA_RESTART`. Every system call that can return EINTR does, and no callback may see it.
#![allow(unsafe_code, reason = "timers that signal one thread are C functions")]

use std::{
    cell::Cell,
    io::{Read, Write},
    mem, net, ptr,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use ringback::{
    Loop, Result, Timer, fs,
    fs::{File, OpenOptions},
    net::{Event, TcpListener},
    work,
};

use crate::{
    random::Bytes,
    server::GUARD,
    subprocess::{parameter, report, run, subprocess},
};

const PERIOD: Duration = Duration::from_micros(100);

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Starts a timer for each thread of the process. Returns the number of threads.
fn start_signals() -> usize {
    // SAFETY: all zeroes is a valid `sigaction`; the handler is async-signal-safe, since it only uses an
    // atomic.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = count_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()), 0);
    }
    let mut threads = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task: i32 = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: all zeroes is a valid value of each of these structs, and the pointers are valid for the
        // calls.
        unsafe {
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGALRM;
            event.sigev_notify_thread_id = task;
            let mut timer: libc::timer_t = mem::zeroed();
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
            let mut times: libc::itimerspec = mem::zeroed();
            times.it_interval.tv_nsec = PERIOD.as_nanos() as _;
            times.it_value = times.it_interval;
            assert_eq!(libc::timer_settime(timer, 0, &times, ptr::null_mut()), 0);
        }
        threads += 1;
    }
    threads
}

/// Waits until a blocking call of this thread returns EINTR: otherwise this test would prove nothing.
fn wait_for_eintr() {
    let begun = Instant::now();
    loop {
        let long = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        match rustix::event::poll(&mut [], Some(&long)) {
            Err(rustix::io::Errno::INTR) => return,
            other => assert!(begun.elapsed() < GUARD, "poll: {other:?}"),
        }
    }
}

#[derive(Default)]
struct Tally {
    ticks: u64,
    files: u64,
    jobs: u64,
    closed: usize,
}

pub(crate) fn under_signals() {
    let rounds: u64 = parameter("ROUNDS");
    let mut lp = Loop::<Tally>::new().unwrap();
    let mut tally = Tally::default();
    lp.on_failure(|_, _, failure| panic!("{failure}"));
    // Start all worker threads.
    for _ in 0..16 {
        work::run(&mut lp, || thread::sleep(Duration::from_millis(5)), |_, _, done| done).unwrap();
    }
    lp.run(&mut tally).unwrap();
    let threads = start_signals();
    wait_for_eintr();
    let before = SIGNALS.load(Ordering::Relaxed);

    let dir = tempfile::tempdir().unwrap();
    let bytes = Rc::new(Bytes::new());
    for number in 0..4 {
        let path = dir.path().join(number.to_string());
        files(&mut lp, path, Rc::clone(&bytes), number, rounds).unwrap();
    }
    jobs(&mut lp, rounds * 20).unwrap();
    tick(&mut lp, before);
    const PEERS: usize = 4;
    let addr = echo(&mut lp, PEERS);
    let total = rounds << 20;
    let peers: Vec<_> = (0..PEERS as u64).map(|id| thread::spawn(move || peer(addr, id, total))).collect();
    let mut turns = 0_u32;
    let begun = Instant::now();
    while lp.run_once(&mut tally).unwrap() {
        turns += 1;
        if turns % 64 == 0 {
            lp.verify();
            assert!(begun.elapsed() < GUARD * 2, "{}", lp.why_alive());
        }
    }
    peers.into_iter().for_each(|peer| peer.join().unwrap());
    let signals = SIGNALS.load(Ordering::Relaxed) - before;
    assert_eq!((tally.files, tally.jobs, tally.closed), (4 * rounds, rounds * 20, PEERS));
    assert!(signals > SIGNALS_MIN && tally.ticks > TICKS_MIN, "{signals} signals, {} ticks", tally.ticks);
    println!(
        "done: {signals} signals to {threads} threads in {:.1?}: {} MiB echoed, {} files of 1 MiB and {} \
         jobs, {} ticks, {turns} turns, no EINTR",
        begun.elapsed(),
        (total * PEERS as u64) >> 20,
        tally.files,
        tally.jobs,
        tally.ticks
    );
}

/// The fewest ticks and signals that make a test.
const TICKS_MIN: u64 = 10;
const SIGNALS_MIN: u64 = 1000;

/// Starts a timer that keeps the loop alive until there were enough ticks and signals, however fast the
/// machine is.
fn tick(lp: &mut Loop<Tally>, signals_before: u64) {
    let timer = Timer::new(lp).unwrap();
    timer.set_period(lp, Some(Duration::from_micros(500))).unwrap();
    timer
        .start(lp, Duration::from_micros(500), move |lp, tally: &mut Tally| {
            tally.ticks += 1;
            let signals = SIGNALS.load(Ordering::Relaxed) - signals_before;
            if tally.ticks > TICKS_MIN && signals > SIGNALS_MIN { timer.unref(lp) } else { Ok(()) }
        })
        .unwrap();
}

fn echo(lp: &mut Loop<Tally>, peers: usize) -> net::SocketAddr {
    let listener = TcpListener::bind(lp, "127.0.0.1:0").unwrap();
    let left = Rc::new(Cell::new(peers));
    listener
        .start(lp, move |lp, _, conn| {
            left.set(left.get() - 1);
            if left.get() == 0 {
                listener.close(lp);
            }
            conn.start(lp, move |lp, tally: &mut Tally, event| match event? {
                Event::Data(bytes) => conn.write(lp, bytes),
                Event::End => conn.finish(lp),
                Event::Closed => {
                    tally.closed += 1;
                    Ok(())
                }
                _ => Ok(()),
            })
        })
        .unwrap();
    listener.local_addr(lp).unwrap()
}

/// Sends so many bytes and checks the echo.
fn peer(addr: net::SocketAddr, id: u64, total: u64) {
    let mut stream = net::TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let bytes = Bytes::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            while sent < total {
                let piece = bytes.at(id, sent, 50_000.min((total - sent) as usize));
                writer.write_all(piece).unwrap();
                sent += piece.len() as u64;
            }
            writer.shutdown(net::Shutdown::Write).unwrap();
        });
        let (mut buffer, mut received) = (vec![0; 64 << 10], 0);
        loop {
            let count = stream.read(&mut buffer).unwrap();
            assert!(bytes.check(id, received, &buffer[..count]), "a wrong byte after {received}");
            received += count as u64;
            if count == 0 {
                break;
            }
        }
        assert_eq!(received, total);
    });
}

/// Writes a file in two ways and reads it in two ways, `rounds` times.
fn files(
    lp: &mut Loop<Tally>,
    path: std::path::PathBuf,
    bytes: Rc<Bytes>,
    number: u64,
    rounds: u64,
) -> Result {
    if rounds == 0 {
        return Ok(());
    }
    let content = bytes.at(number, rounds, 1 << 20).to_vec();
    let again = path.clone();
    fs::write(lp, &path, content, move |lp, _, done| {
        done?;
        fs::read(lp, again.clone(), move |lp, _, read| {
            let read = read?;
            assert!(read.len() == 1 << 20 && bytes.check(number, rounds, &read), "a wrong byte in a file");
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(lp, again.clone(), move |lp, _, file| {
                    let file: File = file?;
                    file.write_at(lp, 77, bytes.at(number, 0, 500_000).to_vec(), move |lp, _, done| {
                        done?;
                        file.sync(lp, |_, _, done| done)?;
                        file.read_at(lp, 77, Vec::with_capacity(500_000), move |lp, tally, read| {
                            assert!(bytes.check(number, 0, &read?), "a wrong byte in a file");
                            tally.files += 1;
                            file.close(lp);
                            files(lp, again, bytes, number, rounds - 1)
                        })
                        .map(drop)
                    })
                    .map(drop)
                })
                .map(drop)
        })
        .map(drop)
    })
    .map(drop)
}

/// Runs jobs that compute for a while, one after the other.
fn jobs(lp: &mut Loop<Tally>, left: u64) -> Result {
    if left == 0 {
        return Ok(());
    }
    let job = move || (0..20_000_u64).fold(left, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
    work::run(lp, job, move |lp, tally, result| {
        assert_eq!(result?, job());
        tally.jobs += 1;
        jobs(lp, left - 1)
    })
    .map(drop)
}

#[test]
fn no_callback_sees_eintr_under_constant_signals() {
    report("EINTR", run(subprocess("interrupt").env("ROUNDS", "8")));
}

#[test]
#[ignore = "long form"]
fn no_callback_sees_eintr_under_constant_signals_at_length() {
    report("EINTR", run(subprocess("interrupt").env("ROUNDS", "400")));
}
