//! Models of the job queue. Its ring has two slots here.

use std::{iter, sync::atomic::Ordering};

use loom::{sync::Arc, thread};

use super::{super::node::Node, JobQueue};
use crate::backend::native::kit::{Item, counter, explore};

/// Two consumers pop while the producer pushes three items, one more than the ring holds, and cancels the
/// first and the last.
#[test]
fn each_item_is_popped_or_cancelled_once_past_the_ring() {
    explore(2, || {
        let dropped = counter();
        let queue = Arc::new(JobQueue::new());
        let first = queue.push(Node::new(Item::new(0, 0, &dropped)));
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || queue.pop().map(|node| node.item.number))
            })
            .collect();
        let last = [1, 2].map(|number| queue.push(Node::new(Item::new(0, number, &dropped))))[1];
        let mut seen = Vec::new();
        // The slot of the first may hold the third by now.
        for (ticket, expected) in [(first, 0), (last, 2)] {
            if let Some(node) = queue.cancel(ticket) {
                assert_eq!(node.item.number, expected);
                seen.push(expected);
            }
        }
        seen.extend(consumers.into_iter().filter_map(|thread| thread.join().expect("no consumer panics")));
        seen.extend(iter::from_fn(|| queue.pop()).map(|node| node.item.number));
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
        assert!(queue.is_empty());
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

/// One consumer pops while the producer pushes four items, two more than the ring holds, and cancels the
/// second.
#[test]
fn one_consumer_pops_in_order() {
    explore(4, || {
        let dropped = counter();
        let queue = Arc::new(JobQueue::new());
        queue.push(Node::new(Item::new(0, 0, &dropped)));
        let consumer = {
            let queue = queue.clone();
            thread::spawn(move || {
                let popped = (0..2).filter_map(|_| queue.pop()).map(|node| node.item.number);
                popped.collect::<Vec<_>>()
            })
        };
        let tickets = [1, 2, 3].map(|number| queue.push(Node::new(Item::new(0, number, &dropped))));
        let cancelled = queue.cancel(tickets[0]).map(|node| node.item.number);
        assert!(cancelled.is_none_or(|number| number == 1));
        let mut seen = consumer.join().expect("no consumer panics");
        seen.extend(iter::from_fn(|| queue.pop()).map(|node| node.item.number));
        let expected: Vec<usize> = (0..4).filter(|&number| cancelled != Some(number)).collect();
        assert_eq!(seen, expected);
        assert_eq!(dropped.load(Ordering::Relaxed), 4);
    });
}
