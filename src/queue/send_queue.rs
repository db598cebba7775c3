//! The write queue of a stream, as a pure machine: told what to send and what was sent, it says what
//! is next and who may be told. No I/O inside.
//!
//! Small pieces are gathered into one buffer, so that many small writes leave in one system call and
//! cost no allocation each; the buffers come from a common stock, so that a stream whose queue is
//! empty owns none. What is more than a buffer holds has to wait, most likely, and goes to whole pages,
//! which the system gets back when it has left. Large pieces that were given away are queued as they are.

use std::{collections::VecDeque, io::IoSlice, rc::Rc, sync::Arc};

use crate::{backend::PageBuf, payload::Payload};

/// A gathered buffer is not grown beyond this: what follows goes to pages.
const GATHERED_MAX: usize = 16 << 10;
/// Pieces up to this size are copied even if they were given away: cheaper than a piece of their own.
const COPIED_MAX: usize = 2 << 10;
/// What a new buffer has room for: most need no more, and a smaller one would be moved as it grows.
const GATHERED_MIN: usize = 1 << 10;
/// Buffers, and pages, in stock, all streams of a loop together.
const STOCK_MAX: usize = 32;
/// Above that only buffers up to this size are taken back, and only so many: a broadcast to hundreds of streams fills
/// one for each.
const SMALL_MAX: usize = 2 << 10;
const STOCK_SMALL_MAX: usize = 512;

/// Empty buffers, for whoever gathers next.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    pages: Vec<PageBuf>,
}

impl BufferPool {
    fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(GATHERED_MIN))
    }

    fn pages(&mut self) -> PageBuf {
        self.pages.pop().unwrap_or_else(PageBuf::new)
    }

    /// Takes back what a chunk was made of.
    #[inline(always)]
    fn give(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Gathered(mut buffer) if self.buffers.len() < STOCK_MAX => {
                buffer.clear();
                self.buffers.push(buffer);
            }
            chunk => self.give_other(chunk),
        }
    }

    #[inline(never)]
    fn give_other(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Gathered(mut buffer)
                if buffer.capacity() <= SMALL_MAX && self.buffers.len() < STOCK_SMALL_MAX =>
            {
                buffer.clear();
                self.buffers.push(buffer);
            }
            Chunk::Paged(mut pages) if self.pages.len() < STOCK_MAX => {
                pages.clear();
                self.pages.push(pages);
            }
            _ => {}
        }
    }
}

#[derive(Debug)]
enum Chunk {
    /// Pieces copied together; more may follow.
    Gathered(Vec<u8>),
    /// The same, in pages.
    Paged(PageBuf),
    Owned(Vec<u8>),
    Rc(Rc<[u8]>),
    Arc(Arc<[u8]>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Gathered(bytes) | Chunk::Owned(bytes) => bytes,
            Chunk::Paged(pages) => pages.bytes(),
            Chunk::Rc(bytes) => bytes,
            Chunk::Arc(bytes) => bytes,
        }
    }
}

/// The queue. `M` is what stands for somebody who wants to know when his bytes have left.
///
/// 1. `queued` is the sum of the chunks' lengths, less `offset`.
/// 2. `offset` is less than the first chunk's length; 0 if there is none. No chunk is empty.
/// 3. Without a `head` there is no chunk.
#[derive(Debug)]
pub(crate) struct SendQueue<M> {
    head: Option<Chunk>,
    offset: usize,
    queued: usize,
    more: Option<Box<More<M>>>,
}

/// What a queue of one chunk that nobody waits for does without, as most are: made when it is first needed.
///
/// 1. `marks` are in order of position; each is after `sent` and not after `sent + queued`, or due.
#[derive(Debug)]
struct More<M> {
    /// The chunks behind the head.
    rest: VecDeque<Chunk>,
    /// Who waits, and until how many bytes have left.
    marks: VecDeque<(u64, M)>,
    /// How many bytes have left since this was made.
    sent: u64,
}

/// Places for chunks, or marks, that a queue keeps when it is empty. A burst of thousands would otherwise keep
/// theirs for ever.
const PLACES_MAX: usize = 64;

impl<M> Default for SendQueue<M> {
    fn default() -> Self {
        SendQueue { head: None, offset: 0, queued: 0, more: None }
    }
}

impl<M> Default for More<M> {
    fn default() -> Self {
        More { rest: VecDeque::new(), marks: VecDeque::new(), sent: 0 }
    }
}

impl<M> SendQueue<M> {
    /// Queues bytes behind those that are there.
    #[inline(always)]
    pub(crate) fn push(&mut self, payload: Payload<'_>, stock: &mut BufferPool) {
        match payload {
            Payload::Borrowed(bytes) => self.copy(bytes, stock),
            payload => self.push_owned(payload, stock),
        }
    }

    fn push_owned(&mut self, payload: Payload<'_>, stock: &mut BufferPool) {
        let len = payload.as_bytes().len();
        let chunk = match payload {
            Payload::Owned(bytes) if len > COPIED_MAX => Chunk::Owned(bytes),
            Payload::Rc(bytes) if len > COPIED_MAX => Chunk::Rc(bytes),
            Payload::Arc(bytes) if len > COPIED_MAX => Chunk::Arc(bytes),
            payload => return self.copy(payload.as_bytes(), stock),
        };
        self.queued += len;
        self.enqueue(chunk);
    }

    #[inline(always)]
    fn copy(&mut self, bytes: &[u8], stock: &mut BufferPool) {
        match (&mut self.head, &self.more) {
            (Some(Chunk::Gathered(only)), None) if only.len() + bytes.len() <= GATHERED_MAX => {
                only.extend_from_slice(bytes);
            }
            (None, _) if (1..=GATHERED_MAX).contains(&bytes.len()) => {
                let mut buffer = stock.buffer();
                buffer.extend_from_slice(bytes);
                self.head = Some(Chunk::Gathered(buffer));
            }
            _ => self.gather(bytes, stock),
        }
        self.queued += bytes.len();
    }

    /// Fills the last chunk, and then others.
    fn gather(&mut self, mut bytes: &[u8], stock: &mut BufferPool) {
        if bytes.is_empty() {
            return;
        }
        let last = match &mut self.more {
            Some(more) if !more.rest.is_empty() => more.rest.back_mut(),
            _ => self.head.as_mut(),
        };
        match last {
            Some(Chunk::Gathered(last)) if last.len() + bytes.len() <= GATHERED_MAX => {
                return last.extend_from_slice(bytes);
            }
            Some(Chunk::Paged(last)) => bytes = &bytes[last.fill(bytes)..],
            // Full: there is much to wait for.
            Some(Chunk::Gathered(_)) => {}
            _ if bytes.len() <= GATHERED_MAX => {
                let mut buffer = stock.buffer();
                buffer.extend_from_slice(bytes);
                return self.enqueue(Chunk::Gathered(buffer));
            }
            _ => {}
        }
        while !bytes.is_empty() {
            let mut pages = stock.pages();
            bytes = &bytes[pages.fill(bytes)..];
            self.enqueue(Chunk::Paged(pages));
        }
    }

    fn enqueue(&mut self, chunk: Chunk) {
        if self.head.is_none() {
            self.head = Some(chunk);
        } else {
            self.more().rest.push_back(chunk);
        }
    }

    fn more(&mut self) -> &mut More<M> {
        self.more.get_or_insert_default()
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.head.iter().chain(self.more.iter().flat_map(|more| &more.rest))
    }

    fn has_rest(&self) -> bool {
        self.more.as_ref().is_some_and(|more| !more.rest.is_empty())
    }

    /// Asks to be told once everything queued until now has left.
    pub(crate) fn mark(&mut self, who: M) {
        let queued = self.queued as u64;
        let more = self.more();
        more.marks.push_back((more.sent + queued, who));
    }

    /// Fills in what to send next, in order. Says how many pieces, and how many bytes in all.
    pub(crate) fn pieces<'a>(&'a self, pieces: &mut [IoSlice<'a>]) -> (usize, usize) {
        let mut offset = self.offset;
        let mut bytes = 0;
        let mut count = 0;
        for (place, chunk) in pieces.iter_mut().zip(self.chunks()) {
            *place = IoSlice::new(&chunk.bytes()[offset..]);
            bytes += place.len();
            offset = 0;
            count += 1;
        }
        (count, bytes)
    }

    /// All that is queued, if it is one piece.
    pub(crate) fn only_piece(&self) -> Option<&[u8]> {
        match &self.head {
            // Most often; the others would be told apart by a jump that is hard to foresee.
            Some(Chunk::Gathered(only)) if self.more.is_none() => Some(&only[self.offset..]),
            Some(only) if !self.has_rest() => Some(&only.bytes()[self.offset..]),
            _ => None,
        }
    }

    /// Was told that this many bytes have left.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: usize, stock: &mut BufferPool) {
        assert!(count <= self.queued, "no more can leave than was queued");
        if self.more.is_some() || count < self.queued {
            return self.advance_some(count, stock);
        }
        // The ordinary case: one chunk, and all of it.
        self.queued = 0;
        self.offset = 0;
        if let Some(chunk) = self.head.take() {
            stock.give(chunk);
        }
    }

    fn advance_some(&mut self, count: usize, stock: &mut BufferPool) {
        self.queued -= count;
        self.offset += count;
        while let Some(first) = &self.head {
            let len = first.bytes().len();
            if self.offset < len {
                break;
            }
            self.offset -= len;
            let next = self.more.as_mut().and_then(|more| more.rest.pop_front());
            if let Some(chunk) = std::mem::replace(&mut self.head, next) {
                stock.give(chunk);
            }
        }
        if let Some(more) = &mut self.more {
            more.sent += count as u64;
            if more.rest.is_empty() && more.rest.capacity() > PLACES_MAX {
                more.rest = VecDeque::new();
            }
        }
    }

    /// Bytes that never were queued have left ahead of everything: only when the queue is empty.
    pub(crate) fn pass(&mut self, count: usize) {
        assert_eq!(self.queued, 0, "nothing passes what is queued");
        if let Some(more) = &mut self.more {
            more.sent += count as u64;
        }
    }

    /// What is left will have to wait. A small rest in a large buffer moves to one of its size, so that
    /// a thousand peers who do not read hold what they are owed and no more.
    pub(crate) fn settle(&mut self, stock: &mut BufferPool) {
        if self.has_rest() {
            return;
        }
        let Some(Chunk::Gathered(buffer)) = &mut self.head else { return };
        let rest = buffer.len() - self.offset;
        if rest * 4 < buffer.capacity() {
            let small = buffer[self.offset..].to_vec();
            stock.give(Chunk::Gathered(std::mem::replace(buffer, small)));
            self.offset = 0;
        }
    }

    /// The next of those who asked, if all of his bytes have left.
    pub(crate) fn next_done(&mut self) -> Option<M> {
        let more = self.more.as_mut()?;
        let (position, _) = more.marks.front()?;
        if *position > more.sent {
            return None;
        }
        let (_, who) = more.marks.pop_front()?;
        if more.marks.is_empty() && more.marks.capacity() > PLACES_MAX {
            more.marks = VecDeque::new();
        }
        Some(who)
    }

    /// The next of those who asked, whatever has left: the queue is being given up.
    pub(crate) fn next_waiting(&mut self) -> Option<M> {
        self.more.as_mut()?.marks.pop_front().map(|(_, who)| who)
    }

    /// Gives up what is queued.
    pub(crate) fn clear(&mut self, stock: &mut BufferPool) {
        let rest = self.more.as_mut().map(|more| std::mem::take(&mut more.rest)).unwrap_or_default();
        for chunk in self.head.take().into_iter().chain(rest) {
            stock.give(chunk);
        }
        self.offset = 0;
        self.queued = 0;
    }

    pub(crate) fn somebody_waits(&self) -> bool {
        self.more.as_ref().is_some_and(|more| !more.marks.is_empty())
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        let total: usize = self.chunks().map(|chunk| chunk.bytes().len()).sum();
        assert_eq!(total - self.offset, self.queued, "the count of queued bytes is kept");
        assert!(self.chunks().all(|chunk| !chunk.bytes().is_empty()), "no chunk is empty");
        assert!(
            self.offset < self.head.as_ref().map_or(1, |first| first.bytes().len()),
            "the offset is in the first"
        );
        assert!(self.head.is_some() || !self.has_rest(), "without a first chunk there is none");
        let Some(more) = &self.more else { return };
        let positions: Vec<u64> = more.marks.iter().map(|(position, _)| *position).collect();
        assert!(positions.is_sorted(), "marks are in order");
        assert!(
            positions.iter().all(|&position| position <= more.sent + self.queued as u64),
            "marks are within"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes up to `most` bytes, as a system that sends would.
    fn send(writer: &mut SendQueue<u32>, stock: &mut BufferPool, most: usize) -> Vec<u8> {
        let mut pieces = [IoSlice::new(&[]); 4];
        let (count, _) = writer.pieces(&mut pieces);
        let all: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect();
        let sent = all[..all.len().min(most)].to_vec();
        writer.advance(sent.len(), stock);
        writer.verify();
        sent
    }

    #[test]
    fn small_writes_leave_as_one_piece() {
        let (mut writer, mut stock) = (SendQueue::default(), BufferPool::default());
        for word in ["one ", "two ", "three"] {
            writer.push(word.into(), &mut stock);
        }
        writer.push(String::from(" four").into(), &mut stock);
        assert_eq!(writer.pieces(&mut [IoSlice::new(&[]); 4]), (1, 18));
        assert_eq!(send(&mut writer, &mut stock, 100), b"one two three four");
        assert_eq!(writer.queued(), 0);
    }

    #[test]
    fn large_owned_bytes_are_never_copied() {
        let (mut writer, mut stock) = (SendQueue::<u32>::default(), BufferPool::default());
        let large = vec![7_u8; 10_000];
        let place = large.as_ptr();
        writer.push("head".into(), &mut stock);
        writer.push(large.into(), &mut stock);
        let mut pieces = [IoSlice::new(&[]); 4];
        assert_eq!(writer.pieces(&mut pieces), (2, 10_004));
        assert_eq!(pieces[1].as_ptr(), place);
    }

    #[test]
    fn what_was_partly_sent_goes_on_where_it_stopped() {
        let (mut writer, mut stock) = (SendQueue::default(), BufferPool::default());
        let text: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        writer.push(text[..50_000].into(), &mut stock);
        writer.push(text[50_000..].to_vec().into(), &mut stock);
        let mut got = Vec::new();
        for most in (1..).map(|step| step * 37) {
            if writer.queued() == 0 {
                break;
            }
            got.extend(send(&mut writer, &mut stock, most));
        }
        assert_eq!(got, text);
    }

    #[test]
    fn whoever_waits_is_told_when_his_last_byte_has_left_and_in_order() {
        let (mut writer, mut stock) = (SendQueue::default(), BufferPool::default());
        writer.push("aaaa".into(), &mut stock);
        writer.mark(1);
        writer.push("bb".into(), &mut stock);
        writer.mark(2);
        writer.mark(3);
        send(&mut writer, &mut stock, 3);
        assert_eq!(writer.next_done(), None);
        send(&mut writer, &mut stock, 1);
        assert_eq!(writer.next_done(), Some(1));
        assert_eq!(writer.next_done(), None);
        send(&mut writer, &mut stock, 2);
        assert_eq!(writer.next_done(), Some(2));
        assert_eq!(writer.next_done(), Some(3));
    }

    #[test]
    fn buffers_are_used_again() {
        let (mut writer, mut stock) = (SendQueue::<u32>::default(), BufferPool::default());
        writer.push("first".into(), &mut stock);
        let mut pieces = [IoSlice::new(&[])];
        writer.pieces(&mut pieces);
        let place = pieces[0].as_ptr();
        writer.advance(5, &mut stock);
        writer.push("other".into(), &mut stock);
        let mut pieces = [IoSlice::new(&[])];
        writer.pieces(&mut pieces);
        assert_eq!(pieces[0].as_ptr(), place);
    }

    #[test]
    fn what_is_more_than_a_buffer_holds_fills_pages() {
        let (mut writer, mut stock) = (SendQueue::<u32>::default(), BufferPool::default());
        for _ in 0..100 {
            writer.push(vec![1_u8; 3000][..].into(), &mut stock);
        }
        writer.verify();
        let mut pieces = [IoSlice::new(&[]); 10];
        let (count, bytes) = writer.pieces(&mut pieces);
        assert_eq!((count, bytes), (6, 300_000), "one buffer, and pages that are full but the last");
        writer.advance(300_000, &mut stock);
        assert_eq!((stock.buffers.len(), stock.pages.len()), (1, 5));
    }

    #[test]
    fn a_small_rest_does_not_hold_a_large_buffer() {
        let (mut writer, mut stock) = (SendQueue::<u32>::default(), BufferPool::default());
        writer.push(vec![1_u8; 10_000][..].into(), &mut stock);
        writer.advance(9_990, &mut stock);
        writer.settle(&mut stock);
        writer.verify();
        assert_eq!(stock.buffers.len(), 1);
        assert_eq!(send(&mut writer, &mut stock, 100), [1; 10]);
    }
}
