//! The files that workloads read and write, in a directory that is removed at the end.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

const SMALL_FILES: u32 = 64;
const SMALL_BYTES: usize = 4096;

/// The files that a case needs. Their path is added to its arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Files {
    None,
    /// A directory of small files.
    Small,
    /// A file of that many bytes, in the page cache or only on the disk.
    Big {
        bytes: u64,
        cached: bool,
    },
    /// A file to write.
    Written,
}

/// The directory, created when it is first used.
pub struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Chooses a directory in `$TMPDIR` if that is set, or else in `target`. It must be on a disk for
    /// "uncached" to have a meaning.
    pub fn new(target: &Path) -> Scratch {
        let parent = std::env::var_os("TMPDIR").map_or_else(|| target.to_owned(), PathBuf::from);
        Scratch { directory: parent.join(format!("compare-{}", std::process::id())) }
    }

    pub fn file(&self, name: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.directory)?;
        Ok(self.directory.join(name))
    }

    /// Creates the files if they do not exist. Returns the argument that passes their path to a peer.
    pub fn prepare(&self, files: Files) -> io::Result<Option<String>> {
        let path = match files {
            Files::None => return Ok(None),
            Files::Small => self.small_files()?,
            Files::Big { bytes, cached } => self.big_file(bytes, cached)?,
            Files::Written => self.file("written")?,
        };
        Ok(Some(format!("path={}", path.display())))
    }

    fn small_files(&self) -> io::Result<PathBuf> {
        let directory = self.file("small")?;
        if !directory.is_dir() {
            fs::create_dir(&directory)?;
            for number in 0..SMALL_FILES {
                fs::write(directory.join(number.to_string()), [b's'; SMALL_BYTES])?;
            }
        }
        for number in 0..SMALL_FILES {
            fs::read(directory.join(number.to_string()))?;
        }
        Ok(directory)
    }

    fn big_file(&self, bytes: u64, cached: bool) -> io::Result<PathBuf> {
        let path = self.file(&format!("big-{bytes}"))?;
        if !path.is_file() {
            fill(&path, bytes)?;
        }
        let mut file = File::open(&path)?;
        if cached {
            io::copy(&mut file, &mut io::sink())?;
        } else {
            forget(&file)?;
        }
        Ok(path)
    }

    /// Removes the file that was written. Then the kernel need not write it out during the next run.
    pub fn remove_written(&self) {
        let _ = fs::remove_file(self.directory.join("written"));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The directory may never have been created.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let block: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    for _ in 0..bytes / block.len() as u64 {
        file.write_all(&block)?;
    }
    // Only pages that are on the disk can be dropped from the cache.
    file.sync_all()
}

/// Asks the kernel to drop a file from the page cache.
fn forget(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_files_are_created_and_removed() {
        let parent = std::env::temp_dir().join(format!("compare-test-{}", std::process::id()));
        let scratch = Scratch { directory: parent.join("inner") };
        assert_eq!(scratch.prepare(Files::None).unwrap(), None);
        let small = scratch.prepare(Files::Small).unwrap().unwrap();
        assert_eq!(
            fs::read(format!("{}/63", small.strip_prefix("path=").unwrap())).unwrap().len(),
            SMALL_BYTES
        );
        for cached in [true, false] {
            let big = scratch.prepare(Files::Big { bytes: 2 << 20, cached }).unwrap().unwrap();
            assert_eq!(fs::metadata(big.strip_prefix("path=").unwrap()).unwrap().len(), 2 << 20);
        }
        drop(scratch);
        assert!(!parent.join("inner").exists());
        fs::remove_dir(parent).unwrap();
    }
}
