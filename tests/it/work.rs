//! Work on the pool.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use ringback::{Error, Loop, Options, work};

use crate::world::*;

#[test]
fn work_is_done_elsewhere_and_its_result_comes_back() {
    let mut lp = world();
    let home = std::thread::current().id();
    work::run(
        &mut lp,
        move || (std::thread::current().id() != home, vec![1, 2, 3]),
        move |_, log, result| {
            assert_eq!(std::thread::current().id(), home);
            note(log, format!("{:?}", result?))
        },
    )
    .unwrap();
    assert_eq!(run(&mut lp), ["(true, [1, 2, 3])"]);
}

#[test]
fn a_panic_in_the_work_arrives_as_an_error_and_the_worker_lives_on() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    work::run(
        &mut lp,
        || panic!("over {}", 9000),
        |_, log, result: Result<(), Error>| note(log, kind(&result.unwrap_err())),
    )
    .unwrap();
    work::run(&mut lp, || 7, |_, log, result| note(log, result?.to_string())).unwrap();
    assert_eq!(run(&mut lp), ["panicked over 9000", "7"]);
}

#[test]
fn jobs_are_begun_in_order_and_no_more_at_a_time_than_there_are_workers() {
    for workers in [1, 3] {
        let mut lp: Loop<Log> = Options::new().workers(workers).build().unwrap();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for number in 0..200 {
            let (now, most) = (now.clone(), most.clone());
            let job = move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            };
            work::run(&mut lp, job, move |_, log, _| note(log, number.to_string())).unwrap();
        }
        let log = run(&mut lp);
        assert_eq!(log.len(), 200);
        assert!(most.load(Ordering::SeqCst) <= workers);
        if workers == 1 {
            assert!(log.iter().enumerate().all(|(number, line)| *line == number.to_string()));
        }
    }
}

#[test]
fn the_pool_can_be_enlarged() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    lp.set_workers(2);
    // Two jobs that need each other: with one worker this would hang.
    let (ping, pong) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    work::run(
        &mut lp,
        move || (ping.0.send(()), pong.1.recv()).1.is_ok(),
        |_, log, met| note(log, met?.to_string()),
    )
    .unwrap();
    work::run(
        &mut lp,
        move || (pong.0.send(()), ping.1.recv()).1.is_ok(),
        |_, log, met| note(log, met?.to_string()),
    )
    .unwrap();
    assert_eq!(run(&mut lp), ["true", "true"]);
}

#[test]
fn of_many_jobs_those_that_are_cancelled_never_run() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    work::run(&mut lp, move || (begun.send(()), gate.recv()).1.is_ok(), |_, log, _| note(log, "gate"))
        .unwrap();
    has_begun.recv().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let requests: Vec<_> = (0..1000)
        .map(|_| {
            let ran = ran.clone();
            work::run(
                &mut lp,
                move || ran.fetch_add(1, Ordering::SeqCst),
                |_, log, result| note(log, if result.is_ok() { "done" } else { "canceled" }),
            )
            .unwrap()
        })
        .collect();
    for request in requests.iter().step_by(2) {
        request.cancel(&mut lp).unwrap();
    }
    go.send(()).unwrap();
    let log = run(&mut lp);
    assert_eq!(ran.load(Ordering::SeqCst), 500);
    assert_eq!(log.iter().filter(|line| *line == "canceled").count(), 500);
    assert_eq!(log.iter().filter(|line| *line == "done").count(), 500);
}

#[test]
fn work_that_runs_when_the_loop_is_dropped_is_finished_without_anybody_to_tell() {
    let mut lp = world();
    let (begun, has_begun) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel();
    work::run(
        &mut lp,
        move || {
            begun.send(()).unwrap();
            gate.recv().unwrap();
            done.send(()).unwrap();
        },
        |_, _, _| panic!("nobody is there"),
    )
    .unwrap();
    has_begun.recv().unwrap();
    drop(lp);
    go.send(()).unwrap();
    is_done.recv().unwrap();
}

#[test]
fn a_deferred_closure_can_be_cancelled() {
    let mut lp = world();
    let request = lp.defer(|_, _| panic!("it was cancelled"));
    lp.defer(|_, log| note(log, "the other"));
    request.cancel(&mut lp).unwrap();
    assert_eq!(run(&mut lp), ["the other"]);
    assert!(request.cancel(&mut lp).unwrap_err().is_closed());
}
