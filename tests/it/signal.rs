//! Signals. Each test uses a signal of its own, because they share the process.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use ringback::{Loop, Signal};
use rustix::process::{Signal as Number, getpid, kill_process};

use crate::common::*;

fn kill(number: Number) {
    kill_process(getpid(), number).unwrap();
}

#[test]
fn every_watcher_in_every_loop_and_thread_is_called() {
    let number = Number::USR1;
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (ready, is_ready) = mpsc::channel();
            let thread = thread::spawn(move || {
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
fn a_watcher_started_once_is_stopped_before_its_callback() {
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

/// Returns whether the process catches a signal, according to the system.
#[cfg(target_os = "linux")]
fn caught(number: Number) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap() & (1 << (number.as_raw() - 1)) != 0
}

#[test]
#[cfg(target_os = "linux")]
fn the_last_watcher_restores_the_previous_action() {
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
    assert!(caught(number), "the other loop still watches it");
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
fn a_watcher_closed_by_another_watcher_is_not_called() {
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

/// Sets a flag when it is dropped, also by a panic: otherwise the scope would wait for its thread without
/// end.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn loops_may_come_and_go_under_constant_signals() {
    let number = Number::CONT;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let set_stop = SetOnDrop(&stop);
        // Keeps the handler installed between the loops.
        let mut keeper = new_loop();
        Signal::on(&mut keeper, number.as_raw(), |_, _, _| Ok(())).unwrap();
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                kill(number);
            }
        });
        for _ in 0..200 {
            let mut lp: Loop<Log> = new_loop();
            let signal = Signal::new(&mut lp).unwrap();
            signal
                .start(&mut lp, number.as_raw(), move |lp, log, _| {
                    signal.close(lp);
                    note(log, "called")
                })
                .unwrap();
            assert_eq!(run(&mut lp), ["called"]);
        }
        drop(set_stop);
    });
}
