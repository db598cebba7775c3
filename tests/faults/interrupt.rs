//! A storm of signals: a timer for each thread, every 100 µs, and a handler that lets no call go on (no
//! `SA_RESTART`). Whatever can say EINTR does; nothing of it may reach a callback.
#![allow(unsafe_code, reason = "timers for single threads are the C library's")]

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

const EVERY: Duration = Duration::from_micros(100);

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// A signal every 100 µs, for each thread that there is.
fn storm() -> usize {
    // SAFETY: all zeroes is a valid `sigaction`; the handler touches nothing but an atomic.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as libc::sighandler_t;
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, ptr::null_mut()), 0);
    }
    let mut threads = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task: i32 = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: all zeroes is a valid `sigevent`, and all that is named lives through the calls.
        unsafe {
            let mut event: libc::sigevent = mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGALRM;
            event.sigev_notify_thread_id = task;
            let mut timer: libc::timer_t = mem::zeroed();
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
            let mut times: libc::itimerspec = mem::zeroed();
            times.it_interval.tv_nsec = EVERY.as_nanos() as _;
            times.it_value = times.it_interval;
            assert_eq!(libc::timer_settime(timer, 0, &times, ptr::null_mut()), 0);
        }
        threads += 1;
    }
    threads
}

/// Whether a call of this thread that waits says EINTR by now: or this were no storm.
fn is_interrupted() {
    let begun = Instant::now();
    loop {
        let long = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        match rustix::event::poll(&mut [], Some(&long)) {
            Err(rustix::io::Errno::INTR) => return,
            answer => assert!(begun.elapsed() < GUARD, "poll: {answer:?}"),
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
    // So that all threads are there.
    for _ in 0..16 {
        work::run(&mut lp, || thread::sleep(Duration::from_millis(5)), |_, _, done| done).unwrap();
    }
    lp.run(&mut tally).unwrap();
    let threads = storm();
    is_interrupted();
    let before = SIGNALS.load(Ordering::Relaxed);

    let dir = tempfile::tempdir().unwrap();
    let bytes = Rc::new(Bytes::new());
    for number in 0..4 {
        let path = dir.path().join(number.to_string());
        files(&mut lp, path, Rc::clone(&bytes), number, rounds).unwrap();
    }
    jobs(&mut lp, rounds * 20).unwrap();
    let tick = Timer::every(&mut lp, Duration::from_micros(500), |_, tally: &mut Tally| {
        tally.ticks += 1;
        Ok(())
    })
    .unwrap();
    tick.unref(&mut lp).unwrap();
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
    assert!(signals > 1000 && tally.ticks > 10, "{signals} signals, {} ticks", tally.ticks);
    println!(
        "done: {signals} signals to {threads} threads in {:.1?}: {} MiB echoed, {} files of 1 MiB and {} jobs, {} ticks, {turns} turns, no EINTR",
        begun.elapsed(),
        (total * PEERS as u64) >> 20,
        tally.files,
        tally.jobs,
        tally.ticks
    );
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

/// Says so many bytes and hears them again.
fn peer(addr: net::SocketAddr, id: u64, total: u64) {
    let mut stream = net::TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let mut mouth = stream.try_clone().unwrap();
    let bytes = Bytes::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            while sent < total {
                let piece = bytes.at(id, sent, 50_000.min((total - sent) as usize));
                mouth.write_all(piece).unwrap();
                sent += piece.len() as u64;
            }
            mouth.shutdown(net::Shutdown::Write).unwrap();
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

/// Writes a file in two ways, reads it in two ways, and again.
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

/// One job after the other, each of which computes for a while.
fn jobs(lp: &mut Loop<Tally>, left: u64) -> Result {
    if left == 0 {
        return Ok(());
    }
    let job = move || (0..20_000_u64).fold(left, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
    work::run(lp, job, move |lp, tally, answer| {
        assert_eq!(answer?, job());
        tally.jobs += 1;
        jobs(lp, left - 1)
    })
    .map(drop)
}

#[test]
fn a_storm_of_signals_interrupts_nothing_that_a_callback_sees() {
    report("EINTR", run(subprocess("interrupt").env("ROUNDS", "8")));
}

#[test]
#[ignore = "the long form"]
fn a_long_storm_of_signals_interrupts_nothing_that_a_callback_sees() {
    report("EINTR", run(subprocess("interrupt").env("ROUNDS", "400")));
}
