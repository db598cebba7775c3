//! Work on the pool.

use std::sync::{
    Arc, Barrier,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use ringback::{Error, Loop, Options, work};

use crate::common::*;

#[test]
fn work_is_done_elsewhere_and_its_result_comes_back() {
    let mut lp = new_loop();
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
        |_, log, result: Result<(), Error>| note(log, describe_error(&result.unwrap_err())),
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
fn jobs_that_wait_for_one_another_all_run_at_once_if_there_are_workers_for_them() {
    for workers in [2, 3, 8] {
        let mut lp: Loop<Log> = Options::new().workers(workers).build().unwrap();
        let mut met = 0;
        for round in 0..100 {
            // In some rounds all workers sleep, in others some are still about to.
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
fn jobs_need_no_turn_of_the_loop_to_be_begun() {
    let mut lp: Loop<Log> = Options::new().workers(4).build().unwrap();
    for _ in 0..50 {
        let barrier = Arc::new(Barrier::new(5));
        for number in 0..4 {
            let barrier = barrier.clone();
            // Small ones in between, which may be done by whoever comes first.
            work::run(&mut lp, move || number, |_, _, _| Ok(())).unwrap();
            work::run(&mut lp, move || barrier.wait().is_leader(), |_, _, _| Ok(())).unwrap();
        }
        barrier.wait();
        run(&mut lp);
    }
}

#[test]
fn a_flood_of_jobs_is_begun_in_order() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    for number in 0..5000 {
        let begun = begun.clone();
        let job = move || begun.fetch_add(1, Ordering::SeqCst) == number;
        work::run(&mut lp, job, |_, log, in_order| note(log, in_order?.to_string())).unwrap();
    }
    let log = run(&mut lp);
    assert_eq!(log.len(), 5000);
    assert!(log.iter().all(|line| line == "true"));
}

#[test]
fn jobs_that_nobody_began_are_dropped_with_the_loop() {
    let mut lp: Loop<Log> = Options::new().workers(1).build().unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    work::run(&mut lp, move || (begun.send(()), gate.recv()).1.is_ok(), |_, _, _| Ok(())).unwrap();
    has_begun.recv().unwrap();
    let witness = Arc::new(());
    for _ in 0..1000 {
        let witness = witness.clone();
        work::run(&mut lp, move || witness, |_, _, _| panic!("nobody is there")).unwrap();
    }
    drop(lp);
    assert_eq!(Arc::strong_count(&witness), 1);
    go.send(()).unwrap();
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
fn a_pool_that_is_enlarged_begins_what_waits_already() {
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
    let mut lp = new_loop();
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
    let mut lp = new_loop();
    let request = lp.defer(|_, _| panic!("it was cancelled"));
    lp.defer(|_, log| note(log, "the other"));
    request.cancel(&mut lp).unwrap();
    assert_eq!(run(&mut lp), ["the other"]);
    assert!(request.cancel(&mut lp).unwrap_err().is_closed());
}
