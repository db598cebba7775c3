//! Closures posted from other threads.

use std::rc::Rc;

use ringback::{Error, Kind, Loop};

use crate::common::*;

#[test]
fn posts_run_in_order_on_the_loops_thread() {
    let mut lp = new_loop();
    let remote = lp.remote();
    let home = std::thread::current().id();
    let thread = std::thread::spawn(move || {
        for number in 0..1000 {
            remote
                .post(move |_, log| {
                    assert_eq!(std::thread::current().id(), home);
                    note(log, number.to_string())
                })
                .unwrap();
        }
    });
    let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    assert_eq!(run(&mut lp), expected);
    thread.join().unwrap();
}

#[test]
fn a_post_can_start_a_timer() {
    let mut lp = new_loop();
    let remote = lp.remote();
    std::thread::spawn(move || {
        remote.post(|lp, _| {
            ringback::Timer::after(lp, MS, |_, log| note(log, "timer"))?;
            Ok(())
        })
    })
    .join()
    .unwrap()
    .unwrap();
    assert_eq!(run(&mut lp), ["timer"]);
}

#[test]
fn the_state_need_not_be_send() {
    fn add_one(_: &mut Loop<Rc<u32>>, state: &mut Rc<u32>) -> ringback::Result {
        *Rc::make_mut(state) += 1;
        Ok(())
    }
    let mut lp = Loop::<Rc<u32>>::new().unwrap();
    let remote = lp.remote();
    let thread = std::thread::spawn(move || remote.post(add_one));
    let mut state = Rc::new(41);
    lp.run(&mut state).unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(*state, 42);
}

#[test]
fn a_post_to_a_dropped_loop_is_an_error() {
    let lp = new_loop();
    let remote = lp.remote();
    drop(lp);
    assert_eq!(describe_error(&remote.post(|_, _| Ok(())).unwrap_err()), "disconnected");
}

#[test]
fn a_post_that_never_ran_is_dropped_with_the_loop() {
    let lp = new_loop();
    let remote = lp.remote();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    remote
        .post(move |_, _| {
            drop(sender);
            Ok(())
        })
        .unwrap();
    drop(lp);
    assert!(receiver.recv().is_err(), "what the closure owned was not dropped");
}

#[test]
fn a_remote_keeps_the_loop_alive_unless_unreferenced() {
    let mut lp = new_loop();
    let remote = lp.remote();
    let clone = remote.clone();
    assert!(lp.is_alive());
    assert_eq!(lp.why_alive().remotes, 2);
    drop(remote);
    let quiet = clone.unref();
    let quieter = quiet.clone();
    assert!(!lp.is_alive());
    quiet.post(|_, log| note(log, "posted")).unwrap();
    assert!(lp.is_alive(), "a post keeps the loop alive");
    assert_eq!(run(&mut lp), ["posted"]);
    drop(quieter);
}

#[test]
fn dropping_the_last_remote_ends_a_blocked_run() {
    let mut lp = new_loop();
    let remote = lp.remote();
    let thread = std::thread::spawn(move || {
        std::thread::yield_now();
        drop(remote);
    });
    run(&mut lp);
    thread.join().unwrap();
}

#[test]
fn a_post_that_fails_is_a_failure_without_a_handle() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| {
        assert_eq!((failure.origin.kind, failure.origin.handle), (Kind::Post, None));
        assert!(failure.origin.started_at.file().ends_with("remote.rs"));
        note(log, failure.error.to_string())
    });
    lp.remote().post(|_, _| Err(Error::other("no"))).unwrap();
    assert_eq!(run(&mut lp), ["no"]);
}
