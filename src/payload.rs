//! Bytes to write, borrowed or owned.

use std::{borrow::Cow, rc::Rc, sync::Arc};

/// Bytes to write, borrowed or owned. Every function that writes takes `impl Into<Payload>`.
///
/// Borrowed bytes (`&[u8]`, `&str`, …) are copied if they are few enough to be coalesced with others, or if
/// they cannot be sent at once. Owned bytes (`Vec<u8>`, `String`, `Box<[u8]>`, `Rc<[u8]>`, `Arc<[u8]>`) above
/// 2 KiB are never copied. One `Rc` or `Arc` can be queued on many streams without copying its bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// Bytes of the caller, valid during the call.
    Borrowed(&'a [u8]),
    /// Bytes that the caller gives away.
    Owned(Vec<u8>),
    /// Bytes shared within one thread.
    Rc(Rc<[u8]>),
    /// Bytes shared between threads.
    Arc(Arc<[u8]>),
}

impl Payload<'_> {
    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::Borrowed(bytes) => bytes,
            Payload::Owned(bytes) => bytes,
            Payload::Rc(bytes) => bytes,
            Payload::Arc(bytes) => bytes,
        }
    }
}

macro_rules! borrowed {
    ($($from:ty => $convert:expr),* $(,)?) => {$(
        impl<'a> From<&'a $from> for Payload<'a> {
            fn from(bytes: &'a $from) -> Payload<'a> {
                let convert: fn(&$from) -> &[u8] = $convert;
                Payload::Borrowed(convert(bytes))
            }
        }
    )*};
}

macro_rules! owned {
    ($($from:ty, $variant:ident => $convert:expr),* $(,)?) => {$(
        impl From<$from> for Payload<'_> {
            fn from(bytes: $from) -> Self {
                Payload::$variant($convert(bytes))
            }
        }
    )*};
}

borrowed! {
    [u8] => |bytes| bytes,
    str => |text| text.as_bytes(),
    Vec<u8> => |bytes| bytes,
    String => |text| text.as_bytes(),
    Box<[u8]> => |bytes| bytes,
}

owned! {
    Vec<u8>, Owned => |bytes| bytes,
    String, Owned => String::into_bytes,
    Box<[u8]>, Owned => Vec::from,
    Box<str>, Owned => |text: Box<str>| String::from(text).into_bytes(),
    Rc<[u8]>, Rc => |bytes| bytes,
    Arc<[u8]>, Arc => |bytes| bytes,
}

impl<'a> From<&'a mut [u8]> for Payload<'a> {
    fn from(bytes: &'a mut [u8]) -> Payload<'a> {
        Payload::Borrowed(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(bytes: &'a [u8; N]) -> Payload<'a> {
        Payload::Borrowed(bytes)
    }
}

impl<'a> From<Cow<'a, [u8]>> for Payload<'a> {
    fn from(bytes: Cow<'a, [u8]>) -> Payload<'a> {
        match bytes {
            Cow::Borrowed(bytes) => Payload::Borrowed(bytes),
            Cow::Owned(bytes) => Payload::Owned(bytes),
        }
    }
}

impl<'a> From<Cow<'a, str>> for Payload<'a> {
    fn from(text: Cow<'a, str>) -> Payload<'a> {
        match text {
            Cow::Borrowed(text) => Payload::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Payload::Owned(text.into_bytes()),
        }
    }
}
