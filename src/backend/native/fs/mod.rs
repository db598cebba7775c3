//! Files: for workers, which may block, and for the loop, with what the kernel has in memory.

mod blocking;
mod descriptor;

// Other systems do not report what would block.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod cached;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "uncached.rs"]
mod cached;

pub(crate) use blocking::Blocking;
pub(crate) use cached::Cached;
pub(crate) use descriptor::Descriptor;
