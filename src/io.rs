//! Byte streams, whatever carries them: [`Stream`] stands for any of them.

pub use crate::{
    payload::Payload,
    stream::{Event, Stream, broadcast},
};
