//! Timers.

use std::time::{Duration, Instant};

use ringback::{Error, Loop, Timer};

use crate::common::*;

#[test]
fn a_timer_never_fires_early() {
    let mut lp = new_loop();
    for micros in [1, 10, 100, 500, 999, 1000, 1001, 2500] {
        let delay = Duration::from_micros(micros);
        let started = Instant::now();
        Timer::after(&mut lp, delay, move |_, log| {
            assert!(started.elapsed() >= delay, "{delay:?}");
            note(log, "fired")
        })
        .unwrap();
    }
    assert_eq!(run(&mut lp).len(), 8);
}

#[test]
fn timers_fire_in_deadline_order_to_the_nanosecond() {
    let mut lp = new_loop();
    lp.defer(|lp, _| {
        for nanos in [900, 3, 700, 1, 2, 800] {
            Timer::after(lp, Duration::from_nanos(nanos), move |_, log| note(log, nanos.to_string()))?;
        }
        Ok(())
    });
    assert_eq!(run(&mut lp), ["1", "2", "3", "700", "800", "900"]);
}

#[test]
fn a_timer_made_by_after_closes_when_it_fires() {
    let mut lp = new_loop();
    let timer = Timer::after(&mut lp, MS, |_, log| note(log, "fired")).unwrap();
    assert!(timer.due_in(&lp).is_some());
    assert_eq!(run(&mut lp), ["fired"]);
    assert!(!timer.is_open(&lp));
    assert_eq!(timer.due_in(&lp), None);
}

#[test]
fn a_period_of_zero_is_refused() {
    let mut lp = new_loop();
    assert!(matches!(Timer::every(&mut lp, Duration::ZERO, must_not_run), Err(Error::Invalid { .. })));
    let timer = Timer::new(&mut lp).unwrap();
    assert!(matches!(timer.set_period(&mut lp, Some(Duration::ZERO)), Err(Error::Invalid { .. })));
    assert_eq!(timer.period(&mut lp).unwrap(), None);
}

#[test]
fn a_restarted_timer_has_the_new_delay_and_callback() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    timer.start(&mut lp, MS, must_not_run).unwrap();
    timer.start(&mut lp, 2 * MS, |_, log| note(log, "second")).unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["second"]);
}

#[test]
fn again_restarts_a_running_fired_or_stopped_timer() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    timer.start(&mut lp, 2 * MS, |_, log| note(log, "fired")).unwrap();
    let before = timer.due_in(&lp).unwrap();
    spin(MS);
    timer.again(&mut lp).unwrap();
    assert!(timer.due_in(&lp).unwrap() >= before);
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["fired"]);
    timer.again(&mut lp).unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["fired"]);
    timer.stop(&mut lp).unwrap();
    timer.again(&mut lp).unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["fired"]);
}

#[test]
fn again_inside_the_callback_makes_it_fire_again() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    timer
        .start(&mut lp, MS, move |lp, log| {
            note(log, "fired")?;
            if log.len() < 3 { timer.again(lp) } else { Ok(()) }
        })
        .unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["fired"; 3]);
}

#[test]
fn a_repeating_timer_can_stop_in_its_callback() {
    let mut lp = new_loop();
    let tick = Timer::new(&mut lp).unwrap();
    tick.set_period(&mut lp, Some(MS)).unwrap();
    tick.start(&mut lp, Duration::ZERO, move |lp, log| {
        note(log, "tick")?;
        if log.len() == 3 { tick.stop(lp) } else { Ok(()) }
    })
    .unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["tick"; 3]);
    assert!(!tick.is_active(&lp));
}

#[test]
fn a_repeating_timer_that_closes_itself_fires_once() {
    let mut lp = new_loop();
    let tick = Timer::every(&mut lp, MS, |_, _| Ok(())).unwrap();
    tick.start(&mut lp, MS, move |lp, log| {
        tick.close_then(lp, |_, log| note(log, "closed"));
        note(log, "tick")
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["tick", "closed"]);
}

#[test]
fn canceled_timers_leave_nothing_behind() {
    let mut lp = new_loop();
    for _ in 0..100 {
        let timers: Vec<_> = (0..1000).map(|_| Timer::after(&mut lp, LONG, must_not_run).unwrap()).collect();
        for timer in timers {
            timer.close(&mut lp);
        }
        lp.poll_once(&mut Log::new()).unwrap();
        assert!(lp.handles().is_empty());
    }
    lp.verify();
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO));
}

#[test]
fn three_hundred_thousand_timers_fire_once_and_in_order() {
    const COUNT: u64 = 300_000;
    let mut lp = Loop::<(u64, u64)>::new().unwrap();
    // In one callback, so that they count from one time.
    lp.defer(|lp, _| {
        for number in 0..COUNT {
            let micros = number * 7919 % COUNT / 10;
            Timer::after(lp, Duration::from_micros(micros), move |_, (fired, last)| {
                assert!(micros >= *last);
                (*fired, *last) = (*fired + 1, micros);
                Ok(())
            })?;
        }
        Ok(())
    });
    let mut state = (0, 0);
    lp.run(&mut state).unwrap();
    assert_eq!(state.0, COUNT);
    lp.verify();
}

#[test]
fn a_timer_started_by_another_waits_for_the_next_turn() {
    let mut lp = new_loop();
    Timer::after(&mut lp, MS, |lp, log| {
        Timer::after(lp, Duration::ZERO, |_, log| note(log, "inner"))?;
        lp.defer(|_, log| note(log, "deferred of the outer turn"));
        note(log, "outer")
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["outer", "deferred of the outer turn", "inner"]);
}

#[test]
fn run_once_waits_on_for_a_timer_that_was_postponed() {
    let mut lp = new_loop();
    // So many that the loop keeps a stale earliest deadline instead of searching for the next one.
    let others: Vec<_> = (0..200).map(|_| Timer::after(&mut lp, LONG, must_not_run).unwrap()).collect();
    let postponed = Timer::after(&mut lp, 2 * MS, |_, log| note(log, "postponed")).unwrap();
    let before = Instant::now();
    postponed.restart_in(&mut lp, 30 * MS).unwrap();
    let canceled = Timer::after(&mut lp, 3 * MS, must_not_run).unwrap();
    canceled.close(&mut lp);
    let mut log = Log::new();
    lp.poll_once(&mut log).unwrap();
    // One turn, which waits as long as it has to; none if the process stood still until then.
    if log.is_empty() {
        lp.run_once(&mut log).unwrap();
    }
    assert_eq!(log, ["postponed"]);
    assert!(before.elapsed() >= 30 * MS);
    others.iter().for_each(|timer| timer.close(&mut lp));
    run(&mut lp);
}
