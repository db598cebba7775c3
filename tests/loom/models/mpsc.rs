//! Models of the queue from many threads to one.

use std::sync::atomic::Ordering;

use loom::{sync::Arc, thread};

use super::{MpscQueue, PushError};
use crate::backend::native::{
    kit::{Item, counter, explore},
    sync,
    wake::WakeFd,
};

type Shared = Arc<MpscQueue<Item>>;

/// Makes an idle queue whose next slot is at `offset` in its block.
fn queue(offset: u64) -> Shared {
    let queue = MpscQueue::new();
    let dropped = counter();
    for _ in 0..offset {
        assert!(queue.push(Item::new(0, 0, &dropped), u64::MAX).is_ok());
        queue.claim(1);
        drop(next(&queue));
    }
    assert!(queue.go_idle());
    Arc::new(queue)
}

/// Reads the next claimed item, if it is ready. Each model calls it in one thread.
fn next(queue: &MpscQueue<Item>) -> Option<Item> {
    // SAFETY: one thread reads.
    if queue.claimed_len() > 0 { unsafe { queue.pop() } } else { None }
}

/// Reads the next claimed item, after its producer has written it.
fn next_for_sure(queue: &MpscQueue<Item>) -> Item {
    loop {
        if let Some(item) = next(queue) {
            return item;
        }
        sync::pause(1);
    }
}

/// Two threads push three items, across the end of a block. The consumer claims what it finds, and the rest
/// later.
#[test]
fn items_come_out_once_and_in_the_order_of_their_thread() {
    explore(4, || {
        let dropped = counter();
        let queue = queue(1);
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (queue, dropped) = (queue.clone(), dropped.clone());
                thread::spawn(move || {
                    for number in 0..2 - thread {
                        assert!(queue.push(Item::new(thread, number, &dropped), u64::MAX).is_ok());
                    }
                })
            })
            .collect();
        let mut expected = [0; 2];
        for _ in 0..2 {
            queue.claim(2);
            while queue.claimed_len() > 0 {
                let item = next_for_sure(&queue);
                assert_eq!(item.number, expected[item.thread]);
                expected[item.thread] += 1;
            }
        }
        pushing.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        queue.claim(u64::MAX);
        while let Some(item) = next(&queue) {
            assert_eq!(item.number, expected[item.thread]);
            expected[item.thread] += 1;
        }
        assert_eq!(expected, [2, 1]);
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

/// The producer that must notify wakes a wake fd; the consumer blocks until then. In the last slot of a block
/// and in the one before.
#[test]
fn the_first_push_after_going_idle_must_notify() {
    explore(2, || {
        let dropped = counter();
        let queue = queue(1);
        let wake_fd = Arc::new(WakeFd::new().expect("the stand-in never fails"));
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (queue, dropped, wake_fd) = (queue.clone(), dropped.clone(), wake_fd.clone());
                thread::spawn(move || {
                    if queue.push(Item::new(thread, 0, &dropped), u64::MAX).is_ok_and(|first| first) {
                        wake_fd.wake();
                    }
                })
            })
            .collect();
        let mut read = 0;
        while read < 2 {
            wake_fd.wait();
            loop {
                queue.claim(2);
                while queue.claimed_len() > 0 {
                    drop(next_for_sure(&queue));
                    read += 1;
                }
                if queue.go_idle() {
                    break;
                }
            }
        }
        pushing.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// One item is in the queue, and room for one more. Two threads push, while the consumer makes room for
/// another.
#[test]
fn the_limit_is_exact() {
    explore(4, || {
        let dropped = counter();
        let queue = queue(0);
        assert!(queue.push(Item::new(0, 0, &dropped), 2).is_ok());
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (queue, dropped) = (queue.clone(), dropped.clone());
                thread::spawn(move || match queue.push(Item::new(thread, 0, &dropped), 2) {
                    Ok(_) => 1,
                    Err(error) => {
                        assert!(matches!(error, PushError::Full(_)));
                        0
                    }
                })
            })
            .collect();
        // Nothing was claimed, and only a claim makes room.
        assert!(queue.len() <= 2);
        let claimed = queue.claim(1);
        assert_eq!(claimed, 1);
        let pushed: u64 = pushing.into_iter().map(|thread| thread.join().expect("no thread panics")).sum();
        assert!((1..=2).contains(&pushed), "one had room from the start");
        assert_eq!(queue.len(), 1 + pushed);
        assert_eq!(dropped.load(Ordering::Relaxed) as u64, 2 - pushed);
        let late = queue.push(Item::new(0, 0, &dropped), 2);
        assert_eq!(late.is_ok(), pushed == 1, "the claimed item has made room, once");
    });
}

/// Two threads push while the consumer closes the queue and reads what is in it.
#[test]
fn an_item_that_meets_the_close_is_read_or_handed_back() {
    explore(3, || {
        let dropped = counter();
        let queue = queue(1);
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (queue, dropped) = (queue.clone(), dropped.clone());
                thread::spawn(move || match queue.push(Item::new(thread, 0, &dropped), u64::MAX) {
                    Ok(_) => 1,
                    Err(error) => {
                        assert!(matches!(error, PushError::Closed(item) if item.thread == thread));
                        0
                    }
                })
            })
            .collect();
        queue.close();
        queue.claim(u64::MAX);
        let mut read = 0;
        while queue.claimed_len() > 0 {
            drop(next_for_sure(&queue));
            read += 1;
        }
        let pushed: usize = pushing.into_iter().map(|thread| thread.join().expect("no thread panics")).sum();
        assert_eq!(read, pushed, "no item gets in after the close");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}
