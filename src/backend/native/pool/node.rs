//! The node that carries a job to a worker and its result back.
//!
//! [`JobQueue`](super::job_queue::JobQueue) and [`CompletionStack`](super::completions::CompletionStack)
//! carry the same nodes. The loop allocates them and gets them back, so it can reuse them.

use std::ptr;

#[derive(Debug)]
pub(super) struct Node<T> {
    /// The node below on a completion stack. Null everywhere else.
    pub(super) next: *mut Node<T>,
    pub(super) item: T,
}

impl<T> Node<T> {
    pub(super) fn new(item: T) -> Box<Node<T>> {
        Box::new(Node { next: ptr::null_mut(), item })
    }
}

/// A node that is on no stack, and so may move to another thread.
#[derive(Debug)]
pub(super) struct BoxedNode<T>(pub(super) Box<Node<T>>);

// SAFETY: `next` is null in a node that is on no stack, so only the item moves.
unsafe impl<T: Send> Send for BoxedNode<T> {}
