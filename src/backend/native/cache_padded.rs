//! Keeps what different threads write on cache lines of their own.

/// A value alone on its cache lines, as crossbeam's `CachePadded`.
///
/// Aligned to two lines of 64 bytes, because x86-64 processors prefetch lines in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct CachePadded<T>(pub(super) T);
