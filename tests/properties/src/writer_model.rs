//! `SendQueue` against a run of bytes and a list of marks.
//!
//! The byte at each position of the stream is known beforehand, so that the model is two numbers.

use std::{collections::VecDeque, io::IoSlice, rc::Rc, sync::Arc};

use crate::{
    payload::Payload,
    queue::send_queue::{BufferPool, SendQueue},
};

#[derive(Clone, Copy, Debug)]
pub enum Sort {
    Borrowed,
    Owned,
    Rc,
    Arc,
}

#[derive(Clone, Debug)]
pub enum Operation {
    Push(Sort, usize),
    Mark,
    /// Many small pushes, each with its mark.
    Burst(usize),
    /// Offers up to so many pieces; a share of what they hold, of 16, leaves.
    Send {
        pieces: usize,
        share: usize,
    },
    /// Offers, and all but so many bytes leave.
    SendAllBut(usize),
    Settle,
    Pass(usize),
    Tell,
    GiveUpOne,
    Clear,
}

/// The stream's bytes: a period of 251 would repeat within a chunk, so the higher parts of the position
/// are mixed in.
fn bytes(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|n| (n ^ (n >> 8).wrapping_mul(151) ^ (n >> 16)) as u8).collect()
}

struct World {
    writer: SendQueue<u32>,
    pool: BufferPool,
    sent: u64,
    queued: usize,
    marks: VecDeque<(u64, u32)>,
    next_mark: u32,
}

impl World {
    fn push(&mut self, sort: Sort, len: usize) {
        let bytes = bytes(self.sent + self.queued as u64, len);
        let pool = &mut self.pool;
        match sort {
            Sort::Borrowed => self.writer.push(Payload::Borrowed(&bytes), pool),
            Sort::Owned => self.writer.push(Payload::Owned(bytes), pool),
            Sort::Rc => {
                let shared: Rc<[u8]> = bytes.into();
                self.writer.push(Payload::Rc(shared.clone()), pool);
                let expected = if len > 2 << 10 { 2 } else { 1 };
                assert_eq!(Rc::strong_count(&shared), expected, "shared if large, copied if not");
            }
            Sort::Arc => {
                let shared: Arc<[u8]> = bytes.into();
                self.writer.push(Payload::Arc(shared.clone()), pool);
                let expected = if len > 2 << 10 { 2 } else { 1 };
                assert_eq!(Arc::strong_count(&shared), expected, "shared if large, copied if not");
            }
        }
        self.queued += len;
    }

    fn mark(&mut self) {
        self.writer.mark(self.next_mark);
        self.marks.push_back((self.sent + self.queued as u64, self.next_mark));
        self.next_mark += 1;
    }

    /// What is offered is what comes next, and as much of it leaves as `how_much` says.
    fn send(&mut self, places: usize, how_much: impl FnOnce(usize) -> usize) {
        let mut pieces = vec![IoSlice::new(&[]); places];
        let (count, len) = self.writer.pieces(&mut pieces);
        assert!(count <= places);
        assert!(pieces[..count].iter().all(|piece| !piece.is_empty()), "no piece is empty");
        let offered: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.iter().copied()).collect();
        assert_eq!(offered.len(), len);
        assert!(len == self.queued || (count == places && len < self.queued), "nothing is held back");
        assert!(offered == bytes(self.sent, len), "what is offered is what was queued");
        let leaves = how_much(len).min(len);
        self.writer.advance(leaves, &mut self.pool);
        self.sent += leaves as u64;
        self.queued -= leaves;
    }

    fn tell(&mut self) {
        loop {
            let expected = match self.marks.front() {
                Some(&(position, who)) if position <= self.sent => Some(who),
                _ => None,
            };
            assert_eq!(self.writer.pop_reached_mark(), expected, "told when his last byte has left");
            if expected.is_none() {
                return;
            }
            self.marks.pop_front();
        }
    }
}

/// Carries them out on both, and panics where they differ.
pub fn run(operations: &[Operation]) {
    let mut world = World {
        writer: SendQueue::default(),
        pool: BufferPool::default(),
        sent: 0,
        queued: 0,
        marks: VecDeque::new(),
        next_mark: 0,
    };
    for operation in operations {
        match *operation {
            Operation::Push(sort, len) => world.push(sort, len),
            Operation::Mark => world.mark(),
            Operation::Burst(many) => {
                for n in 0..many {
                    // Some too large to be gathered, so that there are many chunks.
                    world.push(Sort::Owned, if n % 3 == 0 { 2049 } else { n % 5 });
                    world.mark();
                }
            }
            Operation::Send { pieces, share } => world.send(pieces, |len| len * share / 16),
            Operation::SendAllBut(rest) => world.send(10_000, |len| len.saturating_sub(rest)),
            Operation::Settle => world.writer.compact(&mut world.pool),
            Operation::Pass(count) if world.queued == 0 => {
                world.writer.skip(count);
                world.sent += count as u64;
            }
            Operation::Pass(_) => {}
            Operation::Tell => world.tell(),
            Operation::GiveUpOne => {
                let expected = world.marks.pop_front().map(|(_, who)| who);
                assert_eq!(world.writer.pop_mark(), expected);
            }
            Operation::Clear => {
                world.tell();
                world.writer.clear(&mut world.pool);
                world.queued = 0;
                while let Some((_, who)) = world.marks.pop_front() {
                    assert_eq!(world.writer.pop_mark(), Some(who));
                }
                assert_eq!(world.writer.pop_mark(), None);
            }
        }
        world.writer.verify();
        assert_eq!(world.writer.queued(), world.queued);
    }
    // To the end: everything leaves, and everybody is told.
    while world.queued > 0 {
        world.send(3, |len| len);
    }
    world.tell();
    assert!(world.marks.is_empty());
    assert_eq!(world.writer.pieces(&mut [IoSlice::new(&[])]), (0, 0));
}
