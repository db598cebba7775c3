//! What every handle has, whatever its kind: an id, flags, a slot in the table.
//!
//! Knows no kind, no loop, no callback and no system.

pub(crate) mod flags;
mod id;
mod kind;
mod origin;
pub(crate) mod request;
pub(crate) mod table;

pub use id::Handle;
pub(crate) use id::Key;
pub use kind::Kind;
pub(crate) use origin::Callee;
pub use origin::Origin;
pub use request::Request;
