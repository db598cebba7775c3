//! Options of opening a file, as plain data.

/// Options of opening a file, as [`std::fs::OpenOptions`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) mode: u32,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

macro_rules! switches {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {$(
        $(#[$attribute])*
        pub fn $name(mut self, on: bool) -> OpenOptions {
            self.$name = on;
            self
        }
    )*};
}

impl OpenOptions {
    /// Returns options that neither read nor write: set at least one.
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
        }
    }

    switches! {
        /// Opens for reading.
        read,
        /// Opens for writing.
        write,
        /// Opens for writing at the end, wherever that is at the time of the write.
        append,
        /// Truncates the file to a length of zero.
        truncate,
        /// Creates the file if it does not exist.
        create,
        /// Creates the file, and fails if it exists.
        create_new,
    }

    /// Sets the permission bits of a file that is created, less the process's umask. 0o666 by default.
    pub fn mode(mut self, mode: u32) -> OpenOptions {
        self.mode = mode;
        self
    }

    /// Returns whether opening changes nothing. Then it may be tried without a worker.
    pub(crate) fn only_reads(&self) -> bool {
        let OpenOptions { read, write, append, truncate, create, create_new, mode: _ } = *self;
        read && !(write || append || truncate || create || create_new)
    }
}
