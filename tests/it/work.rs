//! Jobs on the worker threads: `work::run`, and deferred closures.

use std::sync::{
    Arc, Barrier,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use ringback::{Error, Loop, Options, work};

use crate::common::*;

#[test]
fn a_job_runs_on_a_worker_and_its_callback_on_the_loop() {
    let mut lp = new_loop();
    let loop_thread = std::thread::current().id();
    work::run(
        &mut lp,
        move || (std::thread::current().id() != loop_thread, vec![1, 2, 3]),
        move |_, log, result| {
            assert_eq!(std::thread::current().id(), loop_thread);
            note(log, format!("{:?}", result?))
        },
    )
    .unwrap();
    assert_eq!(run(&mut lp), ["(true, [1, 2, 3])"]);
}

#[test]
fn a_panic_in_a_job_is_an_error_and_the_worker_survives() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    work::run(
        &mut lp,
        || panic!("over {}", 9000),
        |_, log, result: Result<(), Error>| note(log, describe_error(&result.unwrap_err())),
    )
    .unwrap();
    work::run(&mut lp, || 7, |_, log, result| note(log, result?.to_string())).unwrap();
    assert_eq!(run(&mut lp), ["panicked over 9000", "7"]);
}

#[test]
fn jobs_start_in_order_at_most_one_per_worker() {
    for workers in [1, 3] {
        let mut lp: Loop<Log> = Options::new().workers(workers).build().unwrap();
        let (running, running_max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for number in 0..200 {
            let (running, running_max) = (running.clone(), running_max.clone());
            let job = move || {
                running_max.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            };
            work::run(&mut lp, job, move |_, log, _| note(log, number.to_string())).unwrap();
        }
        let log = run(&mut lp);
        assert_eq!(log.len(), 200);
        assert!(running_max.load(Ordering::SeqCst) <= workers);
        if workers == 1 {
            assert!(log.iter().enumerate().all(|(number, line)| *line == number.to_string()));
        }
    }
}

#[test]
fn jobs_that_wait_for_each_other_run_at_the_same_time() {
    for workers in [2, 3, 8] {
        let mut lp: Loop<Log> = Options::new().workers(workers).build().unwrap();
        let mut met = 0;
        for round in 0..100 {
            // In some rounds all workers are parked, in others some are about to park.
            let barrier = Arc::new(Barrier::new(workers));
            for _ in 0..workers {
                let barrier = barrier.clone();
                work::run(
                    &mut lp,
                    move || barrier.wait().is_leader(),
                    |_, log, leads| {
                        if leads? { note(log, "met") } else { Ok(()) }
                    },
                )
                .unwrap();
            }
            if round % 2 == 0 {
                met += run(&mut lp).len();
            }
        }
        assert_eq!(met + run(&mut lp).len(), 100);
    }
}

#[test]
fn jobs_start_without_a_turn_of_the_loop() {
    let mut lp: Loop<Log> = Options::new().workers(4).build().unwrap();
    for _ in 0..50 {
        let barrier = Arc::new(Barrier::new(5));
        for number in 0..4 {
            let barrier = barrier.clone();
            // Small jobs in between, which any worker may run.
            work::run(&mut lp, move || number, |_, _, _| Ok(())).unwrap();
            work::run(&mut lp, move || barrier.wait().is_leader(), |_, _, _| Ok(())).unwrap();
        }
        barrier.wait();
        run(&mut lp);
    }
}

#[test]
fn jobs_beyond_the_ring_capacity_start_in_order() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    let started = Arc::new(AtomicUsize::new(0));
    for number in 0..5000 {
        let started = started.clone();
        let job = move || started.fetch_add(1, Ordering::SeqCst) == number;
        work::run(&mut lp, job, |_, log, in_order| note(log, in_order?.to_string())).unwrap();
    }
    let log = run(&mut lp);
    assert_eq!(log.len(), 5000);
    assert!(log.iter().all(|line| line == "true"));
}

#[test]
fn jobs_that_have_not_started_are_dropped_with_the_loop() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    let (started, has_started) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    work::run(&mut lp, move || (started.send(()), gate.recv()).1.is_ok(), |_, _, _| Ok(())).unwrap();
    has_started.recv().unwrap();
    let witness = Arc::new(());
    for _ in 0..1000 {
        let witness = witness.clone();
        work::run(&mut lp, move || witness, |_, _, _| panic!("the loop is gone")).unwrap();
    }
    drop(lp);
    assert_eq!(Arc::strong_count(&witness), 1);
    go.send(()).unwrap();
}

#[test]
fn set_workers_lets_two_jobs_run_at_the_same_time() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    lp.set_workers(2);
    // Two jobs that wait for each other: with one worker this would hang.
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
fn set_workers_starts_jobs_that_are_queued_already() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    let barrier = Arc::new(Barrier::new(3));
    for _ in 0..3 {
        let barrier = barrier.clone();
        work::run(&mut lp, move || barrier.wait().is_leader(), |_, log, _| note(log, "met")).unwrap();
    }
    lp.set_workers(3);
    assert_eq!(run(&mut lp), ["met"; 3]);
}

#[test]
fn cancelled_jobs_never_run() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    work::run(&mut lp, move || (started.send(()), gate.recv()).1.is_ok(), |_, log, _| note(log, "gate"))
        .unwrap();
    has_started.recv().unwrap();
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
fn a_job_that_runs_when_the_loop_is_dropped_finishes() {
    let mut lp = new_loop();
    let (started, has_started) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let (done, is_done) = mpsc::channel();
    work::run(
        &mut lp,
        move || {
            started.send(()).unwrap();
            gate.recv().unwrap();
            done.send(()).unwrap();
        },
        |_, _, _| panic!("the loop is gone"),
    )
    .unwrap();
    has_started.recv().unwrap();
    drop(lp);
    go.send(()).unwrap();
    is_done.recv().unwrap();
}

#[test]
fn a_deferred_closure_can_be_cancelled() {
    let mut lp = new_loop();
    let request = lp.defer(|_, _| panic!("the request was cancelled"));
    lp.defer(|_, log| note(log, "not cancelled"));
    request.cancel(&mut lp).unwrap();
    assert_eq!(run(&mut lp), ["not cancelled"]);
    assert!(request.cancel(&mut lp).unwrap_err().is_closed());
}
