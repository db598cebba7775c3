//! What every handle is, whatever it does: an id, a state, a slot in the table.
//!
//! Nothing here knows a kind's business, a callback or the system.

mod id;
mod kind;
pub(crate) mod request;
pub(crate) mod state;
pub(crate) mod table;

pub use id::Handle;
pub(crate) use id::{Key, typed_handle};
pub use kind::Kind;
pub use request::Request;
