//! Buffers for bytes that have to wait: straight from the system, and straight back to it.
//!
//! What a thousand peers who do not read are owed may be a gigabyte, and it is freed in any order. A heap
//! keeps all of that for itself as long as its last piece is in use; a mapping is gone when it is unmapped.
//! Pages that were not written to cost nothing.

use std::{ptr, ptr::NonNull, slice};

/// A buffer of a fixed size, filled from the front.
///
/// 1. `start` is a mapping of `SIZE` bytes that nothing else refers to, or `heap` stands for it.
/// 2. The first `len` bytes were written; `len <= SIZE`.
#[derive(Debug)]
pub(crate) struct Pages {
    start: Option<NonNull<u8>>,
    len: usize,
    /// Used when the system gives no more mappings.
    heap: Vec<u8>,
}

impl Pages {
    pub(crate) const SIZE: usize = 64 << 10;

    pub(crate) fn new() -> Pages {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
        // SAFETY: a new mapping at an address that the system chooses touches no memory that there is.
        let start = unsafe { libc::mmap(ptr::null_mut(), Pages::SIZE, access, kind, -1, 0) };
        let start = if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) };
        Pages { start, len: 0, heap: Vec::new() }
    }

    /// How much can be added.
    pub(crate) fn room(&self) -> usize {
        Pages::SIZE - self.bytes().len()
    }

    /// Adds as much as there is room for, and says how much that was.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        match self.start {
            // SAFETY: from `len` on there is room for `count` bytes in the mapping, which only `self` refers
            // to, so that `bytes` cannot overlap it.
            Some(start) => unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr().add(self.len), count);
                self.len += count;
            },
            None => self.heap.extend_from_slice(&bytes[..count]),
        }
        count
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self.start {
            // SAFETY: the first `len` bytes of the mapping were written, and live as long as `self`.
            Some(start) => unsafe { slice::from_raw_parts(start.as_ptr(), self.len) },
            None => &self.heap,
        }
    }

    /// Makes it empty, to be filled again.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.heap.clear();
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            // SAFETY: the mapping was made in `new` with this size, and nothing refers to it any more.
            unsafe { libc::munmap(start.as_ptr().cast(), Pages::SIZE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_filled_from_the_front_until_they_are_full() {
        for heap in [false, true] {
            let mut pages = Pages::new();
            if heap {
                drop(std::mem::replace(&mut pages, Pages { start: None, len: 0, heap: Vec::new() }));
            }
            assert_eq!(pages.fill(b"hello"), 5);
            assert_eq!(pages.fill(&vec![7; Pages::SIZE]), Pages::SIZE - 5);
            assert_eq!((pages.room(), pages.fill(b"x")), (0, 0));
            assert_eq!(&pages.bytes()[..6], b"hello\x07");
            pages.clear();
            assert_eq!((pages.room(), pages.bytes()), (Pages::SIZE, &b""[..]));
        }
    }
}
