//! Constants that were tuned on one machine (two cores of a virtual machine), and how each was measured.

/// Cached files up to this size are read by the loop. Copying more would hold up the loop for longer than a worker's
/// round trip takes (6 µs and more). `benches/compare --only read_files`
pub(super) const CACHED_READ_MAX: usize = 256 << 10;
