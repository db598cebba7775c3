//! Mailboxes, with the bell and the doorbell that they ring.

use std::sync::atomic::Ordering;

use loom::thread;

use super::{Inbox, Refused};
use crate::backend::native::kit::{Item, SmallLoop, counter, explore};

/// What `channel` does when the bell of an inbox has rung: hands out what is due, and looks again unless it may rest.
/// Says whether the senders had gone before it looked.
fn hand_out(inbox: &Inbox<Item>, mut each: impl FnMut(Item)) -> bool {
    loop {
        let abandoned = inbox.take(1);
        while inbox.is_ready() {
            inbox.next().into_iter().for_each(&mut each);
        }
        if inbox.due() == 0 && inbox.rest() {
            return abandoned;
        }
    }
}

/// There is room for one, and two are sent.
#[test]
fn who_waits_for_room_gets_it() {
    explore(4, || {
        let dropped = counter();
        let mut small = SmallLoop::new();
        let inbox = Inbox::new(small.bell(0), 1);
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
        sending.join().expect("it has sent");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// It is full when the loop goes, and somebody sends.
#[test]
fn who_waits_for_room_hears_of_the_end() {
    explore(4, || {
        let dropped = counter();
        let small = SmallLoop::new();
        let inbox = Inbox::new(small.bell(0), 1);
        let mailbox = inbox.mailbox().clone();
        assert!(mailbox.try_send(Item::new(0, 0, &dropped)).is_ok());
        let dropped_there = dropped.clone();
        let sending = thread::spawn(move || {
            let refused = mailbox.send(Item::new(0, 1, &dropped_there)).err();
            assert!(refused.is_none_or(|refused| refused.reason == Refused::Gone));
        });
        drop(inbox);
        sending.join().expect("it has heard");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// The loop waits for two senders, one of whom sends something and goes.
#[test]
fn the_last_sender_wakes_the_loop_after_all_that_he_sent() {
    explore(3, || {
        let dropped = counter();
        let mut small = SmallLoop::new();
        let inbox = Inbox::new(small.bell(0), usize::MAX);
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
        let mut came = 0;
        loop {
            if !small.turn().is_empty() && hand_out(&inbox, |_| came += 1) {
                break;
            }
        }
        assert_eq!(came, 1, "what was sent comes before the end");
        sending.into_iter().for_each(|thread| thread.join().expect("it has gone"));
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}
