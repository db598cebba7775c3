//! Files: what workers do, and what the loop does itself because the kernel has it in memory.

mod blocking;
mod descriptor;

// Elsewhere it cannot be told what would block.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod cached;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "uncached.rs"]
mod cached;

pub(crate) use blocking::Blocking;
pub(crate) use cached::Cached;
pub(crate) use descriptor::Descriptor;
