//! A machine's disk, as programs use it: what a worker of the system does, and the same errors.

mod faults;
mod lookup;
mod names;
mod open;
mod tree;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use faults::FileOp;
pub(crate) use open::OpenFile;
pub(crate) use tree::Tree;

use self::tree::{Content, Inode, LEN_MAX, from_root};
use super::{Random, errno};
use crate::{
    backend::{Descriptor, files::FileSystem},
    fs::{Metadata, OpenOptions},
    time::Nanos,
};

/// What the umask of programs leaves of a mode: theirs is 022, as on most systems.
const MODE_MASK: u32 = 0o7777 & !0o022;

/// A machine's files, while one job is done on them.
pub(crate) struct Disk<'a> {
    pub(super) tree: &'a mut Tree,
    pub(super) random: &'a mut Random,
    pub(super) now: Nanos,
    /// How many more descriptors the program may have.
    pub(super) descriptors: usize,
}

/// A descriptor of the system cannot be used in a world.
fn of_world(file: &Descriptor) -> io::Result<&OpenFile> {
    match file {
        Descriptor::World(file) => Ok(file),
        Descriptor::System(_) => Err(errno(libc::EBADF)),
    }
}

impl Disk<'_> {
    fn check(&mut self, path: &Path, op: FileOp) -> io::Result<()> {
        self.tree.faults.check(&[path], op, self.random)
    }

    fn check_both(&mut self, one: &Path, other: &Path, op: FileOp) -> io::Result<()> {
        self.tree.faults.check(&[&from_root(one), &from_root(other)], op, self.random)
    }

    fn check_open(&mut self, file: &Descriptor, op: FileOp) -> io::Result<()> {
        let path = self.tree.open.get(of_world(file)?)?.path.clone();
        self.check(&path, op)
    }

    /// Whether there is a descriptor for one more file.
    fn claim_descriptor(&mut self) -> io::Result<()> {
        if self.tree.open_count() < self.descriptors {
            return Ok(());
        }
        self.random.count_fault("no descriptor");
        Err(errno(libc::EMFILE))
    }

    fn open_checked(&mut self, path: &Path, options: &OpenOptions) -> io::Result<OpenFile> {
        check_options(options)?;
        self.claim_descriptor()?;
        let creates = options.create || options.create_new;
        let path = if creates {
            self.tree.resolve_to_create(path, options.create_new)?
        } else {
            self.tree.resolve(path, true)?
        };
        let writes = options.write || options.append;
        let inode = match self.tree.look_up(&path) {
            Ok(inode) => inode,
            Err(_) if creates => {
                self.tree.may_change(&path)?;
                let file = Content::File(Vec::new());
                // The mode does not apply to the descriptor that creates the file.
                let inode = self.tree.make(path.clone(), file, options.mode & MODE_MASK, self.now);
                return Ok(self.tree.open.add(inode, path, options));
            }
            Err(error) => return Err(error),
        };
        let Some(found) = self.tree.inodes.get_mut(&inode) else { return Err(errno(libc::ENOENT)) };
        match found.content {
            Content::Directory if writes => return Err(errno(libc::EISDIR)),
            Content::Socket => return Err(errno(libc::ENXIO)),
            _ => {}
        }
        if (options.read && found.mode & 0o400 == 0) || (writes && found.mode & 0o200 == 0) {
            return Err(errno(libc::EACCES));
        }
        if let (true, Content::File(data)) = (options.truncate, &mut found.content) {
            data.clear();
            found.modified = self.now;
        }
        self.tree.sweep();
        Ok(self.tree.open.add(inode, path, options))
    }

    /// Writes, unless a fault is due: then a part of it may be written.
    fn write(&mut self, file: &Descriptor, bytes: &[u8], offset: Option<u64>) -> io::Result<()> {
        let open = self.tree.open.get(of_world(file)?)?;
        let (inode, path, append) = (open.inode, open.path.clone(), open.append);
        if !(open.write || append) {
            return Err(errno(libc::EBADF));
        }
        let offset = match (offset, &self.tree.inodes[&inode].content) {
            (Some(offset), _) if !append => offset,
            (_, Content::File(data)) => data.len() as u64,
            _ => 0,
        };
        let fault = self.check(&path, FileOp::Write);
        let len = bytes.len() as u64;
        let count = if fault.is_err() { self.random.below(len + 1) as usize } else { bytes.len() };
        let written = self.tree.write(inode, &bytes[..count], offset, self.now);
        if written.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOSPC)) {
            self.random.count_fault("disk full");
        }
        written.and(fault)
    }
}

/// Which options go together, and std's error for those that do not.
fn check_options(options: &OpenOptions) -> io::Result<()> {
    let OpenOptions { read, write, append, truncate, create, create_new, .. } = *options;
    let is_right = match (write, append) {
        (true, false) => true,
        (false, false) => read && !(truncate || create || create_new),
        (_, true) => !truncate || create_new,
    };
    if is_right {
        return Ok(());
    }
    let text = if read || truncate || create || create_new {
        "creating or truncating a file requires write or append access"
    } else {
        "must specify at least one of read, write, or append access"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

impl FileSystem for Disk<'_> {
    fn open(&mut self, path: &Path, options: &OpenOptions) -> io::Result<Descriptor> {
        self.check(&from_root(path), FileOp::Open)?;
        self.open_checked(path, options).map(Descriptor::World)
    }

    fn close(&mut self, file: Descriptor) -> io::Result<()> {
        let closed = self.check_open(&file, FileOp::Close);
        drop(file);
        self.tree.sweep();
        closed
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let whole = from_root(path);
        self.check(&whole, FileOp::Open)?;
        self.check(&whole, FileOp::Read)?;
        self.claim_descriptor()?;
        let path = self.tree.resolve(path, true)?;
        match &self.tree.inodes[&self.tree.look_up(&path)?] {
            Inode { mode, .. } if mode & 0o400 == 0 => Err(errno(libc::EACCES)),
            Inode { content: Content::File(data), .. } => Ok(data.clone()),
            Inode { content: Content::Socket, .. } => Err(errno(libc::ENXIO)),
            _ => Err(errno(libc::EISDIR)),
        }
    }

    fn read_at(&mut self, file: &Descriptor, buffer: &mut Vec<u8>, offset: u64) -> io::Result<()> {
        self.check_open(file, FileOp::Read)?;
        let open = self.tree.open.get(of_world(file)?)?;
        if !open.read {
            return Err(errno(libc::EBADF));
        }
        let Content::File(data) = &self.tree.inodes[&open.inode].content else {
            return Err(errno(libc::EISDIR));
        };
        let start =
            usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(buffer.len()).min(data.len());
        let room = buffer.capacity() - buffer.len();
        let end = start.saturating_add(room).min(data.len());
        buffer.extend_from_slice(&data[start..end]);
        Ok(())
    }

    fn write_at(&mut self, file: &Descriptor, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(file, bytes, Some(offset))
    }

    fn append(&mut self, file: &Descriptor, bytes: &[u8]) -> io::Result<()> {
        self.write(file, bytes, None)
    }

    fn sync(&mut self, file: &Descriptor, _: bool) -> io::Result<()> {
        self.check_open(file, FileOp::Sync)?;
        let inode = self.tree.open.get(of_world(file)?)?.inode;
        self.tree.sync(inode);
        Ok(())
    }

    fn set_len(&mut self, file: &Descriptor, len: u64) -> io::Result<()> {
        self.check_open(file, FileOp::Write)?;
        let open = self.tree.open.get(of_world(file)?)?;
        let (inode, writes) = (open.inode, open.write || open.append);
        let len = usize::try_from(len).ok().filter(|&len| len <= LEN_MAX);
        let (true, Some(len)) = (writes, len) else { return Err(errno(libc::EINVAL)) };
        if let Some(Inode { content: Content::File(data), modified, .. }) = self.tree.inodes.get_mut(&inode) {
            data.resize(len, 0);
            *modified = self.now;
        }
        Ok(())
    }

    fn metadata(&mut self, path: &Path, follow: bool) -> io::Result<Metadata> {
        self.check(&from_root(path), FileOp::Metadata)?;
        let path = self.tree.resolve(path, follow)?;
        self.tree.metadata(self.tree.look_up(&path)?)
    }

    fn file_metadata(&mut self, file: &Descriptor) -> io::Result<Metadata> {
        self.check_open(file, FileOp::Metadata)?;
        self.tree.metadata(self.tree.open.get(of_world(file)?)?.inode)
    }

    fn set_mode(&mut self, file: &Descriptor, mode: u32) -> io::Result<()> {
        self.check_open(file, FileOp::Metadata)?;
        let inode = self.tree.open.get(of_world(file)?)?.inode;
        self.tree.inodes.entry(inode).and_modify(|inode| inode.mode = mode & 0o7777);
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_both(from, to, FileOp::Rename)?;
        self.tree.rename(from, to)
    }

    fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.check(&from_root(path), FileOp::Remove)?;
        self.tree.unlink(path)
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.check(&from_root(path), FileOp::Create)?;
        self.tree.create_dir(path, 0o777 & MODE_MASK, self.now)
    }

    fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        self.check(&from_root(path), FileOp::Remove)?;
        self.tree.remove_dir(path)
    }

    fn hard_link(&mut self, original: &Path, link: &Path) -> io::Result<()> {
        self.check_both(original, link, FileOp::Create)?;
        self.tree.hard_link(original, link)
    }

    fn symlink(&mut self, original: &Path, link: &Path) -> io::Result<()> {
        self.check(&from_root(link), FileOp::Create)?;
        self.tree.symlink(original, link, self.now)
    }

    fn read_link(&mut self, path: &Path) -> io::Result<PathBuf> {
        self.check(&from_root(path), FileOp::Metadata)?;
        self.tree.read_link(path)
    }

    fn canonicalize(&mut self, path: &Path) -> io::Result<PathBuf> {
        self.check(&from_root(path), FileOp::Metadata)?;
        let path = self.tree.resolve(path, true)?;
        self.tree.look_up(&path)?;
        Ok(path)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.check(&from_root(path), FileOp::Sync)?;
        let path = self.tree.resolve(path, true)?;
        let inode = self.tree.look_up(&path)?;
        self.tree.sync(inode);
        Ok(())
    }

    fn unique_name(&mut self) -> io::Result<String> {
        // Not by the process: a seed gives the same names on every run.
        self.tree.unique_names += 1;
        Ok(format!("1-{}", self.tree.unique_names))
    }
}
