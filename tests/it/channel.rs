//! Channels.

use ringback::{Error, channel};

use crate::world::*;

#[test]
fn messages_arrive_in_order_and_the_channel_closes_itself_after_the_last_sender() {
    let mut lp = world();
    let (channel, sender) =
        channel::unbounded(&mut lp, |_, log, number: u32| note(log, number.to_string())).unwrap();
    let thread = std::thread::spawn(move || (0..5000).for_each(|number| sender.send(number).unwrap()));
    let expected: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    assert_eq!(run(&mut lp), expected);
    thread.join().unwrap();
    assert!(!channel.is_open(&lp));
}

#[test]
fn a_full_channel_makes_the_sender_wait_and_loses_nothing() {
    let mut lp = world();
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
fn a_full_channel_hands_the_value_back() {
    let mut lp = world();
    let (channel, sender) = channel::bounded(&mut lp, 2, |_, _, _: String| Ok(())).unwrap();
    sender.try_send("one".into()).unwrap();
    sender.try_send("two".into()).unwrap();
    let refused = sender.try_send("three".into()).unwrap_err();
    assert_eq!(refused.value, "three");
    assert!(matches!(refused.error, Error::QueueFull { limit: 2, .. }));
    // On the loop's own thread nobody would make room.
    assert_eq!(sender.send("four".into()).unwrap_err().value, "four");
    channel.close(&mut lp);
    run(&mut lp);
    let gone = sender.send("five".into()).unwrap_err();
    assert_eq!((gone.value.as_str(), kind(&gone.error).as_str()), ("five", "loop gone"));
}

#[test]
fn a_sender_that_waits_for_room_hears_that_the_loop_is_gone() {
    let mut lp = world();
    let (_channel, sender) = channel::bounded(&mut lp, 1, |_, _, _: u32| Ok(())).unwrap();
    sender.send(1).unwrap();
    let (waiting, is_waiting) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        waiting.send(()).unwrap();
        sender.send(2).unwrap_err().value
    });
    is_waiting.recv().unwrap();
    drop(lp);
    assert_eq!(thread.join().unwrap(), 2);
}

#[test]
fn a_capacity_of_zero_is_refused() {
    let mut lp = world();
    assert!(matches!(channel::bounded(&mut lp, 0, |_, _, ()| Ok(())), Err(Error::Invalid { .. })));
}

#[test]
fn a_channel_that_is_closed_in_its_callback_delivers_no_more() {
    let mut lp = world();
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
    let mut lp = world();
    lp.on_failure(|_, log, failure| note(log, failure.kind.to_string()));
    let (_channel, sender) = channel::unbounded(&mut lp, |_, _, _: u32| Err(Error::other("no"))).unwrap();
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(run(&mut lp), ["channel"]);
}

#[test]
fn a_fast_sender_does_not_starve_the_others() {
    let mut lp = world();
    let (_channel, sender) = channel::unbounded(&mut lp, |_, _, _: u32| Ok(())).unwrap();
    (0..10_000).for_each(|number| sender.send(number).unwrap());
    drop(sender);
    let before = lp.metrics().turns;
    run(&mut lp);
    assert!(lp.metrics().turns - before >= 10, "a thousand or so a turn");
}
