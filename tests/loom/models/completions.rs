//! Models of the completion stack.

use std::sync::atomic::Ordering;

use loom::{sync::Arc, thread};

use super::{super::node::Node, CompletionStack};
use crate::backend::native::{
    kit::{Item, counter, explore},
    wake::WakeFd,
};

/// Two workers push; a push on an empty stack wakes the loop. The loop drains once for each wake-up, and no
/// more.
#[test]
fn the_first_push_wakes_the_loop_and_no_item_is_left() {
    explore(3, || {
        let dropped = counter();
        let shared = Arc::new((CompletionStack::new(), WakeFd::new().expect("it is no descriptor")));
        let workers: Vec<_> = (0..2)
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
        let mut drained = [0; 2];
        while drained != [2, 1] {
            shared.1.wait();
            for node in shared.0.drain() {
                assert_eq!(node.item.number, drained[node.item.thread], "in the order of pushing");
                drained[node.item.thread] += 1;
            }
        }
        workers.into_iter().for_each(|thread| thread.join().expect("no worker panics"));
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}
