//! Models of mailboxes, with the notifier and the notify queue that they use.

use std::sync::atomic::Ordering;

use loom::thread;

use super::{Inbox, PushError};
use crate::backend::native::kit::{Item, SmallLoop, counter, explore};

/// Hands out items as a channel does after a notification: until the inbox goes idle.
///
/// Returns whether the senders were gone before the last claim.
fn hand_out(inbox: &Inbox<Item>, mut each: impl FnMut(Item)) -> bool {
    loop {
        let no_senders = inbox.claim(1);
        while inbox.is_ready() {
            inbox.next().into_iter().for_each(&mut each);
        }
        if inbox.claimed_len() == 0 && inbox.go_idle() {
            return no_senders;
        }
    }
}

/// There is room for one item, and two are sent.
#[test]
fn a_sender_that_waits_for_room_gets_it() {
    explore(4, || {
        let dropped = counter();
        let mut small = SmallLoop::new();
        let inbox = Inbox::new(small.notifier(0), 1);
        let mailbox = inbox.mailbox().clone();
        let dropped_there = dropped.clone();
        let sending = thread::spawn(move || {
            for number in 0..2 {
                assert!(mailbox.send(Item::new(0, number, &dropped_there)).is_ok());
            }
        });
        let mut expected = 0;
        while expected < 2 {
            if !small.turn().is_empty() {
                hand_out(&inbox, |item| {
                    assert_eq!(item.number, expected);
                    expected += 1;
                });
            }
        }
        sending.join().expect("no thread panics");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// The mailbox is full when the inbox is closed, while a thread sends.
#[test]
fn a_sender_that_waits_for_room_learns_of_the_close() {
    explore(4, || {
        let dropped = counter();
        let small = SmallLoop::new();
        let inbox = Inbox::new(small.notifier(0), 1);
        let mailbox = inbox.mailbox().clone();
        assert!(mailbox.try_send(Item::new(0, 0, &dropped)).is_ok());
        let dropped_there = dropped.clone();
        let sending = thread::spawn(move || {
            let error = mailbox.send(Item::new(0, 1, &dropped_there)).err();
            assert!(error.is_none_or(|error| matches!(error, PushError::Closed(_))));
        });
        drop(inbox);
        sending.join().expect("no thread panics");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// The loop waits for two senders, one of which sends an item before it goes.
#[test]
fn the_last_sender_wakes_the_loop_after_its_items() {
    explore(3, || {
        let dropped = counter();
        let mut small = SmallLoop::new();
        let inbox = Inbox::new(small.notifier(0), usize::MAX);
        let sending: Vec<_> = (0..2)
            .map(|thread| {
                let (mailbox, dropped) = (inbox.mailbox().clone(), dropped.clone());
                mailbox.add_sender();
                thread::spawn(move || {
                    if thread == 0 {
                        assert!(mailbox.try_send(Item::new(0, 0, &dropped)).is_ok());
                    }
                    mailbox.remove_sender();
                })
            })
            .collect();
        let mut received = 0;
        loop {
            if !small.turn().is_empty() && hand_out(&inbox, |_| received += 1) {
                break;
            }
        }
        assert_eq!(received, 1, "the item is handed out before the senders' end is seen");
        sending.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}
