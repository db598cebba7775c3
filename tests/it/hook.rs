//! Idle, prepare and check hooks.

use ringback::{Check, Idle, Prepare, Timer};

use crate::common::*;

#[test]
fn an_idle_hook_runs_every_turn_without_waiting() {
    let mut lp = new_loop();
    let idle = Idle::new(&mut lp).unwrap();
    idle.start(&mut lp, move |lp, log| {
        if log.len() == 99 {
            idle.close(lp);
        }
        note(log, "idle")
    })
    .unwrap();
    Timer::after(&mut lp, LONG, must_not_run).unwrap().unref(&mut lp).unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap().len(), 100);
    assert_eq!(lp.metrics().turns, 100);
}

#[test]
fn a_restarted_hook_keeps_its_position_with_the_new_callback() {
    let mut lp = new_loop();
    let one = Prepare::every_turn(&mut lp, must_not_run).unwrap();
    let two = Prepare::every_turn(&mut lp, |_, log| note(log, "two")).unwrap();
    one.start(&mut lp, |_, log| note(log, "one")).unwrap();
    let mut log = Log::new();
    lp.poll_once(&mut log).unwrap();
    assert_eq!(log, ["one", "two"]);
    one.close(&mut lp);
    two.close(&mut lp);
    run(&mut lp);
}

#[test]
fn a_hook_can_restart_inside_its_own_callback() {
    let mut lp = new_loop();
    let check = Check::new(&mut lp).unwrap();
    check
        .start(&mut lp, move |lp, log| {
            note(log, "first")?;
            check.stop(lp)?;
            check.start(lp, move |lp, log| {
                check.close(lp);
                note(log, "second")
            })
        })
        .unwrap();
    let mut log = Log::new();
    lp.poll_once(&mut log).unwrap();
    lp.verify();
    assert_eq!(log, ["first"]);
    lp.poll_once(&mut log).unwrap();
    assert_eq!(log, ["first", "second"]);
    run(&mut lp);
}
