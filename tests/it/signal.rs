//! Signals. Each test has a signal of its own, for they share the process.

use rustix::process::{Signal as Number, getpid, kill_process};

use ringback::{Loop, Signal};

use crate::common::*;

fn kill(number: Number) {
    kill_process(getpid(), number).unwrap();
}

#[test]
fn every_watcher_in_every_loop_and_thread_is_told() {
    let number = Number::USR1;
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (ready, is_ready) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                let mut lp = new_loop();
                for name in ["one", "two"] {
                    let signal = Signal::new(&mut lp).unwrap();
                    signal
                        .start(&mut lp, number.as_raw(), move |lp, log, signum| {
                            signal.close(lp);
                            note(log, format!("{name} {signum}"))
                        })
                        .unwrap();
                }
                ready.send(()).unwrap();
                run(&mut lp)
            });
            is_ready.recv().unwrap();
            thread
        })
        .collect();
    kill(number);
    for thread in threads {
        let signum = number.as_raw();
        assert_eq!(thread.join().unwrap(), [format!("one {signum}"), format!("two {signum}")]);
    }
}

#[test]
fn a_signal_that_is_watched_once_is_stopped_before_the_callback() {
    let mut lp = new_loop();
    let signal = Signal::new(&mut lp).unwrap();
    signal
        .start_once(&mut lp, Number::WINCH.as_raw(), move |lp, log, _| {
            assert!(!signal.is_active(lp));
            note(log, "once")
        })
        .unwrap();
    kill(Number::WINCH);
    kill(Number::WINCH);
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["once"]);
}

/// What the process does at a signal, from the system: whether it is caught.
#[cfg(target_os = "linux")]
fn caught(number: Number) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() & (1 << (number.as_raw() - 1)) != 0
}

#[test]
#[cfg(target_os = "linux")]
fn the_last_watcher_gives_the_signal_back() {
    let number = Number::URG;
    assert!(!caught(number));
    let mut one = new_loop();
    let mut two = new_loop();
    let first = Signal::on(&mut one, number.as_raw(), |_, _, _| Ok(())).unwrap();
    let second = Signal::on(&mut one, number.as_raw(), |_, _, _| Ok(())).unwrap();
    let third = Signal::on(&mut two, number.as_raw(), |_, _, _| Ok(())).unwrap();
    assert!(caught(number));
    first.stop(&mut one).unwrap();
    second.close(&mut one);
    assert!(caught(number), "the other loop watches it");
    third.stop(&mut two).unwrap();
    assert!(!caught(number));
    third.start(&mut two, number.as_raw(), |_, _, _| Ok(())).unwrap();
    assert!(caught(number));
    drop(two);
    assert!(!caught(number), "a loop that is dropped watches nothing");
}

#[test]
fn a_signal_that_cannot_be_caught_is_refused() {
    let mut lp = new_loop();
    for signum in [0, -1, 9999, Number::KILL.as_raw(), Number::STOP.as_raw()] {
        let error = Signal::on(&mut lp, signum, |_, _, _| Ok(())).unwrap_err();
        assert!(error.to_string().starts_with(&format!("watch signal {signum}: ")), "{error}");
    }
    run(&mut lp);
}

#[test]
fn a_watcher_can_change_to_another_signal() {
    let mut lp = new_loop();
    let signal = Signal::on(&mut lp, Number::TTIN.as_raw(), |_, _, _| panic!()).unwrap();
    signal
        .start(&mut lp, Number::TTOU.as_raw(), move |lp, log, _| {
            signal.close(lp);
            note(log, "the other")
        })
        .unwrap();
    kill(Number::TTOU);
    assert_eq!(run(&mut lp), ["the other"]);
}

#[test]
fn a_signal_that_is_stopped_by_another_watcher_of_the_same_delivery_is_not_told() {
    let mut lp = new_loop();
    let number = Number::IO.as_raw();
    let one = Signal::new(&mut lp).unwrap();
    let two = Signal::new(&mut lp).unwrap();
    one.start(&mut lp, number, move |lp, log, _| {
        two.close(lp);
        one.close(lp);
        note(log, "one")
    })
    .unwrap();
    two.start(&mut lp, number, |_, _, _| panic!()).unwrap();
    kill(Number::IO);
    assert_eq!(run(&mut lp), ["one"]);
}

#[test]
fn loops_come_and_go_while_signals_rain() {
    let number = Number::CONT;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // So that the default never applies in between.
        let mut keeper = new_loop();
        Signal::on(&mut keeper, number.as_raw(), |_, _, _| Ok(())).unwrap();
        let rain = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                kill(number);
            }
        });
        for _ in 0..200 {
            let mut lp: Loop<Log> = new_loop();
            let signal = Signal::new(&mut lp).unwrap();
            signal
                .start(&mut lp, number.as_raw(), move |lp, log, _| {
                    signal.close(lp);
                    note(log, "wet")
                })
                .unwrap();
            assert_eq!(run(&mut lp), ["wet"]);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        rain.join().unwrap();
    });
}
