//! A machine's files: a tree in memory, what of it is safe on the disk, and what goes wrong with it on request.
//!
//! What was written is there for whoever reads it, and gone after a crash unless it was synced. A file whose data was
//! synced keeps its name, as on the file systems that people use.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use super::{Random, errno};
use crate::{
    backend::{
        Descriptor,
        job::{Job, Outcome, failed, failed_on},
    },
    error::Error,
    fs::{FileType, Metadata, OpenOptions},
    time::Nanos,
};

/// No file grows beyond this: it is all in memory.
const LEN_MAX: usize = 1 << 32;

/// A file of a world, open in a program. Closed when it is dropped: it may be dropped anywhere, so the world finds out
/// for itself.
#[derive(Debug)]
pub(crate) struct OpenFile {
    number: u64,
    _open: Arc<()>,
}

/// What a program does to a file, and may be made to fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileOp {
    /// Opening it; reading or writing it as a whole begins with this.
    Open,
    /// Reading.
    Read,
    /// Writing, appending, changing its length.
    Write,
    /// Waiting until it is on the disk.
    Sync,
    /// Closing one that was written to.
    Close,
    /// Asking what the system knows about it.
    Metadata,
}

/// Something that goes wrong on request.
#[derive(Clone, Debug)]
struct Fault {
    path: PathBuf,
    op: FileOp,
    errno: i32,
    /// How often it does.
    times: u32,
}

#[derive(Clone, Debug)]
struct Inode {
    is_dir: bool,
    data: Vec<u8>,
    mode: u32,
    modified: Nanos,
}

#[derive(Debug)]
struct Open {
    inode: u64,
    path: PathBuf,
    read: bool,
    write: bool,
    append: bool,
    position: u64,
    is_open: Weak<()>,
}

/// 1. Each name has an inode, and a parent that is a directory; `/` is there.
#[derive(Debug)]
pub(crate) struct Tree {
    names: BTreeMap<PathBuf, u64>,
    inodes: BTreeMap<u64, Inode>,
    /// What a crash leaves.
    safe: BTreeMap<PathBuf, Inode>,
    open: BTreeMap<u64, Open>,
    numbers: u64,
    /// How many bytes all files may have.
    pub(crate) capacity: u64,
    faults: Vec<Fault>,
    /// One in so many acts fails.
    pub(crate) fail_one_in: u32,
}

impl Default for Tree {
    fn default() -> Tree {
        let mut tree = Tree {
            names: BTreeMap::new(),
            inodes: BTreeMap::new(),
            safe: BTreeMap::new(),
            open: BTreeMap::new(),
            numbers: 0,
            capacity: u64::MAX,
            faults: Vec::new(),
            fail_one_in: 0,
        };
        tree.make(PathBuf::from("/"), true, 0o755, 0);
        tree
    }
}

/// From the root, without `.` and `..`.
fn absolute(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    out
}

/// Which options go together, and std's words for those that do not.
fn check(options: &OpenOptions) -> io::Result<()> {
    let OpenOptions { read, write, append, truncate, create, create_new, .. } = *options;
    let is_right = match (write, append) {
        (true, false) => true,
        (false, false) => read && !(truncate || create || create_new),
        (_, true) => !truncate || create_new,
    };
    if is_right {
        return Ok(());
    }
    let mut same = std::fs::OpenOptions::new();
    same.read(read).write(write).append(append).truncate(truncate).create(create).create_new(create_new);
    // Refused before the path is looked at, which is none.
    same.open("").map(drop).and(Err(errno(libc::EINVAL)))
}

impl Tree {
    fn make(&mut self, path: PathBuf, is_dir: bool, mode: u32, now: Nanos) -> u64 {
        self.numbers += 1;
        self.inodes.insert(self.numbers, Inode { is_dir, data: Vec::new(), mode, modified: now });
        self.names.insert(path, self.numbers);
        self.numbers
    }

    // ---- for tests

    /// Puts a file there, safe on the disk, with the directories that it needs.
    pub(crate) fn put(&mut self, path: &Path, bytes: &[u8], now: Nanos) {
        let path = absolute(path);
        self.make_dirs(path.parent().unwrap_or(Path::new("/")), now);
        let inode = match self.names.get(&path) {
            Some(&inode) => inode,
            None => self.make(path.clone(), false, 0o644, now),
        };
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.data = bytes.to_vec();
            self.safe.insert(path, inode.clone());
        }
    }

    pub(crate) fn make_dirs(&mut self, path: &Path, now: Nanos) {
        let path = absolute(path);
        let above: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
        for dir in above.into_iter().rev() {
            if !self.names.contains_key(&dir) {
                let inode = self.make(dir.clone(), true, 0o755, now);
                self.safe.insert(dir, self.inodes[&inode].clone());
            }
        }
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&[u8]> {
        let inode = self.inodes.get(self.names.get(&absolute(path))?)?;
        (!inode.is_dir).then_some(&inode.data)
    }

    pub(crate) fn remove(&mut self, path: &Path) -> bool {
        let path = absolute(path);
        self.safe.remove(&path);
        self.names.remove(&path).is_some()
    }

    pub(crate) fn set_mode(&mut self, path: &Path, mode: u32) {
        let inode = self.names.get(&absolute(path)).and_then(|inode| self.inodes.get_mut(inode));
        if let Some(inode) = inode {
            inode.mode = mode;
        }
    }

    pub(crate) fn fail(&mut self, path: &Path, op: FileOp, errno: i32, times: u32) {
        self.faults.push(Fault { path: absolute(path), op, errno, times });
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.names.iter().filter(|(_, inode)| !self.inodes[inode].is_dir).map(|(path, _)| path.as_path())
    }

    /// The power fails: only what was synced is left.
    pub(crate) fn crash(&mut self) {
        self.open.clear();
        self.names.clear();
        self.inodes.clear();
        self.make(PathBuf::from("/"), true, 0o755, 0);
        for (path, inode) in self.safe.clone() {
            self.numbers += 1;
            self.inodes.insert(self.numbers, inode);
            self.names.insert(path, self.numbers);
        }
    }

    pub(crate) fn open_count(&self) -> usize {
        self.open.values().filter(|open| open.is_open.strong_count() > 0).count()
    }

    // ---- for programs

    /// Whether this act fails now, on request or by chance.
    fn fault(&mut self, path: &Path, op: FileOp, random: &mut Random) -> io::Result<()> {
        let is_due = |fault: &&mut Fault| fault.op == op && fault.times > 0 && path.starts_with(&fault.path);
        while let Some(fault) = self.faults.iter_mut().find(is_due) {
            fault.times -= 1;
            random.count_fault("file operation");
            // Who is interrupted begins again, as the system's workers do.
            if fault.errno != libc::EINTR {
                return Err(errno(fault.errno));
            }
        }
        if random.fault("file operation", self.fail_one_in) {
            return Err(errno(libc::EIO));
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(|inode| inode.data.len() as u64).sum()
    }

    /// Forgets the files that nobody has open any more, and what has no name and is not open.
    fn sweep(&mut self) {
        self.open.retain(|_, open| open.is_open.strong_count() > 0);
        let kept: BTreeSet<u64> =
            self.names.values().copied().chain(self.open.values().map(|open| open.inode)).collect();
        self.inodes.retain(|inode, _| kept.contains(inode));
    }

    fn look_up(&self, path: &Path) -> io::Result<u64> {
        for dir in path.ancestors().skip(1) {
            match self.names.get(dir).map(|inode| &self.inodes[inode]) {
                Some(inode) if !inode.is_dir => return Err(errno(libc::ENOTDIR)),
                Some(inode) if inode.mode & 0o100 == 0 => return Err(errno(libc::EACCES)),
                _ => {}
            }
        }
        self.names.get(path).copied().ok_or_else(|| errno(libc::ENOENT))
    }

    fn open(&mut self, path: &Path, options: &OpenOptions, now: Nanos, room: bool) -> io::Result<OpenFile> {
        let path = absolute(path);
        let writes = options.write || options.append;
        check(options)?;
        if !room {
            return Err(errno(libc::EMFILE));
        }
        let inode = match self.look_up(&path) {
            Ok(_) if options.create_new => return Err(errno(libc::EEXIST)),
            Ok(inode) => inode,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                if !(options.create || options.create_new) {
                    return Err(error);
                }
                let parent = path.parent().and_then(|dir| self.names.get(dir));
                match parent.map(|dir| &self.inodes[dir]) {
                    None => return Err(errno(libc::ENOENT)),
                    Some(dir) if dir.mode & 0o200 == 0 => return Err(errno(libc::EACCES)),
                    Some(_) => self.make(path.clone(), false, options.mode & 0o755, now),
                }
            }
            Err(error) => return Err(error),
        };
        let Some(found) = self.inodes.get_mut(&inode) else { return Err(errno(libc::ENOENT)) };
        if found.is_dir && writes {
            return Err(errno(libc::EISDIR));
        }
        let denied = (options.read && found.mode & 0o400 == 0) || (writes && found.mode & 0o200 == 0);
        if denied {
            return Err(errno(libc::EACCES));
        }
        if options.truncate {
            found.data.clear();
            found.modified = now;
        }
        self.sweep();
        self.numbers += 1;
        let alive = Arc::new(());
        self.open.insert(
            self.numbers,
            Open {
                inode,
                path,
                read: options.read,
                write: options.write,
                append: options.append,
                position: 0,
                is_open: Arc::downgrade(&alive),
            },
        );
        Ok(OpenFile { number: self.numbers, _open: alive })
    }

    fn opened(&self, file: &Descriptor) -> io::Result<(u64, &Open)> {
        let Descriptor::World(OpenFile { number, .. }) = file else { return Err(errno(libc::EBADF)) };
        self.open.get(number).map(|open| (*number, open)).ok_or_else(|| errno(libc::EBADF))
    }

    fn path_of(&self, file: &Descriptor) -> PathBuf {
        self.opened(file).map(|(_, open)| open.path.clone()).unwrap_or_default()
    }

    fn metadata(&self, number: u64) -> io::Result<Metadata> {
        let inode = self.inodes.get(&number).ok_or_else(|| errno(libc::ENOENT))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(inode.modified);
        Ok(Metadata {
            file_type: if inode.is_dir { FileType::Directory } else { FileType::File },
            len: inode.data.len() as u64,
            mode: inode.mode,
            device: 1,
            inode: number,
            links: 1,
            uid: 0,
            gid: 0,
            modified: time,
            accessed: time,
            created: None,
        })
    }

    /// Writes at an offset. A disk that is full takes what fits.
    fn write(&mut self, number: u64, bytes: &[u8], offset: u64, now: Nanos) -> io::Result<()> {
        let too_large = || errno(libc::EFBIG);
        let used = self.used();
        let Some(inode) = self.inodes.get_mut(&number) else { return Err(errno(libc::EBADF)) };
        let start = usize::try_from(offset).map_err(|_| too_large())?;
        let end = start.checked_add(bytes.len()).filter(|&end| end <= LEN_MAX).ok_or_else(too_large)?;
        let growth = end.saturating_sub(inode.data.len()) as u64;
        let missing = (used + growth).saturating_sub(self.capacity);
        let fits = bytes.len() - usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
        if fits > 0 {
            let end = start + fits;
            if inode.data.len() < end {
                inode.data.resize(end, 0);
            }
            inode.data[start..end].copy_from_slice(&bytes[..fits]);
            inode.modified = now;
        }
        if fits < bytes.len() { Err(errno(libc::ENOSPC)) } else { Ok(()) }
    }

    /// The same, if it does not fail: then a part of it may have been written.
    fn write_or_fail(
        &mut self,
        path: &Path,
        number: u64,
        bytes: &[u8],
        offset: u64,
        now: Nanos,
        random: &mut Random,
    ) -> io::Result<()> {
        let fault = self.fault(path, FileOp::Write, random);
        let count = if fault.is_err() { random.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
        let written = self.write(number, &bytes[..count], offset, now);
        if written.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOSPC)) {
            random.count_fault("disk full");
        }
        written.and(fault)
    }

    fn read_file(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = &self.inodes[&self.look_up(path)?];
        match inode {
            Inode { is_dir: true, .. } => Err(errno(libc::EISDIR)),
            Inode { mode, .. } if mode & 0o400 == 0 => Err(errno(libc::EACCES)),
            Inode { data, .. } => Ok(data.clone()),
        }
    }

    /// Does a file's job: what a worker of the system does, and the same errors.
    pub(crate) fn perform(
        &mut self,
        job: Job,
        now: Nanos,
        random: &mut Random,
        room: bool,
    ) -> Result<Outcome, Error> {
        match job {
            Job::Call(_) => unreachable!("a closure is not a file's job"),
            Job::Open { path, options } => {
                let opened = self
                    .fault(&absolute(&path), FileOp::Open, random)
                    .and_then(|()| self.open(&path, &options, now, room));
                let file = opened.map_err(failed_on("open", &path))?;
                Ok(Outcome::File(Descriptor::World(file), path))
            }
            Job::ReadAll { path } => {
                let whole = absolute(&path);
                let read = self
                    .fault(&whole, FileOp::Open, random)
                    .and_then(|()| self.fault(&whole, FileOp::Read, random))
                    .and_then(|()| if room { Ok(()) } else { Err(errno(libc::EMFILE)) })
                    .and_then(|()| self.read_file(&whole));
                read.map(Outcome::Bytes).map_err(failed_on("read", &path))
            }
            Job::WriteAll { path, bytes } => {
                let options = OpenOptions::new().write(true).create(true).truncate(true);
                let whole = absolute(&path);
                let written = self.fault(&whole, FileOp::Open, random).and_then(|()| {
                    let file = Descriptor::World(self.open(&path, &options, now, room)?);
                    let inode = self.opened(&file)?.1.inode;
                    self.write_or_fail(&whole, inode, &bytes, 0, now, random)?;
                    self.fault(&whole, FileOp::Close, random)
                });
                written.map(|()| Outcome::Done).map_err(failed_on("write", &path))
            }
            Job::Stat { path, .. } => {
                let whole = absolute(&path);
                let found = self
                    .fault(&whole, FileOp::Metadata, random)
                    .and_then(|()| self.look_up(&whole))
                    .and_then(|inode| self.metadata(inode));
                found.map(Outcome::Metadata).map_err(failed_on("metadata", &path))
            }
            job => self.perform_on_open(job, now, random),
        }
    }

    fn perform_on_open(&mut self, job: Job, now: Nanos, random: &mut Random) -> Result<Outcome, Error> {
        match job {
            Job::StatFile { file } => {
                let found = self
                    .fault(&self.path_of(&file), FileOp::Metadata, random)
                    .and_then(|()| self.metadata(self.opened(&file)?.1.inode));
                found.map(Outcome::Metadata).map_err(failed("metadata"))
            }
            Job::ReadAt { file, mut buffer, offset } => {
                let read = self.fault(&self.path_of(&file), FileOp::Read, random).and_then(|()| {
                    let (_, open) = self.opened(&file)?;
                    if !open.read {
                        return Err(errno(libc::EBADF));
                    }
                    let inode = &self.inodes[&open.inode];
                    if inode.is_dir {
                        return Err(errno(libc::EISDIR));
                    }
                    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.data.len());
                    let room = buffer.capacity() - buffer.len();
                    let end = start.saturating_add(room).min(inode.data.len());
                    buffer.extend_from_slice(&inode.data[start..end]);
                    Ok(())
                });
                read.map(|()| Outcome::Bytes(buffer)).map_err(failed("read"))
            }
            Job::WriteAt { file, bytes, offset } => {
                let written = self.write_open(&file, &bytes, Some(offset), now, random);
                written.map(|()| Outcome::Count(bytes.len())).map_err(failed("write"))
            }
            Job::Append { file, bytes } => {
                let written = self.write_open(&file, &bytes, None, now, random);
                written.map(|()| Outcome::Count(bytes.len())).map_err(failed("append"))
            }
            Job::Sync { file, .. } => {
                let synced = self.fault(&self.path_of(&file), FileOp::Sync, random).and_then(|()| {
                    let (_, open) = self.opened(&file)?;
                    // Not if another has its name by now.
                    if self.names.get(&open.path) == Some(&open.inode) {
                        self.safe.insert(open.path.clone(), self.inodes[&open.inode].clone());
                    }
                    Ok(())
                });
                synced.map(|()| Outcome::Done).map_err(failed("sync"))
            }
            Job::SetLen { file, len } => {
                let cut = self.fault(&self.path_of(&file), FileOp::Write, random);
                let cut = cut.and_then(|()| self.set_len(&file, len, now));
                cut.map(|()| Outcome::Done).map_err(failed("set length"))
            }
            Job::Close { file } => {
                let closed = self.fault(&self.path_of(&file), FileOp::Close, random);
                drop(file);
                self.sweep();
                closed.map(|()| Outcome::Done).map_err(failed("close"))
            }
            _ => unreachable!("the others were done"),
        }
    }

    fn set_len(&mut self, file: &Descriptor, len: u64, now: Nanos) -> io::Result<()> {
        let (_, open) = self.opened(file)?;
        let (inode, writes) = (open.inode, open.write || open.append);
        let len = usize::try_from(len).ok().filter(|&len| len <= LEN_MAX);
        let (true, Some(len)) = (writes, len) else { return Err(errno(libc::EINVAL)) };
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.data.resize(len, 0);
            inode.modified = now;
        }
        Ok(())
    }

    /// At an offset, or where the file says.
    fn write_open(
        &mut self,
        file: &Descriptor,
        bytes: &[u8],
        offset: Option<u64>,
        now: Nanos,
        random: &mut Random,
    ) -> io::Result<()> {
        let (number, open) = self.opened(file)?;
        let (inode, position, append) = (open.inode, open.position, open.append);
        let path = open.path.clone();
        if !(open.write || append) {
            return Err(errno(libc::EBADF));
        }
        let end = self.inodes[&inode].data.len() as u64;
        let start = if append { end } else { offset.unwrap_or(position) };
        self.write_or_fail(&path, inode, bytes, start, now, random)?;
        if let (None, Some(open)) = (offset, self.open.get_mut(&number)) {
            open.position = start + bytes.len() as u64;
        }
        Ok(())
    }
}
