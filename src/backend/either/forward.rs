//! How a call is forwarded.

use std::io;

/// What only the system can do.
pub(super) fn not_here(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("a simulated world has no {what}"))
}

/// The same call for both.
macro_rules! each {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $(-> $answer:ty)?;)*) => {$(
        pub(crate) fn $name(&self $(, $argument: $type)*) $(-> $answer)? {
            match self {
                Self::System(it) => it.$name($($argument),*),
                Self::World(it) => it.$name($($argument),*),
            }
        }
    )*};
    (mut $(fn $name:ident($($argument:ident: $type:ty),*) $(-> $answer:ty)?;)*) => {$(
        pub(crate) fn $name(&mut self $(, $argument: $type)*) $(-> $answer)? {
            match self {
                Self::System(it) => it.$name($($argument),*),
                Self::World(it) => it.$name($($argument),*),
            }
        }
    )*};
}

pub(super) use each;
