//! Buffers for bytes that have to wait: straight from the system, and straight back to it.
//!
//! What a thousand peers who do not read are owed may be a gigabyte, and it is freed in any order. A heap
//! keeps all of that for itself as long as its last piece is in use; a mapping is gone when it is unmapped.
//! Pages that were not written to cost nothing.

use std::{ptr, ptr::NonNull, slice};

/// A buffer of a fixed size, filled from the front.
#[derive(Debug)]
pub(crate) struct PageBuf(Memory);

#[derive(Debug)]
enum Memory {
    /// 1. `start` is a mapping of `SIZE` bytes that nothing else refers to.
    /// 2. The first `len` bytes were written; `len <= SIZE`.
    Mapping { start: NonNull<u8>, len: usize },
    /// Used when the system gives no more mappings.
    Heap(Vec<u8>),
}

impl PageBuf {
    pub(crate) const SIZE: usize = 64 << 10;

    pub(crate) fn new() -> PageBuf {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new mapping at an address that the system chooses touches no memory that there is.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), PageBuf::SIZE, access, kind, -1, 0) };
        match NonNull::new(mapped.cast()) {
            Some(start) if mapped != libc::MAP_FAILED => PageBuf(Memory::Mapping { start, len: 0 }),
            _ => PageBuf(Memory::Heap(Vec::new())),
        }
    }

    /// How much can be added.
    pub(crate) fn room(&self) -> usize {
        PageBuf::SIZE - self.bytes().len()
    }

    /// Adds as much as there is room for, and says how much that was.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        match &mut self.0 {
            // SAFETY: from `len` on there is room for `count` bytes in the mapping, which only `self` refers
            // to, so that `bytes` cannot overlap it.
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
            // SAFETY: the first `len` bytes of the mapping were written, and live as long as `self`.
            Memory::Mapping { start, len } => unsafe { slice::from_raw_parts(start.as_ptr(), *len) },
            Memory::Heap(heap) => heap,
        }
    }

    /// Makes it empty, to be filled again.
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
            // SAFETY: the mapping was made in `new` with this size, and nothing refers to it any more.
            unsafe { libc::munmap(start.as_ptr().cast(), PageBuf::SIZE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_filled_from_the_front_until_they_are_full() {
        for heap in [false, true] {
            let mut pages = PageBuf::new();
            if heap {
                drop(std::mem::replace(&mut pages, PageBuf(Memory::Heap(Vec::new()))));
            }
            assert_eq!(pages.fill(b"hello"), 5);
            assert_eq!(pages.fill(&vec![7; PageBuf::SIZE]), PageBuf::SIZE - 5);
            assert_eq!((pages.room(), pages.fill(b"x")), (0, 0));
            assert_eq!(&pages.bytes()[..6], b"hello\x07");
            pages.clear();
            assert_eq!((pages.room(), pages.bytes()), (PageBuf::SIZE, &b""[..]));
        }
    }
}
