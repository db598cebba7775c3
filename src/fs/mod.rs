//! Files, without blocking the loop.
//!
//! Operations run on the loop's worker threads. On Linux, the loop itself opens and reads what the kernel has
//! in memory: a few system calls instead of a thread's round trip. The callback runs in a deferred phase
//! either way.
//!
//! The loop owns buffers while they are in flight. An operation keeps the loop alive. It can be
//! [cancelled](crate::Request::cancel) until a worker has started it; its callback then gets
//! [`Error::Canceled`](crate::Error::Canceled). Dropping the loop drops the callback. An error that the
//! callback of an operation on a path returns becomes a [`Failure`](crate::Failure) without a handle.
//!
//! # Errors
//!
//! The functions here return [`Error::System`](crate::Error::System) if a worker is needed and none can be
//! spawned. `callback` is not called then. Everything else (no such file, a directory, a full disk) goes to
//! the callback, as an error that names the operation and the path.
//!
//! ```
//! use ringback::{Loop, fs};
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("greeting");
//!
//! let mut lp = Loop::new()?;
//! let again = path.clone();
//! fs::write(&mut lp, &path, "hello", move |lp, _, written| {
//!     written?;
//!     fs::read(lp, &again, |_, text, bytes| {
//!         *text = String::from_utf8(bytes?)?;
//!         Ok(())
//!     })?;
//!     Ok(())
//! })?;
//! let mut text = String::new();
//! lp.run(&mut text)?;
//! assert_eq!(text, "hello");
//! # Ok::<(), ringback::Error>(())
//! ```

mod compound;
pub(crate) mod file;
mod metadata;
mod operation;
mod options;
mod path;

pub use compound::write_atomic;
pub use file::File;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use metadata::time;
pub use metadata::{FileType, Metadata};
pub use options::OpenOptions;
pub use path::{
    canonicalize, create_dir, hard_link, metadata, read, read_link, remove_dir, remove_file, rename, symlink,
    symlink_metadata, write,
};
