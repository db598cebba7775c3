//! The thirty semantics that users of libuv rely on: each holds, or is different on purpose.
//!
//! The numbers are those of `DESIGN.md`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use ringback::{
    Check, Error, Idle, Loop, Poll, Prepare, Signal, Timer, Wake, fs,
    net::{Event, TcpListener, TcpStream},
    poll::Interest,
    signal, work,
};

use crate::common::*;

// 1. No callback runs inside the call that asks for it, even if the result is known.

#[test]
fn s01_a_result_known_at_once_comes_after_the_call_returned() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    let inside = Rc::new(Cell::new(true));
    let outside = |line: &'static str| {
        let inside = inside.clone();
        move |log: &mut Log| {
            assert!(!inside.get(), "{line}: called back inside the call");
            note(log, line)
        }
    };
    let called = outside("written");
    stream.write_then(&mut lp, "x", move |_, log, result| result.and(called(log))).unwrap();
    stream.flush(&mut lp).unwrap(); // It is sent by now.
    let called = outside("deferred");
    lp.defer(move |_, log| called(log));
    let called = outside("read");
    fs::read(&mut lp, "Cargo.toml", move |_, log, bytes| bytes.and(called(log))).unwrap();
    let called = outside("refused");
    let (refusing, _socket) = refusing_addr();
    TcpStream::connect(&mut lp, refusing, move |_, log, result| {
        assert!(result.is_err());
        called(log)
    })
    .unwrap();
    let called = outside("closed");
    stream.close_then(&mut lp, move |_, log| called(log));
    inside.set(false);
    let mut log = run(&mut lp);
    log.sort();
    assert_eq!(log, ["closed", "deferred", "read", "refused", "written"]);
    assert_eq!(read_to_eof(&mut peer).unwrap(), b"x");
}

#[test]
fn s01_callbacks_never_run_inside_one_another() {
    let mut lp = new_loop();
    let depth = Rc::new(Cell::new(0));
    let enter = |depth: &Rc<Cell<u32>>| {
        assert_eq!(depth.replace(1), 0, "a callback runs inside another");
    };
    let (outer, inner) = (depth.clone(), depth.clone());
    Timer::after(&mut lp, MS, move |lp, _| {
        enter(&outer);
        let timer = Timer::new(lp)?;
        lp.defer(move |_, log| {
            enter(&inner);
            inner.set(0);
            note(log, "deferred")
        });
        timer.close_then(lp, |_, log| note(log, "closed"));
        outer.set(0);
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["deferred", "closed"]);
}

// 2. A close callback is deferred; the descriptor is closed at once.

#[test]
fn s02_close_closes_the_socket_at_once_and_calls_back_later() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    Timer::after(&mut lp, MS, move |lp, log| {
        stream.close(lp);
        // The peer blocks until EOF, which must be there although the loop does not run.
        assert_eq!(read_to_eof(&mut peer)?, b"");
        note(log, "the peer has seen EOF")
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["the peer has seen EOF", "stream closed"]);
}

// 3. Pending requests are canceled before the close callback; what was done keeps its result.

#[test]
fn s03_pending_requests_are_canceled_before_closed() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    let much = vec![7; 8 << 20];
    stream
        .write_then(&mut lp, much, |_, log, result| note(log, describe_error(&result.unwrap_err())))
        .unwrap();
    stream
        .write_then(&mut lp, "more", |_, log, result| note(log, describe_error(&result.unwrap_err())))
        .unwrap();
    Timer::after(&mut lp, MS, move |lp, _| {
        stream.close_then(lp, |_, log| note(log, "close callback"));
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["canceled", "canceled", "stream closed", "close callback"]);
}

#[test]
fn s03_a_write_sent_before_close_keeps_its_result() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    stream.write_then(&mut lp, "x", |_, log, result| result.and(note(log, "written"))).unwrap();
    stream.flush(&mut lp).unwrap();
    stream.close(&mut lp);
    assert_eq!(run(&mut lp), ["written"]);
}

// 4. After stop or close no event of a handle fires, even if it is in the batch.

#[test]
fn s04_close_drops_an_event_already_in_the_batch() {
    let mut lp = new_loop();
    let (one, mut peer_one) = pair(&mut lp);
    let (two, mut peer_two) = pair(&mut lp);
    for (mine, other) in [(one, two), (two, one)] {
        mine.start(&mut lp, move |lp, log, event| match event? {
            Event::Data(_) => {
                other.close(lp);
                mine.close(lp);
                note(log, "data")
            }
            Event::Closed => note(log, "closed"),
            _ => Ok(()),
        })
        .unwrap();
    }
    send(&mut peer_one, "x");
    send(&mut peer_two, "x");
    // Both are ready by the first wait: whichever comes first closes the other.
    assert_eq!(run(&mut lp), ["data", "closed", "closed"]);
}

#[test]
fn s04_stop_drops_an_event_already_in_the_batch() {
    let mut lp = new_loop();
    let (one, mut peer_one) = pair(&mut lp);
    let (two, mut peer_two) = pair(&mut lp);
    for (mine, other) in [(one, two), (two, one)] {
        mine.start(&mut lp, move |lp, log, event| match event? {
            Event::Data(_) => {
                other.stop(lp)?;
                mine.stop(lp)?;
                note(log, "data")
            }
            _ => Ok(()),
        })
        .unwrap();
    }
    send(&mut peer_one, "x");
    send(&mut peer_two, "x");
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["data"]);
}

#[test]
fn s04_a_slot_reused_within_the_batch_gets_no_stale_event() {
    let mut lp = new_loop();
    let (one, mut peer_one) = pair(&mut lp);
    let (two, mut peer_two) = pair(&mut lp);
    let keep = Rc::new(RefCell::new(Vec::new()));
    for (mine, other) in [(one, two), (two, one)] {
        let keep = keep.clone();
        mine.start(&mut lp, move |lp, log, event| {
            if let Event::Data(_) = event? {
                other.close(lp);
                mine.close(lp);
                // The system reuses the descriptor numbers for new sockets.
                for _ in 0..4 {
                    let (new, peer) = pair(lp);
                    record(lp, new, "new");
                    keep.borrow_mut().push((new, peer));
                }
                note(log, "data")?;
            }
            Ok(())
        })
        .unwrap();
    }
    send(&mut peer_one, "x");
    send(&mut peer_two, "x");
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    for _ in 0..5 {
        lp.poll_once(&mut log).unwrap();
        lp.verify();
    }
    assert_eq!(log, ["data"]);
    for (new, _) in keep.borrow().iter() {
        new.close(&mut lp);
    }
    assert_eq!(run(&mut lp), ["new closed"; 4]);
}

// 5. The phases come in order.

#[test]
fn s05_the_phases_of_a_turn_come_in_order() {
    let mut lp = new_loop();
    let (stream, _peer) = pair_with(&mut lp, b"x");
    let idle = Idle::every_turn(&mut lp, |_, log| note(log, "idle")).unwrap();
    let prepare = Prepare::every_turn(&mut lp, |lp, log| {
        lp.defer(|_, log| note(log, "deferred"));
        note(log, "prepare")
    })
    .unwrap();
    let check = Check::every_turn(&mut lp, |_, log| note(log, "check")).unwrap();
    lp.defer(|_, log| note(log, "deferred"));
    Timer::after(&mut lp, Duration::ZERO, |_, log| note(log, "timer")).unwrap();
    stream
        .start(&mut lp, |lp, log, event| {
            lp.stop();
            note(log, format!("poll {}", describe_event(&event)))
        })
        .unwrap();
    let closing = Timer::new(&mut lp).unwrap();
    closing.close_then(&mut lp, |_, log| note(log, "closing"));
    let mut log = Log::new();
    turn(&mut lp, &mut log).unwrap();
    let order = ["timer", "deferred", "idle", "prepare", "poll data \"x\"", "deferred", "check", "closing"];
    assert_eq!(log, order);
    for handle in [idle.into(), prepare.into(), check.into(), ringback::Handle::from(stream)] {
        lp.close(handle);
    }
    run(&mut lp);
}

// 6. How long to wait.

#[test]
fn s06_run_once_does_not_block_after_an_idle_hook_ran() {
    let mut lp = new_loop();
    let idle = Idle::new(&mut lp).unwrap();
    idle.start(&mut lp, move |lp, _| idle.stop(lp)).unwrap();
    Timer::after(&mut lp, LONG, must_not_run).unwrap();
    let mut log = Log::new();
    assert!(turn(&mut lp, &mut log).unwrap(), "the timer is left");
}

#[test]
fn s06_a_loop_with_something_to_do_does_not_wait() {
    let mut lp = new_loop();
    let timer = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    assert!(lp.poll_timeout().unwrap() > MS);
    lp.defer(|_, _| Ok(()));
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO), "a deferred callback");
    run_until(&mut lp, &mut Log::new(), |lp, _| lp.handles().len() == 1);
    let idle = Idle::every_turn(&mut lp, |_, _| Ok(())).unwrap();
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO), "an idle hook");
    idle.close(&mut lp);
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO), "a handle that is closing");
    run_until(&mut lp, &mut Log::new(), |lp, _| lp.handles().len() == 1);
    lp.stop();
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO), "a stop that was asked for");
    lp.run(&mut Log::new()).unwrap();
    assert!(lp.poll_timeout().unwrap() > MS);
    timer.close(&mut lp);
    run(&mut lp);
    assert_eq!(lp.poll_timeout(), Some(Duration::ZERO), "nothing to wait for");
}

#[test]
fn s06_run_once_calls_the_timer_that_it_waited_for() {
    let mut lp = new_loop();
    Timer::after(&mut lp, 3 * MS, |_, log| note(log, "timer")).unwrap();
    let mut log = Log::new();
    lp.run_once(&mut log).unwrap();
    assert_eq!(log, ["timer"]);
}

// 7. What keeps a loop alive.

#[test]
fn s07_a_request_of_an_unreferenced_handle_keeps_the_loop_alive() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    stream.unref(&mut lp).unwrap();
    assert!(!lp.is_alive());
    let much = vec![7; 8 << 20];
    stream.write_then(&mut lp, much, |_, log, result| result.and(note(log, "written"))).unwrap();
    assert!(lp.is_alive());
    let reader = std::thread::spawn(move || read_exact(&mut peer, 8 << 20).len());
    assert!(run_while_alive(&mut lp).unwrap().contains(&"written".to_owned()));
    assert_eq!(reader.join().unwrap(), 8 << 20);
    assert!(!lp.is_alive());
}

#[test]
fn s07_unsent_bytes_keep_the_loop_alive() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    stream.unref(&mut lp).unwrap();
    stream.write(&mut lp, vec![7; 8 << 20]).unwrap();
    let reader = std::thread::spawn(move || read_exact(&mut peer, 8 << 20).len());
    run_while_alive(&mut lp).unwrap();
    assert_eq!(reader.join().unwrap(), 8 << 20);
}

#[test]
fn s07_an_unreferenced_handle_does_not_keep_the_loop_alive() {
    let mut lp = new_loop();
    let timer = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    assert!(lp.is_alive());
    timer.unref(&mut lp).unwrap();
    assert!(!lp.is_alive());
    assert_eq!(run_while_alive(&mut lp).unwrap(), Log::new());
    assert!(timer.is_active(&lp));
}

#[test]
fn s07_a_closing_handle_keeps_the_loop_alive_until_its_callback() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    timer.unref(&mut lp).unwrap();
    timer.close_then(&mut lp, |_, log| note(log, "closed"));
    assert!(lp.is_alive());
    assert_eq!(run(&mut lp), ["closed"]);
    assert!(!lp.is_alive());
}

// 8. Referencing is a flag, not a count.

#[test]
fn s08_one_re_ref_undoes_two_unrefs() {
    let mut lp = new_loop();
    let timer = Timer::after(&mut lp, MS, |_, log| note(log, "timer")).unwrap();
    assert!(timer.has_ref(&lp));
    timer.unref(&mut lp).unwrap();
    timer.unref(&mut lp).unwrap();
    assert!(!timer.has_ref(&lp));
    timer.re_ref(&mut lp).unwrap();
    assert!(timer.has_ref(&lp));
    assert_eq!(run(&mut lp), ["timer"]);
}

// 9. What is active when.

#[test]
fn s09_a_handle_is_active_between_start_and_stop() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    assert!(!timer.is_active(&lp));
    timer.start(&mut lp, LONG, must_not_run).unwrap();
    assert!(timer.is_active(&lp));
    timer.stop(&mut lp).unwrap();
    assert!(!timer.is_active(&lp));

    let idle = Idle::new(&mut lp).unwrap();
    assert!(!idle.is_active(&lp));
    idle.start(&mut lp, must_not_run).unwrap();
    assert!(idle.is_active(&lp));
    idle.stop(&mut lp).unwrap();
    assert!(!idle.is_active(&lp));

    let wake = Wake::new(&mut lp, must_not_run).unwrap();
    assert!(wake.is_active(&lp), "a wake is active from the start");

    let (stream, _peer) = pair(&mut lp);
    assert!(!stream.is_active(&lp), "a connected stream that is not started is not active");
    record(&mut lp, stream, "stream");
    assert!(stream.is_active(&lp));
    stream.stop(&mut lp).unwrap();
    assert!(!stream.is_active(&lp));

    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    assert!(!listener.is_active(&lp));
    listener.start(&mut lp, |_, _, _| Ok(())).unwrap();
    assert!(listener.is_active(&lp));

    let signal = Signal::new(&mut lp).unwrap();
    assert!(!signal.is_active(&lp));
    signal.start(&mut lp, signal::WINCH, |_, _, _| Ok(())).unwrap();
    assert!(signal.is_active(&lp));

    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let poll = Poll::new(&mut lp, &ours).unwrap();
    assert!(!poll.is_active(&lp));
    poll.start(&mut lp, Interest::READABLE, |_, _, _| Ok(())).unwrap();
    assert!(poll.is_active(&lp));
    lp.verify();
}

// 10. Stopping the loop.

#[test]
fn s10_stop_ends_run_after_the_turn_and_run_can_resume() {
    let mut lp = new_loop();
    Timer::after(&mut lp, Duration::ZERO, |lp, log| {
        lp.stop();
        note(log, "stop")
    })
    .unwrap();
    let check = Check::new(&mut lp).unwrap();
    check
        .start(&mut lp, move |lp, log| {
            check.close(lp);
            note(log, "check of the same turn")
        })
        .unwrap();
    let later = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    let mut log = Log::new();
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["stop", "check of the same turn"]);
    assert!(lp.is_alive());
    later.start(&mut lp, MS, |_, log| note(log, "later")).unwrap();
    lp.run(&mut log).unwrap();
    assert_eq!(log[2..], ["later"]);
}

#[test]
fn s10_stop_before_run_makes_it_return_without_any_callback() {
    let mut lp = new_loop();
    Timer::after(&mut lp, Duration::ZERO, |_, log| note(log, "timer")).unwrap();
    Timer::after(&mut lp, LONG, must_not_run).unwrap().unref(&mut lp).unwrap();
    lp.stop();
    let mut log = Log::new();
    lp.run(&mut log).unwrap();
    assert!(log.is_empty() && lp.is_alive());
    lp.run(&mut log).unwrap();
    assert_eq!(log, ["timer"], "stop applies to one run");
}

// 11. Running is not reentrant: an error, where libuv has undefined behaviour.

#[test]
fn s11_run_inside_a_callback_is_an_error() {
    let mut lp = new_loop();
    Timer::after(&mut lp, MS, |lp, log| {
        let mut inner = Log::new();
        for result in [
            lp.run(&mut inner),
            lp.run_once(&mut inner).map(drop),
            lp.poll_once(&mut inner).map(drop),
            lp.run_for(&mut inner, MS).map(drop),
        ] {
            note(log, describe_error(&result.unwrap_err()))?;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["reentrant"; 4]);
}

// 12. The loop's time stands still during a callback. (In nanoseconds, where libuv has milliseconds.)

#[test]
fn s12_time_stands_still_in_a_callback_until_it_is_updated() {
    let mut lp = new_loop();
    Timer::after(&mut lp, MS, |lp, _| {
        let before = lp.now();
        spin(2 * MS);
        assert_eq!(lp.now(), before);
        lp.update_time();
        assert!(lp.now() >= before + 2 * MS);
        Ok(())
    })
    .unwrap();
    run(&mut lp);
}

#[test]
fn s12_a_timer_started_outside_run_counts_from_the_call() {
    let mut lp = new_loop();
    spin(5 * MS);
    let started = std::time::Instant::now();
    Timer::after(&mut lp, 4 * MS, move |_, _| {
        assert!(started.elapsed() >= 4 * MS);
        Ok(())
    })
    .unwrap();
    run(&mut lp);
}

// 13. The order of timers.

#[test]
fn s13_timers_with_equal_deadlines_fire_in_starting_order() {
    let mut lp = new_loop();
    // Started in one callback, so that they count from one time.
    lp.defer(|lp, _| {
        for number in 0..100 {
            Timer::after(lp, MS, move |_, log| note(log, number.to_string()))?;
        }
        Ok(())
    });
    let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(run(&mut lp), expected);
}

#[test]
fn s13_a_timer_restarted_without_delay_waits_for_the_next_turn() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    fn again(timer: Timer, lp: &mut Loop<Log>, left: u32) -> ringback::Result {
        timer.start(lp, Duration::ZERO, move |lp, log| {
            note(log, "timer")?;
            if left > 0 { again(timer, lp, left - 1) } else { Ok(()) }
        })
    }
    again(timer, &mut lp, 2).unwrap();
    let check = Check::every_turn(&mut lp, |_, log| note(log, "turn")).unwrap();
    check.unref(&mut lp).unwrap();
    let log = run_while_alive(&mut lp).unwrap();
    assert_eq!(log, ["timer", "turn", "timer", "turn", "timer", "turn"]);
}

#[test]
fn s13_a_due_timer_does_not_fire_after_stop_or_close() {
    let mut lp = new_loop();
    let victims: Rc<RefCell<Vec<Timer>>> = Rc::default();
    let theirs = victims.clone();
    lp.defer(move |lp, _| {
        let killers = theirs.clone();
        Timer::after(lp, MS, move |lp, log| {
            killers.borrow()[0].stop(lp)?;
            killers.borrow()[1].close(lp);
            note(log, "first")
        })?;
        for _ in 0..2 {
            theirs.borrow_mut().push(Timer::after(lp, MS, must_not_run)?);
        }
        Timer::after(lp, MS, |_, log| note(log, "last"))?;
        Ok(())
    });
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["first", "last"]);
}

// 14. Repeating.

#[test]
fn s14_a_delayed_repeating_timer_does_not_catch_up() {
    let mut lp = new_loop();
    let tick = Timer::new(&mut lp).unwrap();
    tick.set_period(&mut lp, Some(2 * MS)).unwrap();
    tick.start(&mut lp, 2 * MS, move |lp, log| {
        if log.is_empty() {
            spin(20 * MS);
        }
        let due = tick.due_in(lp).unwrap();
        note(log, if due == 2 * MS { "a whole period left" } else { "less" })?;
        if log.len() == 3 {
            tick.close(lp);
        }
        Ok(())
    })
    .unwrap();
    let mut log = Log::new();
    // After the slow call, the next turn brings one tick, not ten.
    let turns_before = lp.metrics().turns;
    while lp.run_once(&mut log).unwrap() {}
    assert!(lp.metrics().turns - turns_before >= 3);
    assert_eq!(log, ["a whole period left"; 3]);
}

#[test]
fn s14_a_period_set_in_the_callback_applies_one_expiry_later() {
    let mut lp = new_loop();
    let tick = Timer::every(&mut lp, 2 * MS, |_, _| Ok(())).unwrap();
    let mut seen = Vec::new();
    tick.start(&mut lp, 2 * MS, move |lp, log| {
        seen.push(tick.due_in(lp).unwrap());
        tick.set_period(lp, Some(LONG))?;
        if seen.len() == 2 {
            note(log, format!("{:?}", seen))?;
            tick.close(lp);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), [format!("{:?}", [2 * MS, LONG])]);
}

#[test]
fn s14_again_before_start_is_an_error() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    assert_eq!(describe_error(&timer.again(&mut lp).unwrap_err()), "invalid");
}

#[test]
fn s14_the_longest_delay_never_passes() {
    let mut lp = new_loop();
    let timer = Timer::after(&mut lp, std::time::Duration::MAX, must_not_run).unwrap();
    let mut log = Log::new();
    lp.run_for(&mut log, 2 * MS).unwrap();
    assert!(timer.is_active(&lp) && timer.due_in(&lp).unwrap() > LONG);
}

// 15. Hooks: in the order of starting (libuv: the reverse), new ones in the next turn.

#[test]
fn s15_hooks_run_in_starting_order_new_ones_next_turn() {
    let mut lp = new_loop();
    for name in ["one", "two"] {
        let hook = Prepare::new(&mut lp).unwrap();
        let mut turns = 0;
        hook.start(&mut lp, move |lp, log| {
            turns += 1;
            if turns == 1 && name == "one" {
                let late = Prepare::new(lp)?;
                late.start(lp, move |lp, log| {
                    late.close(lp);
                    note(log, "late")
                })?;
            }
            if turns == 2 {
                hook.close(lp);
            }
            note(log, name)
        })
        .unwrap();
    }
    let idle = Idle::new(&mut lp).unwrap();
    let mut turns = 0;
    idle.start(&mut lp, move |lp, _| {
        turns += 1;
        if turns == 3 {
            idle.close(lp);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["one", "two", "one", "two", "late"]);
}

#[test]
fn s15_a_hook_closed_by_an_earlier_one_is_not_called() {
    let mut lp = new_loop();
    let one = Check::new(&mut lp).unwrap();
    let two = Check::new(&mut lp).unwrap();
    one.start(&mut lp, move |lp, log| {
        two.close(lp);
        one.close(lp);
        note(log, "one")
    })
    .unwrap();
    two.start(&mut lp, must_not_run).unwrap();
    lp.defer(|_, _| Ok(()));
    assert_eq!(run(&mut lp), ["one"]);
}

// 16. Close callbacks: in the order of closing (libuv: the reverse); what they close waits for the next turn.

#[test]
fn s16_close_callbacks_run_in_order_nested_ones_next_turn() {
    let mut lp = new_loop();
    let [one, two, three] = [(); 3].map(|()| Timer::new(&mut lp).unwrap());
    let check = Check::every_turn(&mut lp, |_, log| note(log, "turn")).unwrap();
    check.unref(&mut lp).unwrap();
    one.close_then(&mut lp, move |lp, log| {
        three.close_then(lp, |_, log| note(log, "three"));
        note(log, "one")
    });
    two.close_then(&mut lp, |_, log| note(log, "two"));
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["turn", "one", "two", "turn", "three"]);
}

// 17. Signals come last in a poll batch.

#[test]
fn s17_signals_come_last_in_a_poll_batch() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    let signal = Signal::new(&mut lp).unwrap();
    signal
        .start(&mut lp, signal::USR2, move |lp, log, _| {
            signal.close(lp);
            note(log, "signal")
        })
        .unwrap();
    stream
        .start(&mut lp, move |lp, log, event| match event? {
            Event::Data(_) => {
                stream.close(lp);
                note(log, "data")
            }
            _ => Ok(()),
        })
        .unwrap();
    // The signal first, then the data; both before the loop polls.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR2).unwrap();
    send(&mut peer, "x");
    assert_eq!(run(&mut lp), ["data", "signal"]);
}

// 18. Write callbacks: in order, right after poll, up to eight deep within a turn.

#[test]
fn s18_write_callbacks_run_in_order_in_the_same_turn() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    for number in 0..5 {
        stream.write_then(&mut lp, "x", move |_, log, _| note(log, number.to_string())).unwrap();
    }
    let mut log = Log::new();
    turn(&mut lp, &mut log).unwrap();
    assert_eq!(log, ["0", "1", "2", "3", "4"]);
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn s18_chained_write_callbacks_run_eight_deep_in_a_turn() {
    let mut lp = new_loop();
    let (stream, _peer) = pair(&mut lp);
    fn chain(lp: &mut Loop<Log>, stream: TcpStream) -> ringback::Result {
        stream.write_then(lp, "x", move |lp, log, result| {
            result?;
            note(log, "written")?;
            chain(lp, stream)
        })
    }
    chain(&mut lp, stream).unwrap();
    let mut log = Log::new();
    turn(&mut lp, &mut log).unwrap();
    assert_eq!(log.len(), 8);
    stream.close(&mut lp);
    lp.on_failure(|_, _, _| Ok(()));
    run(&mut lp);
}

// 19. Connecting and shutting down.

#[test]
fn s19_bytes_written_while_connecting_are_sent_once_connected() {
    let mut lp = new_loop();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let stream =
        TcpStream::connect(&mut lp, addr, |_, log, result| result.and(note(log, "connected"))).unwrap();
    stream.write_then(&mut lp, "early", |_, log, result| result.and(note(log, "written"))).unwrap();
    stream.shutdown(&mut lp).unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["connected", "written"]);
    let (mut peer, _) = listener.accept().unwrap();
    assert_eq!(read_to_eof(&mut peer).unwrap(), b"early");
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn s19_a_failed_connect_cancels_earlier_writes() {
    let mut lp = new_loop();
    let (addr, _socket) = refusing_addr();
    let stream =
        TcpStream::connect(&mut lp, addr, |_, log, result| note(log, describe_error(&result.unwrap_err())));
    let stream = stream.unwrap();
    stream
        .write_then(&mut lp, "early", |_, log, result| note(log, describe_error(&result.unwrap_err())))
        .unwrap();
    assert_eq!(run(&mut lp), ["connect ConnectionRefused", "canceled"]);
}

#[test]
fn s19_shutdown_follows_queued_bytes_and_refuses_later_writes() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    let much = vec![7; 6 << 20];
    stream.write(&mut lp, much.clone()).unwrap();
    stream.shutdown(&mut lp).unwrap();
    assert_eq!(describe_error(&stream.write(&mut lp, "x").unwrap_err()), "invalid");
    assert_eq!(describe_error(&stream.try_write(&mut lp, b"x").unwrap_err()), "invalid");
    assert_eq!(describe_error(&stream.shutdown(&mut lp).unwrap_err()), "invalid", "a second time");
    let reader = std::thread::spawn(move || read_to_eof(&mut peer).unwrap());
    run_while_alive(&mut lp).unwrap();
    assert_eq!(reader.join().unwrap(), much);
    stream.close(&mut lp);
    run(&mut lp);
}

// 20. try_write.

#[test]
fn s20_try_write_never_queues() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    assert_eq!(stream.try_write(&mut lp, b"abc").unwrap(), 3);
    assert_eq!(stream.queued(&lp), 0);
    assert_eq!(read_exact(&mut peer, 3), b"abc");
    let much = vec![7; 8 << 20];
    let part = stream.try_write(&mut lp, &much).unwrap();
    assert!(part > 0 && part < much.len(), "{part} bytes of {}", much.len());
    // Until the socket is full, which the first write may have left room in.
    while stream.try_write(&mut lp, b"x").unwrap() > 0 {}
    assert_eq!(stream.queued(&lp), 0);
    stream.write(&mut lp, "x").unwrap();
    assert_eq!(stream.try_write(&mut lp, b"y").unwrap(), 0, "it must not overtake what is queued");
    stream.close(&mut lp);
    run(&mut lp);
}

#[test]
fn s20_try_write_does_nothing_while_connecting() {
    let mut lp = new_loop();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let stream = TcpStream::connect(&mut lp, addr, |_, _, result| result.map(drop)).unwrap();
    assert_eq!(stream.try_write(&mut lp, b"x").unwrap(), 0);
    stream.close(&mut lp);
    lp.on_failure(|_, _, _| Ok(()));
    run(&mut lp);
}

// 21. `End` comes once, and closes nothing. A broken connection is closed (libuv leaves it open).

#[test]
fn s21_end_comes_once_and_the_stream_can_still_write() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    send(&mut peer, "x");
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["stream data \"x\"", "stream end"]);
    assert!(stream.is_open(&lp));
    stream.write(&mut lp, "still here").unwrap();
    run_while_alive(&mut lp).unwrap();
    assert_eq!(read_exact(&mut peer, 10), b"still here");
    stream.close(&mut lp);
    assert_eq!(run(&mut lp), ["stream closed"]);
}

#[test]
fn s21_a_broken_connection_is_reported_and_then_closed() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    send(&mut peer, "x");
    run_until(&mut lp, &mut Log::new(), |_, log| !log.is_empty());
    reset(peer);
    assert_eq!(run(&mut lp), ["stream error read ConnectionReset", "stream closed"]);
}

// 22. Caps, so that no handle starves the others.

#[test]
fn s22_a_busy_peer_gets_eight_reads_a_turn() {
    const READ_BUFFER: usize = 4 << 10;
    let mut lp: Loop<Log> = ringback::Options::new().read_buffer(READ_BUFFER).build().unwrap();
    let (busy, _busy_peer) = pair_with(&mut lp, &[7; 20 * READ_BUFFER]);
    let (other, _other_peer) = pair_with(&mut lp, b"x");
    for (stream, name) in [(busy, "busy"), (other, "other")] {
        stream
            .start(&mut lp, move |_, log, event| match event? {
                Event::Data(_) => note(log, name),
                _ => Ok(()),
            })
            .unwrap();
    }
    let mut reads = Vec::new();
    for _ in 0..3 {
        let mut log = Log::new();
        lp.poll_once(&mut log).unwrap();
        lp.verify();
        let count = |name: &str| log.iter().filter(|line| *line == name).count();
        reads.push((count("busy"), count("other")));
    }
    assert_eq!(reads, [(8, 1), (8, 0), (4, 0)]);
    busy.close(&mut lp);
    other.close(&mut lp);
    run(&mut lp);
}

// 23. Errors come from one place: an address in use from `bind`, a refused connection at the callback.

#[test]
fn s23_bind_returns_address_in_use() {
    let mut lp = new_loop();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    let error = TcpListener::bind(&mut lp, addr).unwrap_err();
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::AddrInUse));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[test]
fn s23_a_refused_connection_is_reported_to_the_callback() {
    let mut lp = new_loop();
    let (addr, _socket) = refusing_addr();
    TcpStream::connect(&mut lp, addr, move |_, log, result| {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(&format!("connect {addr}: ")), "{error}");
        note(log, "refused")
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["refused"]);
}

// 24. Accepting: many at a time (libuv: one a turn), paused by asking (libuv: by not accepting).

#[test]
fn s24_one_turn_accepts_many_until_the_listener_is_stopped() {
    // A busy system may queue some of the connections later than the first turn.
    assert!((0..5).any(|_| accepts_three_in_one_turn()));
}

fn accepts_three_in_one_turn() -> bool {
    let mut lp = new_loop();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    let addr = listener.local_addr(&mut lp).unwrap();
    listener
        .start(&mut lp, move |lp, log, stream| {
            stream.close(lp);
            if log.len() == 2 {
                listener.stop(lp)?;
            }
            note(log, "accepted")
        })
        .unwrap();
    let _peers: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
    let mut log = Log::new();
    turn(&mut lp, &mut log).unwrap();
    let in_one_turn = log.len();
    run_until(&mut lp, &mut log, |_, log| log.len() >= 3);
    for _ in 0..5 {
        lp.poll_once(&mut log).unwrap();
    }
    assert_eq!(log.len(), 3, "a stopped listener accepted a connection");
    listener.resume(&mut lp).unwrap();
    run_until(&mut lp, &mut log, |_, log| log.len() == 5);
    listener.close(&mut lp);
    run(&mut lp);
    in_one_turn == 3
}

// 25. Cancellation.

#[test]
fn s25_only_unstarted_work_can_be_canceled_and_still_calls_back() {
    let mut lp: Loop<Log> = ringback::Options::new().workers(1).build().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = std::sync::mpsc::channel();
    let first = work::run(
        &mut lp,
        move || {
            started.send(()).unwrap();
            released.recv().unwrap();
        },
        |_, log, result| result.and(note(log, "first done")),
    )
    .unwrap();
    let second = work::run(
        &mut lp,
        || panic!("the canceled closure ran"),
        |_, log, result: Result<(), Error>| note(log, describe_error(&result.unwrap_err())),
    )
    .unwrap();
    has_started.recv().unwrap();
    assert_eq!(describe_error(&first.cancel(&mut lp).unwrap_err()), "already started");
    second.cancel(&mut lp).unwrap();
    assert_eq!(
        describe_error(&second.cancel(&mut lp).unwrap_err()),
        "already started",
        "it is canceled already"
    );
    release.send(()).unwrap();
    let log = run(&mut lp);
    assert_eq!(log, ["canceled", "first done"]);
    assert_eq!(describe_error(&first.cancel(&mut lp).unwrap_err()), "closed");
}

// 26. What other threads may do: the types say so.

#[test]
fn s26_wakers_remotes_senders_and_ids_are_send_and_sync() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<ringback::Waker>();
    any_thread::<ringback::Remote<Rc<()>>>(); // whatever the state is
    any_thread::<ringback::channel::Sender<String>>();
    any_thread::<(ringback::Handle, Timer, TcpStream, ringback::Request)>();
}

// 27. Wakes coalesce.

#[test]
fn s27_wakes_coalesce_and_none_is_lost() {
    let mut lp = new_loop();
    let wake = Wake::new(&mut lp, |_, log| note(log, "woken")).unwrap();
    let waker = wake.waker(&lp).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| waker.wake().unwrap()));
        }
    });
    let mut log = Log::new();
    turn(&mut lp, &mut log).unwrap();
    assert_eq!(log, ["woken"]);
    waker.wake().unwrap();
    turn(&mut lp, &mut log).unwrap();
    assert_eq!(log, ["woken"; 2]);
    wake.close(&mut lp);
    run(&mut lp);
    assert_eq!(describe_error(&waker.wake().unwrap_err()), "disconnected");
}

// 28. Processes: there are none yet.

// 29. Closed handles: every operation is an error, except that a second close does nothing.

#[test]
fn s29_operations_on_closed_handles_fail_except_close() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    let (stream, _peer) = pair(&mut lp);
    timer.close(&mut lp);
    stream.close(&mut lp);
    for closed in [false, true] {
        assert!(timer.start(&mut lp, MS, must_not_run).unwrap_err().is_closed());
        assert!(timer.stop(&mut lp).unwrap_err().is_closed());
        assert!(timer.again(&mut lp).unwrap_err().is_closed());
        assert!(timer.unref(&mut lp).unwrap_err().is_closed());
        assert!(stream.write(&mut lp, "x").unwrap_err().is_closed());
        assert!(stream.start(&mut lp, |_, _, _| Ok(())).unwrap_err().is_closed());
        assert!(stream.shutdown(&mut lp).unwrap_err().is_closed());
        assert!(!timer.is_open(&lp) && !timer.is_active(&lp));
        timer.close(&mut lp);
        stream.close(&mut lp);
        if !closed {
            run(&mut lp);
        }
    }
    timer.close_then(&mut lp, |_, log| note(log, "close callback"));
    assert_eq!(run(&mut lp), ["close callback"]);
}

// 30. Only a broken connection is closed by itself (see 21): neither EOF nor the end of `run` closes a
// handle.

#[test]
fn s30_handles_stay_open_until_they_are_closed() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    timer.start(&mut lp, MS, |_, log| note(log, "fired")).unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["fired"]);
    assert!(timer.is_open(&lp) && !timer.is_active(&lp));
    timer.close(&mut lp);
    run(&mut lp);
}
