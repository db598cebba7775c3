//! `SendQueue` against a stream of bytes and a list of marks.
//!
//! The byte at each position of the stream is a function of the position, so the model is two numbers.

use std::{collections::VecDeque, io::IoSlice, rc::Rc, sync::Arc};

use crate::{
    payload::Payload,
    queue::send_queue::{BufferPool, SendQueue},
};

#[derive(Clone, Copy, Debug)]
pub enum Ownership {
    Borrowed,
    Owned,
    Rc,
    Arc,
}

#[derive(Clone, Debug)]
pub enum Operation {
    Push(Ownership, usize),
    Mark,
    /// Small pushes, each followed by a mark.
    Burst(usize),
    /// Offers up to `pieces` pieces; `share` sixteenths of their bytes are sent.
    Send {
        pieces: usize,
        share: usize,
    },
    /// Offers all pieces; all but this number of bytes are sent.
    SendAllBut(usize),
    Compact,
    Skip(usize),
    PopReachedMarks,
    PopMark,
    Clear,
}

/// Returns bytes of the stream. The higher bits of the position are mixed in, so that they do not repeat
/// within a chunk.
fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|n| (n ^ (n >> 8).wrapping_mul(151) ^ (n >> 16)) as u8).collect()
}

struct World {
    queue: SendQueue<u32>,
    pool: BufferPool,
    sent: u64,
    queued: usize,
    marks: VecDeque<(u64, u32)>,
    next_mark: u32,
}

impl World {
    fn push(&mut self, ownership: Ownership, len: usize) {
        let bytes = bytes(self.sent + self.queued as u64, len);
        let pool = &mut self.pool;
        match ownership {
            Ownership::Borrowed => self.queue.push(Payload::Borrowed(&bytes), pool),
            Ownership::Owned => self.queue.push(Payload::Owned(bytes), pool),
            Ownership::Rc => {
                let shared: Rc<[u8]> = bytes.into();
                self.queue.push(Payload::Rc(shared.clone()), pool);
                let expected = if len > 2 << 10 { 2 } else { 1 };
                assert_eq!(Rc::strong_count(&shared), expected, "shared if large, copied if not");
            }
            Ownership::Arc => {
                let shared: Arc<[u8]> = bytes.into();
                self.queue.push(Payload::Arc(shared.clone()), pool);
                let expected = if len > 2 << 10 { 2 } else { 1 };
                assert_eq!(Arc::strong_count(&shared), expected, "shared if large, copied if not");
            }
        }
        self.queued += len;
    }

    fn mark(&mut self) {
        self.queue.mark(self.next_mark);
        self.marks.push_back((self.sent + self.queued as u64, self.next_mark));
        self.next_mark += 1;
    }

    /// Checks what is offered. `how_much` of it is sent.
    fn send(&mut self, pieces_max: usize, how_much: impl FnOnce(usize) -> usize) {
        let mut pieces = vec![IoSlice::new(&[]); pieces_max];
        let (count, len) = self.queue.pieces(&mut pieces);
        assert!(count <= pieces_max);
        assert!(pieces[..count].iter().all(|piece| !piece.is_empty()), "no piece is empty");
        let offered: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.iter().copied()).collect();
        assert_eq!(offered.len(), len);
        assert!(len == self.queued || (count == pieces_max && len < self.queued), "nothing is held back");
        assert!(offered == bytes(self.sent, len), "the bytes offered are those queued");
        let sent = how_much(len).min(len);
        self.queue.advance(sent, &mut self.pool);
        self.sent += sent as u64;
        self.queued -= sent;
    }

    fn pop_reached_marks(&mut self) {
        loop {
            let expected = match self.marks.front() {
                Some(&(position, mark)) if position <= self.sent => Some(mark),
                _ => None,
            };
            assert_eq!(
                self.queue.pop_reached_mark(),
                expected,
                "a mark is reached when the bytes before it are sent"
            );
            if expected.is_none() {
                return;
            }
            self.marks.pop_front();
        }
    }
}

/// Applies the operations to both. Panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world = World {
        queue: SendQueue::default(),
        pool: BufferPool::default(),
        sent: 0,
        queued: 0,
        marks: VecDeque::new(),
        next_mark: 0,
    };
    for operation in operations {
        match *operation {
            Operation::Push(ownership, len) => world.push(ownership, len),
            Operation::Mark => world.mark(),
            Operation::Burst(many) => {
                for n in 0..many {
                    // Some too large to be coalesced, so that there are many chunks.
                    world.push(Ownership::Owned, if n % 3 == 0 { 2049 } else { n % 5 });
                    world.mark();
                }
            }
            Operation::Send { pieces, share } => world.send(pieces, |len| len * share / 16),
            Operation::SendAllBut(unsent) => world.send(10_000, |len| len.saturating_sub(unsent)),
            Operation::Compact => world.queue.compact(&mut world.pool),
            Operation::Skip(count) if world.queued == 0 => {
                world.queue.skip(count);
                world.sent += count as u64;
            }
            Operation::Skip(_) => {}
            Operation::PopReachedMarks => world.pop_reached_marks(),
            Operation::PopMark => {
                let expected = world.marks.pop_front().map(|(_, mark)| mark);
                assert_eq!(world.queue.pop_mark(), expected);
            }
            Operation::Clear => {
                world.pop_reached_marks();
                world.queue.clear(&mut world.pool);
                world.queued = 0;
                while let Some((_, mark)) = world.marks.pop_front() {
                    assert_eq!(world.queue.pop_mark(), Some(mark));
                }
                assert_eq!(world.queue.pop_mark(), None);
            }
        }
        world.queue.verify();
        assert_eq!(world.queue.queued(), world.queued);
    }
    // Finally everything is sent, and every mark is reached.
    while world.queued > 0 {
        world.send(3, |len| len);
    }
    world.pop_reached_marks();
    assert!(world.marks.is_empty());
    assert_eq!(world.queue.pieces(&mut [IoSlice::new(&[])]), (0, 0));
}
