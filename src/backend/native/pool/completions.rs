//! Completed jobs on their way back to the loop: a Treiber stack (R. K. Treiber, IBM RJ 5118, 1986).
//!
//! Workers push one node at a time. The loop takes the whole stack with one swap and reverses it, so
//! completions come out in the order in which they were pushed. As no thread pops a single node, the ABA
//! problem does not arise.

use std::{mem, ptr};

use super::{
    super::{
        cache_padded::CachePadded,
        sync::{AtomicPtr, Ordering},
    },
    node::Node,
};

#[derive(Debug)]
pub(super) struct CompletionStack<T>(CachePadded<AtomicPtr<Node<T>>>);

// An `AtomicPtr` is `Sync` whatever it points to, so the bound on `T` stands here.
impl<T: Send> CompletionStack<T> {
    pub(super) fn new() -> CompletionStack<T> {
        CompletionStack(CachePadded(AtomicPtr::new(ptr::null_mut())))
    }

    /// Pushes a node. Returns whether the stack was empty: if so, the loop must be notified.
    pub(super) fn push(&self, node: Box<Node<T>>) -> bool {
        let node = Box::into_raw(node);
        let mut top = self.0.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: the node belongs to this thread until the exchange below has put it on the stack.
            unsafe { (*node).next = top };
            match self.0.0.compare_exchange_weak(top, node, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return top.is_null(),
                Err(other) => top = other,
            }
        }
    }

    /// Takes all nodes, in the order in which they were pushed.
    pub(super) fn drain(&self) -> Drain<T> {
        let mut node = self.0.0.swap(ptr::null_mut(), Ordering::SeqCst);
        let mut first = ptr::null_mut();
        while !node.is_null() {
            // SAFETY: the swap gave the whole stack to this thread. `push` made each pointer from a box.
            let below = unsafe { mem::replace(&mut (*node).next, first) };
            first = node;
            node = below;
        }
        Drain(first)
    }
}

impl<T> Drop for CompletionStack<T> {
    fn drop(&mut self) {
        drop(Drain(*self.0.0.get_mut()));
    }
}

/// The nodes taken from a stack. Those that are not consumed are dropped with it.
pub(super) struct Drain<T>(*mut Node<T>);

impl<T> Iterator for Drain<T> {
    type Item = Box<Node<T>>;

    fn next(&mut self) -> Option<Box<Node<T>>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: `push` made the pointer from a box, and only this list holds it.
        let mut node = unsafe { Box::from_raw(self.0) };
        self.0 = mem::replace(&mut node.next, ptr::null_mut());
        Some(node)
    }
}

impl<T> Drop for Drain<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[cfg(all(test, loom))]
#[path = "../../../../tests/loom/models/completions.rs"]
mod models;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn push_reports_an_empty_stack_and_drain_keeps_the_order() {
        let stack = CompletionStack::new();
        assert!(stack.push(Node::new(1)));
        assert!(!stack.push(Node::new(2)));
        assert!(!stack.push(Node::new(3)));
        assert_eq!(stack.drain().map(|node| node.item).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(stack.push(Node::new(4)));
    }

    #[test]
    fn nodes_left_on_a_stack_or_drain_are_dropped_once() {
        let witness = Arc::new(());
        let stack = CompletionStack::new();
        for _ in 0..10 {
            stack.push(Node::new(witness.clone()));
        }
        let mut drain = stack.drain();
        drain.next();
        for _ in 0..10 {
            stack.push(Node::new(witness.clone()));
        }
        assert_eq!(Arc::strong_count(&witness), 1 + 9 + 10);
        drop((stack, drain));
        assert_eq!(Arc::strong_count(&witness), 1);
    }
}
