//! Bytes to send, in order, and marks that report when they have been sent. A pure state machine without I/O.
//!
//! Small writes are coalesced into one buffer, so that they leave in one system call and need no allocation
//! each. The buffers come from a pool that all streams of a loop share, so a stream with an empty queue owns
//! none. What does not fit a buffer will probably wait for a slow peer: it goes to whole pages, which return
//! to the system once they are sent. Large payloads that the caller gave away are queued without a copy.

use std::{collections::VecDeque, io::IoSlice, rc::Rc, sync::Arc};

use crate::{backend::PageBuf, payload::Payload};

/// A coalesced buffer does not grow beyond this; what follows goes to pages.
const COALESCED_MAX: usize = 16 << 10;
/// Payloads up to this size are copied even if they were given away: a copy is cheaper than a chunk of its
/// own.
const COPIED_MAX: usize = 2 << 10;
/// Capacity of a new buffer: enough for most, and a smaller one would be moved as it grows.
const NEW_CAPACITY: usize = 1 << 10;
/// Buffers, and page buffers, that a pool keeps.
const POOL_MAX: usize = 32;
/// Beyond `POOL_MAX` a pool keeps only buffers of up to `SMALL_MAX` bytes, `POOL_SMALL_MAX` in all: a
/// broadcast to hundreds of streams fills one for each.
const SMALL_MAX: usize = 2 << 10;
const POOL_SMALL_MAX: usize = 512;
/// Capacity for chunks, and for marks, that an empty queue keeps after a burst.
const CAPACITY_KEPT: usize = 64;

/// Empty buffers, shared by the queues of a loop.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    pages: Vec<PageBuf>,
}

impl BufferPool {
    fn take_buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(NEW_CAPACITY))
    }

    fn take_pages(&mut self) -> PageBuf {
        self.pages.pop().unwrap_or_else(PageBuf::new)
    }

    /// Keeps the memory of a chunk for later chunks, or frees it.
    #[inline(always)]
    fn recycle(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Coalesced(mut buffer) if self.buffers.len() < POOL_MAX => {
                buffer.clear();
                self.buffers.push(buffer);
            }
            chunk => self.recycle_slow(chunk),
        }
    }

    #[inline(never)]
    fn recycle_slow(&mut self, chunk: Chunk) {
        match chunk {
            Chunk::Coalesced(mut buffer)
                if buffer.capacity() <= SMALL_MAX && self.buffers.len() < POOL_SMALL_MAX =>
            {
                buffer.clear();
                self.buffers.push(buffer);
            }
            Chunk::Paged(mut pages) if self.pages.len() < POOL_MAX => {
                pages.clear();
                self.pages.push(pages);
            }
            _ => {}
        }
    }
}

#[derive(Debug)]
enum Chunk {
    /// Small payloads copied into one buffer, which may still grow.
    Coalesced(Vec<u8>),
    /// Payloads copied into pages, which may have room left.
    Paged(PageBuf),
    Owned(Vec<u8>),
    Rc(Rc<[u8]>),
    Arc(Arc<[u8]>),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Coalesced(bytes) | Chunk::Owned(bytes) => bytes,
            Chunk::Paged(pages) => pages.bytes(),
            Chunk::Rc(bytes) => bytes,
            Chunk::Arc(bytes) => bytes,
        }
    }
}

/// The queue. `M` is a mark: what to report when the bytes before it have been sent.
///
/// 1. `queued` is the sum of the chunks' lengths, less `offset`.
/// 2. `offset` is less than the length of the first chunk, or 0 if there is none. No chunk is empty.
/// 3. Without a `head` there is no chunk.
#[derive(Debug)]
pub(crate) struct SendQueue<M> {
    head: Option<Chunk>,
    /// Bytes of `head` that have been sent.
    offset: usize,
    queued: usize,
    extra: Option<Box<Extra<M>>>,
}

/// What a queue needs beyond one chunk without marks. Most never do, so it is allocated when first needed.
///
/// 1. `marks` are sorted by position. None is beyond `sent + queued`.
#[derive(Debug)]
struct Extra<M> {
    /// The chunks behind the head.
    tail: VecDeque<Chunk>,
    /// Each with its position: how many bytes have been sent when it is reached.
    marks: VecDeque<(u64, M)>,
    /// Bytes sent since this was allocated.
    sent: u64,
}

impl<M> Default for SendQueue<M> {
    fn default() -> Self {
        SendQueue { head: None, offset: 0, queued: 0, extra: None }
    }
}

impl<M> Default for Extra<M> {
    fn default() -> Self {
        Extra { tail: VecDeque::new(), marks: VecDeque::new(), sent: 0 }
    }
}

impl<M> SendQueue<M> {
    /// Appends bytes.
    #[inline(always)]
    pub(crate) fn push(&mut self, payload: Payload<'_>, pool: &mut BufferPool) {
        match payload {
            Payload::Borrowed(bytes) => self.copy(bytes, pool),
            payload => self.push_owned(payload, pool),
        }
    }

    fn push_owned(&mut self, payload: Payload<'_>, pool: &mut BufferPool) {
        let len = payload.as_bytes().len();
        let chunk = match payload {
            Payload::Owned(bytes) if len > COPIED_MAX => Chunk::Owned(bytes),
            Payload::Rc(bytes) if len > COPIED_MAX => Chunk::Rc(bytes),
            Payload::Arc(bytes) if len > COPIED_MAX => Chunk::Arc(bytes),
            payload => return self.copy(payload.as_bytes(), pool),
        };
        self.queued += len;
        self.enqueue(chunk);
    }

    #[inline(always)]
    fn copy(&mut self, bytes: &[u8], pool: &mut BufferPool) {
        match (&mut self.head, &self.extra) {
            (Some(Chunk::Coalesced(only)), None) if only.len() + bytes.len() <= COALESCED_MAX => {
                only.extend_from_slice(bytes);
            }
            (None, _) if (1..=COALESCED_MAX).contains(&bytes.len()) => {
                let mut buffer = pool.take_buffer();
                buffer.extend_from_slice(bytes);
                self.head = Some(Chunk::Coalesced(buffer));
            }
            _ => self.coalesce(bytes, pool),
        }
        self.queued += bytes.len();
    }

    /// Copies bytes to the last chunk, and what does not fit it to new ones.
    fn coalesce(&mut self, mut bytes: &[u8], pool: &mut BufferPool) {
        if bytes.is_empty() {
            return;
        }
        let last = match &mut self.extra {
            Some(extra) if !extra.tail.is_empty() => extra.tail.back_mut(),
            _ => self.head.as_mut(),
        };
        match last {
            Some(Chunk::Coalesced(last)) if last.len() + bytes.len() <= COALESCED_MAX => {
                return last.extend_from_slice(bytes);
            }
            Some(Chunk::Paged(last)) => bytes = &bytes[last.fill(bytes)..],
            // The buffer is full, so the queue is long: use pages.
            Some(Chunk::Coalesced(_)) => {}
            _ if bytes.len() <= COALESCED_MAX => {
                let mut buffer = pool.take_buffer();
                buffer.extend_from_slice(bytes);
                return self.enqueue(Chunk::Coalesced(buffer));
            }
            _ => {}
        }
        while !bytes.is_empty() {
            let mut pages = pool.take_pages();
            bytes = &bytes[pages.fill(bytes)..];
            self.enqueue(Chunk::Paged(pages));
        }
    }

    fn enqueue(&mut self, chunk: Chunk) {
        if self.head.is_none() {
            self.head = Some(chunk);
        } else {
            self.extra().tail.push_back(chunk);
        }
    }

    fn extra(&mut self) -> &mut Extra<M> {
        self.extra.get_or_insert_default()
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.head.iter().chain(self.extra.iter().flat_map(|extra| &extra.tail))
    }

    fn has_tail(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.tail.is_empty())
    }

    /// Sets a mark behind everything that is queued now.
    pub(crate) fn mark(&mut self, mark: M) {
        let queued = self.queued as u64;
        let extra = self.extra();
        extra.marks.push_back((extra.sent + queued, mark));
    }

    /// Fills `pieces` with what to send next, in order. Returns the number of pieces, and of bytes in them.
    pub(crate) fn pieces<'a>(&'a self, pieces: &mut [IoSlice<'a>]) -> (usize, usize) {
        let mut offset = self.offset;
        let mut bytes = 0;
        let mut count = 0;
        for (piece, chunk) in pieces.iter_mut().zip(self.chunks()) {
            *piece = IoSlice::new(&chunk.bytes()[offset..]);
            bytes += piece.len();
            offset = 0;
            count += 1;
        }
        (count, bytes)
    }

    /// Returns everything that is queued, if it is one piece.
    pub(crate) fn only_piece(&self) -> Option<&[u8]> {
        match &self.head {
            // The usual case, tested first: a match over all variants is a jump that predicts badly.
            Some(Chunk::Coalesced(only)) if self.extra.is_none() => Some(&only[self.offset..]),
            Some(only) if !self.has_tail() => Some(&only.bytes()[self.offset..]),
            _ => None,
        }
    }

    /// Removes the first `count` bytes, because they were sent.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: usize, pool: &mut BufferPool) {
        assert!(count <= self.queued, "no more bytes are sent than were queued");
        if self.extra.is_some() || count < self.queued {
            return self.advance_slow(count, pool);
        }
        // The usual case: the whole of a single chunk.
        self.queued = 0;
        self.offset = 0;
        if let Some(chunk) = self.head.take() {
            pool.recycle(chunk);
        }
    }

    fn advance_slow(&mut self, count: usize, pool: &mut BufferPool) {
        self.queued -= count;
        self.offset += count;
        while let Some(first) = &self.head {
            let len = first.bytes().len();
            if self.offset < len {
                break;
            }
            self.offset -= len;
            let next = self.extra.as_mut().and_then(|extra| extra.tail.pop_front());
            if let Some(chunk) = std::mem::replace(&mut self.head, next) {
                pool.recycle(chunk);
            }
        }
        if let Some(extra) = &mut self.extra {
            extra.sent += count as u64;
            if extra.tail.is_empty() && extra.tail.capacity() > CAPACITY_KEPT {
                extra.tail = VecDeque::new();
            }
        }
    }

    /// Counts bytes that were sent without being queued. The queue must be empty.
    pub(crate) fn skip(&mut self, count: usize) {
        assert_eq!(self.queued, 0, "no bytes are sent ahead of those queued");
        if let Some(extra) = &mut self.extra {
            extra.sent += count as u64;
        }
    }

    /// Moves a small remainder out of a large buffer, because it will have to wait.
    ///
    /// So a thousand stalled peers hold as much memory as their unsent bytes need, and no more.
    pub(crate) fn compact(&mut self, pool: &mut BufferPool) {
        if self.has_tail() {
            return;
        }
        let Some(Chunk::Coalesced(buffer)) = &mut self.head else { return };
        let unsent = buffer.len() - self.offset;
        if unsent * 4 < buffer.capacity() {
            let small = buffer[self.offset..].to_vec();
            pool.recycle(Chunk::Coalesced(std::mem::replace(buffer, small)));
            self.offset = 0;
        }
    }

    /// Removes the first mark, if all bytes before it have been sent.
    pub(crate) fn pop_reached_mark(&mut self) -> Option<M> {
        let extra = self.extra.as_mut()?;
        let (position, _) = extra.marks.front()?;
        if *position > extra.sent {
            return None;
        }
        let (_, mark) = extra.marks.pop_front()?;
        if extra.marks.is_empty() && extra.marks.capacity() > CAPACITY_KEPT {
            extra.marks = VecDeque::new();
        }
        Some(mark)
    }

    /// Removes the first mark, reached or not: for a queue that is abandoned.
    pub(crate) fn pop_mark(&mut self) -> Option<M> {
        self.extra.as_mut()?.marks.pop_front().map(|(_, mark)| mark)
    }

    /// Discards what is queued. Marks stay.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        let tail = self.extra.as_mut().map(|extra| std::mem::take(&mut extra.tail)).unwrap_or_default();
        for chunk in self.head.take().into_iter().chain(tail) {
            pool.recycle(chunk);
        }
        self.offset = 0;
        self.queued = 0;
    }

    pub(crate) fn has_marks(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.marks.is_empty())
    }

    /// Returns the number of bytes not yet sent.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Panics unless the invariants hold.
    pub(crate) fn verify(&self) {
        let total: usize = self.chunks().map(|chunk| chunk.bytes().len()).sum();
        assert_eq!(total - self.offset, self.queued, "queued bytes are counted");
        assert!(self.chunks().all(|chunk| !chunk.bytes().is_empty()), "no chunk is empty");
        let first = self.head.as_ref().map_or(1, |first| first.bytes().len());
        assert!(self.offset < first, "the offset is within the first chunk");
        assert!(self.head.is_some() || !self.has_tail(), "a tail has a head");
        let Some(extra) = &self.extra else { return };
        let end = extra.sent + self.queued as u64;
        assert!(extra.marks.iter().map(|(position, _)| position).is_sorted(), "marks are sorted");
        assert!(extra.marks.iter().all(|(position, _)| *position <= end), "no mark is beyond the last byte");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends up to `most` bytes.
    fn send(queue: &mut SendQueue<u32>, pool: &mut BufferPool, most: usize) -> Vec<u8> {
        let mut pieces = [IoSlice::new(&[]); 4];
        let (count, _) = queue.pieces(&mut pieces);
        let all: Vec<u8> = pieces[..count].iter().flat_map(|piece| piece.to_vec()).collect();
        let sent = all[..all.len().min(most)].to_vec();
        queue.advance(sent.len(), pool);
        queue.verify();
        sent
    }

    #[test]
    fn small_writes_leave_as_one_piece() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        for word in ["one ", "two ", "three"] {
            queue.push(word.into(), &mut pool);
        }
        queue.push(String::from(" four").into(), &mut pool);
        assert_eq!(queue.pieces(&mut [IoSlice::new(&[]); 4]), (1, 18));
        assert_eq!(send(&mut queue, &mut pool, 100), b"one two three four");
        assert_eq!(queue.queued(), 0);
    }

    #[test]
    fn large_owned_bytes_are_never_copied() {
        let (mut queue, mut pool) = (SendQueue::<u32>::default(), BufferPool::default());
        let large = vec![7_u8; 10_000];
        let address = large.as_ptr();
        queue.push("head".into(), &mut pool);
        queue.push(large.into(), &mut pool);
        let mut pieces = [IoSlice::new(&[]); 4];
        assert_eq!(queue.pieces(&mut pieces), (2, 10_004));
        assert_eq!(pieces[1].as_ptr(), address);
    }

    #[test]
    fn a_partial_send_resumes_where_it_stopped() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        let text: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        queue.push(text[..50_000].into(), &mut pool);
        queue.push(text[50_000..].to_vec().into(), &mut pool);
        let mut got = Vec::new();
        for most in (1..).map(|step| step * 37) {
            if queue.queued() == 0 {
                break;
            }
            got.extend(send(&mut queue, &mut pool, most));
        }
        assert_eq!(got, text);
    }

    #[test]
    fn marks_are_reached_in_order_when_their_bytes_are_sent() {
        let (mut queue, mut pool) = (SendQueue::default(), BufferPool::default());
        queue.push("aaaa".into(), &mut pool);
        queue.mark(1);
        queue.push("bb".into(), &mut pool);
        queue.mark(2);
        queue.mark(3);
        send(&mut queue, &mut pool, 3);
        assert_eq!(queue.pop_reached_mark(), None);
        send(&mut queue, &mut pool, 1);
        assert_eq!(queue.pop_reached_mark(), Some(1));
        assert_eq!(queue.pop_reached_mark(), None);
        send(&mut queue, &mut pool, 2);
        assert_eq!(queue.pop_reached_mark(), Some(2));
        assert_eq!(queue.pop_reached_mark(), Some(3));
    }

    #[test]
    fn buffers_are_reused() {
        let (mut queue, mut pool) = (SendQueue::<u32>::default(), BufferPool::default());
        queue.push("first".into(), &mut pool);
        let mut pieces = [IoSlice::new(&[])];
        queue.pieces(&mut pieces);
        let address = pieces[0].as_ptr();
        queue.advance(5, &mut pool);
        queue.push("other".into(), &mut pool);
        let mut pieces = [IoSlice::new(&[])];
        queue.pieces(&mut pieces);
        assert_eq!(pieces[0].as_ptr(), address);
    }

    #[test]
    fn bytes_beyond_one_buffer_fill_pages() {
        let (mut queue, mut pool) = (SendQueue::<u32>::default(), BufferPool::default());
        for _ in 0..100 {
            queue.push(vec![1_u8; 3000][..].into(), &mut pool);
        }
        queue.verify();
        let mut pieces = [IoSlice::new(&[]); 10];
        let (count, bytes) = queue.pieces(&mut pieces);
        assert_eq!((count, bytes), (6, 300_000), "one buffer and five pages");
        queue.advance(300_000, &mut pool);
        assert_eq!((pool.buffers.len(), pool.pages.len()), (1, 5));
    }

    #[test]
    fn a_small_remainder_does_not_keep_a_large_buffer() {
        let (mut queue, mut pool) = (SendQueue::<u32>::default(), BufferPool::default());
        queue.push(vec![1_u8; 10_000][..].into(), &mut pool);
        queue.advance(9_990, &mut pool);
        queue.compact(&mut pool);
        queue.verify();
        assert_eq!(pool.buffers.len(), 1);
        assert_eq!(send(&mut queue, &mut pool, 100), [1; 10]);
    }
}
