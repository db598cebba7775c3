//! The queue from many threads to one.

use std::sync::atomic::Ordering;

use loom::{sync::Arc, thread};

use super::{Blocks, Refusal};
use crate::backend::native::{
    kit::{Item, counter, explore},
    sync,
    wake::WakeFd,
};

type Shared = Arc<Blocks<Item>>;

/// A queue whose next place is number `offset` of its block, and whose reader rests.
fn queue(offset: u64) -> Shared {
    let blocks = Blocks::new();
    let dropped = counter();
    for _ in 0..offset {
        assert!(blocks.push(Item::new(0, 0, &dropped), u64::MAX).is_ok());
        blocks.take(1);
        drop(next(&blocks));
    }
    assert!(blocks.rest());
    Arc::new(blocks)
}

/// Reads the next one that is due. In one thread, in each model.
fn next(blocks: &Blocks<Item>) -> Option<Item> {
    // SAFETY: as said above.
    if blocks.due() > 0 { unsafe { blocks.pop() } } else { None }
}

/// Reads the next one, which is due: whoever claimed its place is about to write it.
fn next_for_sure(blocks: &Blocks<Item>) -> Item {
    loop {
        if let Some(item) = next(blocks) {
            return item;
        }
        sync::pause(1);
    }
}

/// Two threads put in two each, wherever a block ends; the reader takes on what he finds, and rests with the first of them.
#[test]
fn each_item_comes_out_once_and_in_the_order_of_its_thread() {
    explore(4, || {
        let dropped = counter();
        let blocks = queue(1);
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (blocks, dropped) = (blocks.clone(), dropped.clone());
                thread::spawn(move || {
                    for number in 0..2 - thread {
                        assert!(blocks.push(Item::new(thread, number, &dropped), u64::MAX).is_ok());
                    }
                })
            })
            .collect();
        let mut expected = [0; 2];
        for _ in 0..2 {
            blocks.take(2);
            while blocks.due() > 0 {
                let item = next_for_sure(&blocks);
                assert_eq!(item.number, expected[item.thread]);
                expected[item.thread] += 1;
            }
        }
        pushing.into_iter().for_each(|thread| thread.join().expect("it has pushed"));
        blocks.take(u64::MAX);
        while let Some(item) = next(&blocks) {
            assert_eq!(item.number, expected[item.thread]);
            expected[item.thread] += 1;
        }
        assert_eq!(expected, [2, 1]);
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

/// Whoever is told that his is the first sets off an alarm; the reader sleeps until it rings. In the last place of a
/// block and before it.
#[test]
fn the_first_since_the_reader_rested_is_told_so() {
    explore(2, || {
        let dropped = counter();
        let blocks = queue(1);
        let alarm = Arc::new(WakeFd::new().expect("it is no descriptor"));
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (blocks, dropped, alarm) = (blocks.clone(), dropped.clone(), alarm.clone());
                thread::spawn(move || {
                    if blocks.push(Item::new(thread, 0, &dropped), u64::MAX).is_ok_and(|first| first) {
                        alarm.ring();
                    }
                })
            })
            .collect();
        let mut read = 0;
        while read < 2 {
            alarm.wait();
            loop {
                blocks.take(2);
                while blocks.due() > 0 {
                    drop(next_for_sure(&blocks));
                    read += 1;
                }
                if blocks.rest() {
                    break;
                }
            }
        }
        pushing.into_iter().for_each(|thread| thread.join().expect("it has pushed"));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}

/// One is in, and room for one more; two threads want it, and the reader makes room for another meanwhile.
#[test]
fn the_bound_is_kept() {
    explore(4, || {
        let dropped = counter();
        let blocks = queue(0);
        assert!(blocks.push(Item::new(0, 0, &dropped), 2).is_ok());
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (blocks, dropped) = (blocks.clone(), dropped.clone());
                thread::spawn(move || match blocks.push(Item::new(thread, 0, &dropped), 2) {
                    Ok(_) => 1,
                    Err((_, refusal)) => {
                        assert_eq!(refusal, Refusal::Full);
                        0
                    }
                })
            })
            .collect();
        // Of those that came in, some may have been read by now, but not taken on: that is what makes room.
        assert!(blocks.len() <= 2);
        let taken = blocks.take(1);
        assert_eq!(taken, 1);
        let pushed: u64 = pushing.into_iter().map(|thread| thread.join().expect("it has pushed")).sum();
        assert!((1..=2).contains(&pushed), "one had room from the start");
        assert_eq!(blocks.len(), 1 + pushed);
        assert_eq!(dropped.load(Ordering::Relaxed) as u64, 2 - pushed);
        let late = blocks.push(Item::new(0, 0, &dropped), 2);
        assert_eq!(late.is_ok(), pushed == 1, "what was taken on has made room, once");
    });
}

/// Two threads put something in while the reader ends it, and reads what got in.
#[test]
fn what_meets_the_end_is_read_or_handed_back() {
    explore(3, || {
        let dropped = counter();
        let blocks = queue(1);
        let pushing: Vec<_> = (0..2)
            .map(|thread| {
                let (blocks, dropped) = (blocks.clone(), dropped.clone());
                thread::spawn(move || match blocks.push(Item::new(thread, 0, &dropped), u64::MAX) {
                    Ok(_) => 1,
                    Err((item, refusal)) => {
                        assert_eq!((item.thread, refusal), (thread, Refusal::Closed));
                        0
                    }
                })
            })
            .collect();
        blocks.close();
        blocks.take(u64::MAX);
        let mut read = 0;
        while blocks.due() > 0 {
            drop(next_for_sure(&blocks));
            read += 1;
        }
        let pushed: usize = pushing.into_iter().map(|thread| thread.join().expect("it has pushed")).sum();
        assert_eq!(read, pushed, "nothing comes in after the end");
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
    });
}
