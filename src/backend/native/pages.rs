//! Buffers for bytes that wait to be sent, mapped from the system and unmapped when freed.
//!
//! The send queues of a thousand stalled peers may hold a gigabyte, freed in any order. `malloc` keeps freed
//! memory that lies below a block in use; `munmap` returns it at once. Pages that were never written cost
//! nothing.

use std::{ptr, ptr::NonNull, slice};

/// A buffer of a fixed capacity, filled from the front.
#[derive(Debug)]
pub(crate) struct PageBuf(Memory);

#[derive(Debug)]
enum Memory {
    /// 1. `start` is a mapping of `SIZE` bytes that nothing else refers to.
    /// 2. The first `len` bytes are initialized; `len <= SIZE`.
    Mapping { start: NonNull<u8>, len: usize },
    /// Used when `mmap` fails, as it does at the limit of mappings.
    Heap(Vec<u8>),
}

impl PageBuf {
    /// Capacity in bytes.
    pub(crate) const SIZE: usize = 64 << 10;

    pub(crate) fn new() -> PageBuf {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: the system chooses the address, so the new mapping overlaps no memory in use.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), PageBuf::SIZE, access, kind, -1, 0) };
        match NonNull::new(mapped.cast()) {
            Some(start) if mapped != libc::MAP_FAILED => PageBuf(Memory::Mapping { start, len: 0 }),
            _ => PageBuf(Memory::Heap(Vec::new())),
        }
    }

    /// Returns the number of bytes that still fit.
    pub(crate) fn room(&self) -> usize {
        PageBuf::SIZE - self.bytes().len()
    }

    /// Appends as many bytes as fit. Returns their number.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        match &mut self.0 {
            // SAFETY: `count` bytes fit behind `len` in the mapping. Only `self` refers to it, so `bytes`
            // cannot overlap it.
            Memory::Mapping { start, len } => unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr().add(*len), count);
                *len += count;
            },
            Memory::Heap(heap) => heap.extend_from_slice(&bytes[..count]),
        }
        count
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.0 {
            // SAFETY: the first `len` bytes of the mapping are initialized, and live as long as `self`.
            Memory::Mapping { start, len } => unsafe { slice::from_raw_parts(start.as_ptr(), *len) },
            Memory::Heap(heap) => heap,
        }
    }

    /// Empties the buffer, so that it can be filled again.
    pub(crate) fn clear(&mut self) {
        match &mut self.0 {
            Memory::Mapping { len, .. } => *len = 0,
            Memory::Heap(heap) => heap.clear(),
        }
    }
}

impl Drop for PageBuf {
    fn drop(&mut self) {
        if let Memory::Mapping { start, .. } = self.0 {
            // SAFETY: the mapping was made in `new` with this size, and nothing else refers to it.
            unsafe { libc::munmap(start.as_ptr().cast(), PageBuf::SIZE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_filled_from_the_front_until_full() {
        for heap in [false, true] {
            let mut pages = if heap { PageBuf(Memory::Heap(Vec::new())) } else { PageBuf::new() };
            assert_eq!(pages.fill(b"hello"), 5);
            assert_eq!(pages.fill(&vec![7; PageBuf::SIZE]), PageBuf::SIZE - 5);
            assert_eq!((pages.room(), pages.fill(b"x")), (0, 0));
            assert_eq!(&pages.bytes()[..6], b"hello\x07");
            pages.clear();
            assert_eq!((pages.room(), pages.bytes()), (PageBuf::SIZE, &b""[..]));
        }
    }
}
