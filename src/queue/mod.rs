//! Containers. They know no ids, no callbacks and no I/O.

pub(crate) mod deadlines;
pub(crate) mod rounds;
pub(crate) mod send_queue;
pub(crate) mod slots;
mod wheel;
