//! Wakes from other threads.

use ringback::{Timer, Wake};

use crate::common::*;

#[test]
fn a_wake_from_another_thread_ends_a_wait() {
    let mut lp = new_loop();
    let wake = Wake::new(&mut lp, |lp, log| {
        lp.stop();
        note(log, "woken")
    })
    .unwrap();
    let waker = wake.waker(&lp).unwrap();
    let timer = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    let thread = std::thread::spawn(move || waker.wake().unwrap());
    let mut log = Log::new();
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["woken"]);
    thread.join().unwrap();
    timer.close(&mut lp);
    wake.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_wake_inside_its_own_callback_makes_another_call() {
    let mut lp = new_loop();
    let wake = Wake::new(&mut lp, |_, _| Ok(())).unwrap();
    let waker = wake.waker(&lp).unwrap();
    wake.close(&mut lp);
    run(&mut lp);
    assert!(waker.wake().is_err());

    let cell: std::rc::Rc<std::cell::OnceCell<ringback::Waker>> = Default::default();
    let inside = cell.clone();
    let wake = Wake::new(&mut lp, move |_, log| {
        if log.is_empty() {
            inside.get().unwrap().wake()?;
        }
        note(log, "woken")
    })
    .unwrap();
    cell.set(wake.waker(&lp).unwrap()).unwrap();
    cell.get().unwrap().wake().unwrap();
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| log.len() == 2);
    wake.close(&mut lp);
    run(&mut lp);
}

#[test]
fn only_woken_handles_are_called_in_wake_order() {
    let mut lp = new_loop();
    let wakes: Vec<_> = (0..100)
        .map(|number| Wake::new(&mut lp, move |_, log| note(log, number.to_string())).unwrap())
        .collect();
    for number in [70, 3, 70, 42] {
        wakes[number].waker(&lp).unwrap().wake().unwrap();
    }
    let mut log = Log::new();
    turn(&mut lp, &mut log).unwrap();
    assert_eq!(log, ["70", "3", "42"]);
    for wake in wakes {
        wake.close(&mut lp);
    }
    run(&mut lp);
}

#[test]
fn a_wake_closed_before_its_callback_is_not_called() {
    let mut lp = new_loop();
    let wake = Wake::new(&mut lp, must_not_run).unwrap();
    wake.waker(&lp).unwrap().wake().unwrap();
    wake.close_then(&mut lp, |_, log| note(log, "closed"));
    assert_eq!(run(&mut lp), ["closed"]);
}

#[test]
fn waking_a_dropped_loop_is_an_error() {
    let mut lp = new_loop();
    let wake = Wake::new(&mut lp, must_not_run).unwrap();
    let waker = wake.waker(&lp).unwrap();
    drop(lp);
    assert_eq!(describe_error(&waker.wake().unwrap_err()), "disconnected");
}

#[test]
fn no_wake_is_lost_while_the_loop_runs_and_blocks() {
    let mut lp = new_loop();
    let (called, was_called) = std::sync::mpsc::channel::<()>();
    let wake = Wake::new(&mut lp, move |_, log| {
        log.push(String::new());
        called.send(()).map_err(|_| ringback::Error::other("the waking thread is gone"))
    })
    .unwrap();
    let waker = wake.waker(&lp).unwrap();
    // Each wake is sent after the callback of the one before: a lost wake would stop both.
    let thread = std::thread::spawn(move || {
        for _ in 0..5_000 {
            waker.wake().unwrap();
            was_called.recv().unwrap();
        }
    });
    let guard = Timer::after(&mut lp, GUARD, |_, log| panic!("a wake was lost after {}", log.len())).unwrap();
    let mut log = Log::new();
    while log.len() < 5_000 {
        lp.run_once(&mut log).unwrap();
    }
    thread.join().unwrap();
    assert!(guard.is_open(&lp), "the last wake was lost");
    guard.close(&mut lp);
    wake.close(&mut lp);
    run(&mut lp);
}
