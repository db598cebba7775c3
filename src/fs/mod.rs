//! Files, by callback, never blocking the loop.
//!
//! Operations run on the loop's worker threads. On Linux, what the kernel has in memory is looked up and read without
//! them: a few system calls instead of a thread's round trip. The callback runs in a deferred phase either way.
//! Buffers belong to the loop while they are in flight. Every operation can be [cancelled](crate::Request::cancel)
//! until a worker has started it; dropping the loop drops its callback.
//!
//! # Errors
//!
//! The functions here fail only if a worker thread is needed and none can be started ([`Error::System`]). Everything
//! else (no such file, a directory, a full disk) goes to the callback, and names the operation and the path.
//!
//! [`Error::System`]: crate::Error::System
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

pub(crate) mod file;
mod metadata;
mod operation;
mod options;
mod path;

pub use file::File;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use metadata::time;
pub use metadata::{FileType, Metadata};
pub use options::OpenOptions;
pub use path::{metadata, read, symlink_metadata, write};
