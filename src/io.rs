//! Byte streams, whatever carries them, and what can be written to them.

pub use crate::{
    payload::Payload,
    stream::{Event, Stream, broadcast},
};
