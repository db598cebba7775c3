//! Sockets.

mod socket;

pub(crate) use socket::{AcceptError, ListenConfig, PIECES_MAX, Socket, classify_accept_error};
