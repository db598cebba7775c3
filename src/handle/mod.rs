//! What every handle is, whatever it does: an id, a state, a slot in the table.
//!
//! Nothing here knows a kind's business, a callback or the system.

pub(crate) mod flags;
mod id;
mod kind;
mod origin;
pub(crate) mod request;
pub(crate) mod table;

pub use id::Handle;
pub(crate) use id::{Key, typed_handle};
pub use kind::Kind;
pub(crate) use origin::Callee;
pub use origin::Origin;
pub use request::Request;
