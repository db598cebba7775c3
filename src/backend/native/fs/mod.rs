//! Files: what workers do, and what the loop does itself because it is in memory.

pub(super) mod blocking;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) mod cached;
mod descriptor;

pub(crate) use descriptor::Descriptor;

/// Elsewhere nobody can tell what would block.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) mod cached {
    use crate::{
        backend::job::{Job, Outcome},
        error::Error,
    };

    pub(crate) fn attempt(_: &mut Job) -> Option<Result<Outcome, Error>> {
        None
    }

    pub(crate) fn learn(_: &std::path::Path) {}
}
