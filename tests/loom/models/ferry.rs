//! The queue to the workers, and the pile that comes back.

use std::sync::atomic::Ordering;

use loom::{sync::Arc, thread};

use super::{Node, Pile, Queue};
use crate::backend::native::{
    kit::{Item, counter, explore},
    wake::WakeFd,
};

/// Two take out while one puts in three, where the ring has room for two, and takes one back.
#[test]
fn each_item_is_taken_or_withdrawn_once_also_behind_the_ring() {
    explore(2, || {
        let dropped = counter();
        let queue = Arc::new(Queue::new());
        let ticket = queue.push(Node::new(Item::new(0, 0, &dropped)));
        let taking: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || queue.pop().map(|node| node.item.number))
            })
            .collect();
        let last = [1, 2].map(|number| queue.push(Node::new(Item::new(0, number, &dropped))))[1];
        let mut seen = Vec::new();
        // The place of the first may be the third's by now.
        for (ticket, expected) in [(ticket, 0), (last, 2)] {
            if let Some(node) = queue.cancel(ticket) {
                assert_eq!(node.item.number, expected);
                seen.push(expected);
            }
        }
        seen.extend(taking.into_iter().filter_map(|thread| thread.join().expect("it has taken")));
        seen.extend(std::iter::from_fn(|| queue.pop()).map(|node| node.item.number));
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        assert!(queue.is_empty());
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

/// One takes out while another puts in four, where the ring has room for two, and takes the second back.
#[test]
fn one_taker_sees_them_in_order() {
    explore(4, || {
        let dropped = counter();
        let queue = Arc::new(Queue::new());
        queue.push(Node::new(Item::new(0, 0, &dropped)));
        let theirs = queue.clone();
        let taking = thread::spawn(move || {
            let taken = (0..2).filter_map(|_| theirs.pop()).map(|node| node.item.number);
            taken.collect::<Vec<_>>()
        });
        let tickets = [1, 2, 3].map(|number| queue.push(Node::new(Item::new(0, number, &dropped))));
        let withdrawn = queue.cancel(tickets[0]).map(|node| node.item.number);
        assert!(withdrawn.is_none_or(|number| number == 1));
        let mut seen = taking.join().expect("it has taken");
        seen.extend(std::iter::from_fn(|| queue.pop()).map(|node| node.item.number));
        let expected: Vec<usize> = (0..4).filter(|&number| withdrawn != Some(number)).collect();
        assert_eq!(seen, expected);
        assert_eq!(dropped.load(Ordering::Relaxed), 4);
    });
}

/// Two put on; who is the first sets off an alarm. The loop takes when it rings, and puts nothing off.
#[test]
fn the_first_on_a_pile_tells_and_none_is_left() {
    explore(3, || {
        let dropped = counter();
        let shared = Arc::new((Pile::new(), WakeFd::new().expect("it is no descriptor")));
        let putting: Vec<_> = (0..2)
            .map(|thread| {
                let (shared, dropped) = (shared.clone(), dropped.clone());
                thread::spawn(move || {
                    for number in 0..2 - thread {
                        if shared.0.push(Node::new(Item::new(thread, number, &dropped))) {
                            shared.1.wake();
                        }
                    }
                })
            })
            .collect();
        let mut expected = [0; 2];
        while expected != [2, 1] {
            shared.1.wait();
            for node in shared.0.take() {
                assert_eq!(node.item.number, expected[node.item.thread]);
                expected[node.item.thread] += 1;
            }
        }
        putting.into_iter().for_each(|thread| thread.join().expect("it has put on"));
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}
