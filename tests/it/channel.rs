//! Channels: values from other threads.

use ringback::{Error, channel};

use crate::common::*;

#[test]
fn messages_arrive_in_order_and_the_last_sender_closes_it() {
    let mut lp = new_loop();
    let (channel, sender) =
        channel::unbounded(&mut lp, |_, log, number: u32| note(log, number.to_string())).unwrap();
    let thread = std::thread::spawn(move || (0..5000).for_each(|number| sender.send(number).unwrap()));
    let expected: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    assert_eq!(run(&mut lp), expected);
    thread.join().unwrap();
    assert!(!channel.is_open(&lp));
}

#[test]
fn a_full_channel_blocks_senders_and_loses_nothing() {
    let mut lp = new_loop();
    let (_channel, sender) =
        channel::bounded(&mut lp, 3, |_, log, number: u32| note(log, number.to_string())).unwrap();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let sender = sender.clone();
            std::thread::spawn(move || (0..500).for_each(|number| sender.send(number).unwrap()))
        })
        .collect();
    drop(sender);
    assert_eq!(run(&mut lp).len(), 2000);
    senders.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_full_channel_returns_the_value() {
    let mut lp = new_loop();
    let (channel, sender) = channel::bounded(&mut lp, 2, |_, _, _: String| Ok(())).unwrap();
    sender.try_send("one".into()).unwrap();
    sender.try_send("two".into()).unwrap();
    let refused = sender.try_send("three".into()).unwrap_err();
    assert_eq!(refused.value, "three");
    assert!(matches!(refused.error, Error::QueueFull { limit: 2, .. }));
    // A send on the loop's own thread would block forever: it fails instead.
    assert_eq!(sender.send("four".into()).unwrap_err().value, "four");
    channel.close(&mut lp);
    run(&mut lp);
    let gone = sender.send("five".into()).unwrap_err();
    assert_eq!((gone.value.as_str(), describe_error(&gone.error).as_str()), ("five", "disconnected"));
}

#[test]
fn a_blocked_sender_fails_when_the_loop_is_dropped() {
    let mut lp = new_loop();
    let (_channel, sender) = channel::bounded(&mut lp, 1, |_, _, _: u32| Ok(())).unwrap();
    sender.send(1).unwrap();
    let (about_to_wait, waits) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        about_to_wait.send(()).unwrap();
        sender.send(2).unwrap_err().value
    });
    waits.recv().unwrap();
    drop(lp);
    assert_eq!(thread.join().unwrap(), 2);
}

#[test]
fn a_capacity_of_zero_is_refused() {
    let mut lp = new_loop();
    assert!(matches!(channel::bounded(&mut lp, 0, |_, _, ()| Ok(())), Err(Error::Invalid { .. })));
}

#[test]
fn a_channel_closed_in_its_callback_delivers_no_more() {
    let mut lp = new_loop();
    let cell = std::rc::Rc::new(std::cell::Cell::new(None));
    let inside = cell.clone();
    let (channel, sender) = channel::unbounded(&mut lp, move |lp, log, number: u32| {
        lp.close(Option::<channel::Channel>::unwrap(inside.get()));
        note(log, number.to_string())
    })
    .unwrap();
    cell.set(Some(channel));
    (0..10).for_each(|number| sender.send(number).unwrap());
    assert_eq!(run(&mut lp), ["0"]);
    assert!(sender.send(11).is_err());
}

#[test]
fn a_channel_whose_callback_fails_is_closed() {
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, failure.origin.kind.to_string()));
    let (_channel, sender) = channel::unbounded(&mut lp, |_, _, _: u32| Err(Error::other("no"))).unwrap();
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(run(&mut lp), ["channel"]);
}

#[test]
fn a_turn_takes_about_a_thousand_messages_at_most() {
    let mut lp = new_loop();
    let (_channel, sender) = channel::unbounded(&mut lp, |_, _, _: u32| Ok(())).unwrap();
    (0..10_000).for_each(|number| sender.send(number).unwrap());
    drop(sender);
    let before = lp.metrics();
    run(&mut lp);
    assert!(lp.metrics().turns - before.turns >= 10, "1024 messages a turn");
    assert_eq!(lp.metrics().callbacks - before.callbacks, 10_000, "each message is a callback");
}

#[test]
fn messages_of_an_interrupted_turn_arrive_in_the_next_run() {
    let mut lp = new_loop();
    let (_channel, sender) =
        channel::unbounded(&mut lp, |_, log, number: u32| note(log, number.to_string())).unwrap();
    (0..40).for_each(|number| sender.send(number).unwrap());
    drop(sender);
    // Every call counts as slow, and the report of the third one interrupts the turn.
    let mut reports = 0;
    lp.on_slow(std::time::Duration::ZERO, move |_, _, _| {
        reports += 1;
        if reports == 3 { Err(Error::other("enough")) } else { Ok(()) }
    });
    let mut log = Vec::new();
    assert_eq!(lp.run(&mut log).unwrap_err().to_string(), "enough");
    assert_eq!(log.len(), 3);
    lp.verify();
    lp.run(&mut log).unwrap();
    assert_eq!(log, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn posts_of_an_interrupted_turn_run_in_the_next_run() {
    let mut lp = new_loop();
    let remote = lp.remote();
    for number in 0..40 {
        let fails = number % 10 == 9;
        let posted = remote.post(move |_, log| {
            note(log, number.to_string())?;
            if fails { Err(Error::other("no")) } else { Ok(()) }
        });
        posted.unwrap();
    }
    let mut log = Vec::new();
    for _ in 0..4 {
        lp.run(&mut log).unwrap_err();
    }
    assert_eq!(log, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    // The last one of a batch interrupted it, and the loop is still notified of the next.
    let thread = std::thread::spawn(move || remote.post(|_, log| note(log, "again")));
    lp.run(&mut log).unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(log.last().unwrap(), "again");
}

#[test]
fn a_panic_in_a_batch_closes_the_channel() {
    let mut lp = new_loop();
    let value = std::sync::Arc::new(());
    let (channel, sender) = channel::unbounded(&mut lp, |_, log, (number, _): (u32, std::sync::Arc<()>)| {
        assert!(number < 2, "no more");
        note(log, number.to_string())
    })
    .unwrap();
    (0..10).for_each(|number| sender.send((number, value.clone())).unwrap());
    let mut log = Vec::new();
    let run = std::panic::AssertUnwindSafe(|| lp.run(&mut log));
    std::panic::catch_unwind(run).unwrap_err();
    assert_eq!(log, ["0", "1"]);
    assert!(!channel.is_open(&lp));
    assert_eq!(std::sync::Arc::strong_count(&value), 1, "the rest was not dropped");
    assert!(sender.send((11, value)).is_err());
    lp.run(&mut log).unwrap();
}

#[test]
fn close_within_a_batch_drops_the_rest_at_once() {
    let mut lp = new_loop();
    let value = std::sync::Arc::new(());
    let cell = std::rc::Rc::new(std::cell::Cell::new(None));
    let (inside, held) = (cell.clone(), std::sync::Arc::downgrade(&value));
    let (channel, sender) =
        channel::unbounded(&mut lp, move |lp, log, (number, _value): (u32, std::sync::Arc<()>)| {
            if number == 3 {
                Option::<channel::Channel>::unwrap(inside.get()).close(lp);
                // The test's own, and this message's.
                assert_eq!(held.strong_count(), 2);
            }
            note(log, u32::to_string(&number))
        })
        .unwrap();
    cell.set(Some(channel));
    (0..200).for_each(|number| sender.send((number, value.clone())).unwrap());
    assert_eq!(run(&mut lp), ["0", "1", "2", "3"]);
}

#[test]
fn a_callback_can_refill_its_own_channel_to_its_capacity() {
    let mut lp = new_loop();
    let cell = std::rc::Rc::new(std::cell::RefCell::new(None::<channel::Sender<u32>>));
    let inside = cell.clone();
    let (_channel, sender) = channel::bounded(&mut lp, 3, move |_, log, number: u32| {
        if number == 0 {
            let sender = inside.borrow_mut().take().unwrap();
            let fitted = (10..).take_while(|&number| sender.try_send(number).is_ok()).count();
            assert_eq!(fitted, 3, "the capacity, whatever the batch has taken");
        }
        note(log, number.to_string())
    })
    .unwrap();
    (0..3).for_each(|number| sender.try_send(number).unwrap());
    assert!(sender.try_send(3).is_err());
    *cell.borrow_mut() = Some(sender);
    assert_eq!(run(&mut lp), ["0", "1", "2", "10", "11", "12"]);
}

#[test]
fn messages_of_synchronized_threads_arrive_in_their_order() {
    const ROUNDS: u32 = 5000;
    let mut lp = new_loop();
    let (_channel, sender) =
        channel::unbounded(&mut lp, |_, log, number: u32| note(log, number.to_string())).unwrap();
    let (first_sent, first_was_sent) = std::sync::mpsc::sync_channel(0);
    let (second_sent, second_was_sent) = std::sync::mpsc::sync_channel(0);
    let first = sender.clone();
    let threads = [
        std::thread::spawn(move || {
            for round in 0..ROUNDS {
                first.send(2 * round).unwrap();
                first_sent.send(()).unwrap();
                second_was_sent.recv().unwrap();
            }
        }),
        std::thread::spawn(move || {
            for round in 0..ROUNDS {
                first_was_sent.recv().unwrap();
                sender.send(2 * round + 1).unwrap();
                second_sent.send(()).unwrap();
            }
        }),
    ];
    let expected: Vec<String> = (0..2 * ROUNDS).map(|number| number.to_string()).collect();
    assert_eq!(run(&mut lp), expected);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn large_messages_do_not_overflow_the_stack() {
    let mut lp = new_loop();
    let (_channel, sender) =
        channel::unbounded(&mut lp, |_, log, bytes: [u8; 1 << 16]| note(log, bytes[9].to_string())).unwrap();
    (0..100).for_each(|number| sender.send([number; 1 << 16]).unwrap());
    drop(sender);
    assert_eq!(run(&mut lp), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}
