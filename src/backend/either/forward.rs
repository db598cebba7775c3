//! Forwards calls to the system or to a world.

use std::io;

/// Returns the error of an operation that only the system supports.
pub(super) fn not_here(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("a simulated world has no {what}"))
}

/// Declares methods that call the method of the same name, of the system or of the world.
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
