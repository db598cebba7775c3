//! The files of a machine: names and inodes as programs see them, and what of both is on the disk.
//!
//! A crash leaves what is on the disk. Syncing a file writes its data, and commits the changes to names up to
//! then, as a journal does (ext4's, in its ordered mode). Of the changes that were not committed, a crash
//! keeps a number of the first ones, drawn from the seed. Of data that was not synced, it keeps nothing, all,
//! or a part. This exposes a program that renames before it syncs, or that overwrites a file in place.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    super::{Random, errno},
    faults::{Faults, FileOp},
    open::OpenFiles,
};
use crate::{
    fs::{FileType, Metadata},
    time::Nanos,
};

/// The largest file, because all files are in memory.
pub(super) const LEN_MAX: usize = 1 << 32;

#[derive(Clone, Debug)]
pub(super) enum Content {
    File(Vec<u8>),
    Directory,
    Symlink(PathBuf),
    Socket,
}

#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) modified: Nanos,
}

impl Inode {
    pub(super) fn is_dir(&self) -> bool {
        matches!(self.content, Content::Directory)
    }

    fn data(&self) -> &[u8] {
        if let Content::File(data) = &self.content { data } else { &[] }
    }
}

/// A change of names that is not committed.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// Paths with the inode that each names.
type Names = BTreeMap<PathBuf, u64>;

fn apply(change: &Change, names: &mut Names) {
    match change {
        Change::Link(path, inode) => drop(names.insert(path.clone(), *inode)),
        Change::Unlink(path) => drop(names.remove(path)),
        Change::Rename(from, to) => {
            let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in moved {
                let inode = names.remove(&path);
                let below = path.strip_prefix(from).unwrap_or(&path);
                // Joining nothing would add a slash.
                let path = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
                names.extend(inode.map(|inode| (path, inode)));
            }
        }
    }
}

/// 1. Each name has an inode, and a parent that is a directory; `/` is there.
/// 2. The names on the disk, with all of `journal`, are `names`.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(super) names: Names,
    pub(super) inodes: BTreeMap<u64, Inode>,
    names_on_disk: Names,
    /// What was synced of each inode.
    inodes_on_disk: BTreeMap<u64, Inode>,
    journal: Vec<Change>,
    numbers: u64,
    /// How many unique names programs were given. Never less after a crash: files with those names may be
    /// left.
    pub(super) unique_names: u64,
    /// How many bytes all files may have.
    pub(crate) capacity: u64,
    pub(crate) faults: Faults,
    pub(super) open: OpenFiles,
}

impl Default for Tree {
    fn default() -> Tree {
        let mut tree = Tree {
            names: Names::new(),
            inodes: BTreeMap::new(),
            names_on_disk: Names::new(),
            inodes_on_disk: BTreeMap::new(),
            journal: Vec::new(),
            numbers: 0,
            unique_names: 0,
            capacity: u64::MAX,
            faults: Faults::default(),
            open: OpenFiles::default(),
        };
        tree.make(PathBuf::from("/"), Content::Directory, 0o755, 0);
        tree.commit();
        tree
    }
}

/// From the root, without `.` and `..`, and without following links.
pub(super) fn from_root(path: &Path) -> PathBuf {
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

// ---- for tests, from outside

impl Tree {
    /// Puts a file there, safe on the disk, with the directories that it needs.
    pub(crate) fn put(&mut self, path: &Path, bytes: &[u8], now: Nanos) {
        let path = from_root(path);
        self.make_dirs(path.parent().unwrap_or(Path::new("/")), now);
        let inode = match self.names.get(&path) {
            Some(&inode) => inode,
            None => self.make(path, Content::File(Vec::new()), 0o644, now),
        };
        if let Some(found) = self.inodes.get_mut(&inode) {
            found.content = Content::File(bytes.to_vec());
        }
        self.sync(inode);
    }

    pub(crate) fn make_dirs(&mut self, path: &Path, now: Nanos) {
        let path = from_root(path);
        let above: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
        for dir in above.into_iter().rev() {
            if !self.names.contains_key(&dir) {
                self.make(dir, Content::Directory, 0o755, now);
            }
        }
        self.commit();
    }

    pub(crate) fn get(&self, path: &Path) -> Option<&[u8]> {
        let path = self.resolve(path, true).ok()?;
        let inode = self.inodes.get(self.names.get(&path)?)?;
        matches!(inode.content, Content::File(_)).then_some(inode.data())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> bool {
        let path = from_root(path);
        let known = self.names.contains_key(&path);
        if known {
            self.change(Change::Unlink(path));
            self.commit();
        }
        known
    }

    pub(crate) fn set_mode(&mut self, path: &Path, mode: u32) {
        let Some(number) = self.names.get(&from_root(path)).copied() else { return };
        for inodes in [&mut self.inodes, &mut self.inodes_on_disk] {
            if let Some(inode) = inodes.get_mut(&number) {
                inode.mode = mode;
            }
        }
    }

    pub(crate) fn fail(&mut self, path: &Path, op: FileOp, errno: i32, times: u32) {
        self.faults.add(from_root(path), op, errno, times);
    }

    /// The paths of everything that is not a directory.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.names.iter().filter(|(_, inode)| !self.inodes[inode].is_dir()).map(|(path, _)| path.as_path())
    }

    /// The power fails: what is on the disk is left, and some of the changes of names that were on their way.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let kept = random.below_if(self.journal.len() as u64 + 1) as usize;
        self.journal.truncate(kept);
        let on_their_way: Vec<u64> = self.names.values().copied().collect();
        for change in self.journal.drain(..) {
            apply(&change, &mut self.names_on_disk);
        }
        self.names = self.names_on_disk.clone();
        let before = std::mem::take(&mut self.inodes);
        for &number in self.names.values() {
            let on_disk = self.inodes_on_disk.get(&number);
            let current = before.get(&number);
            let (old, new) = (on_disk.map_or(&[][..], Inode::data), current.map_or(&[][..], Inode::data));
            // A name may be on the disk without its data.
            let Some(mut inode) = on_disk.or(current).cloned() else { continue };
            if let Content::File(data) = &mut inode.content {
                *data = if old == new { old.to_vec() } else { after_crash(old, new, random) };
            }
            self.inodes.insert(number, inode);
        }
        debug_assert!(self.names.values().all(|inode| self.inodes.contains_key(inode)), "{on_their_way:?}");
        self.inodes_on_disk = self.inodes.clone();
        self.open.clear();
        self.faults.restore_power();
    }
}

/// What a crash leaves of a file that was written to since it was synced: nothing of that, all of it, or a
/// part.
fn after_crash(old: &[u8], new: &[u8], random: &mut Random) -> Vec<u8> {
    let written = match random.below(4) {
        0 | 1 => return old.to_vec(),
        2 => new.len(),
        _ => random.below(new.len() as u64 + 1) as usize,
    };
    let mut data = new[..written].to_vec();
    // If the file was truncated first, that may have reached the disk, or not.
    if random.one_in(2) {
        data.extend(old.get(written..).unwrap_or_default());
    }
    data
}

// ---- for Unix sockets, which are found by their files

impl Tree {
    /// Resolves the path of a socket that is to be made.
    pub(crate) fn resolve_for_socket(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolve(path, false)
    }

    /// The inode that a resolved path names.
    pub(crate) fn inode_at(&self, path: &Path) -> Option<u64> {
        self.names.get(path).copied()
    }

    pub(crate) fn is_socket(&self, inode: u64) -> bool {
        matches!(self.inodes[&inode].content, Content::Socket)
    }

    pub(crate) fn make_socket(&mut self, path: PathBuf, now: Nanos) -> io::Result<u64> {
        self.create(path, Content::Socket, 0o755, now)
    }

    /// Finds the socket that a path leads to, to connect to it.
    pub(crate) fn socket_at(&self, path: &Path) -> io::Result<u64> {
        let inode = self.look_up(&self.resolve(path, true)?)?;
        match &self.inodes[&inode] {
            Inode { mode, .. } if mode & 0o200 == 0 => Err(errno(libc::EACCES)),
            Inode { content: Content::Socket, .. } => Ok(inode),
            _ => Err(errno(libc::ECONNREFUSED)),
        }
    }

    /// Removes the file of a socket, unless its name is another file's.
    pub(crate) fn remove_socket(&mut self, path: &Path, inode: u64) {
        if self.inode_at(path) == Some(inode) {
            self.change(Change::Unlink(path.to_owned()));
        }
    }
}

// ---- for programs

impl Tree {
    pub(crate) fn open_count(&self) -> usize {
        self.open.count()
    }

    pub(super) fn make(&mut self, path: PathBuf, content: Content, mode: u32, now: Nanos) -> u64 {
        self.numbers += 1;
        self.inodes.insert(self.numbers, Inode { content, mode, modified: now });
        self.change(Change::Link(path, self.numbers));
        self.numbers
    }

    pub(super) fn change(&mut self, change: Change) {
        apply(&change, &mut self.names);
        self.journal.push(change);
    }

    /// Commits the changes of names.
    pub(super) fn commit(&mut self) {
        for change in self.journal.drain(..) {
            apply(&change, &mut self.names_on_disk);
        }
        for &number in self.names_on_disk.values() {
            // A directory is its names; a link is written with its name.
            match self.inodes.get(&number) {
                Some(inode) if !matches!(inode.content, Content::File(_)) => {
                    self.inodes_on_disk.insert(number, inode.clone());
                }
                _ => {}
            }
        }
    }

    /// Writes an inode's data to the disk, and commits.
    pub(super) fn sync(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get(&number) {
            self.inodes_on_disk.insert(number, inode.clone());
        }
        self.commit();
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(|inode| inode.data().len() as u64).sum()
    }

    /// Forgets what has no name and is not open.
    pub(super) fn sweep(&mut self) {
        self.open.sweep();
        let named = self.names.values().chain(self.names_on_disk.values()).copied();
        let kept: BTreeSet<u64> = named.chain(self.open.inodes()).collect();
        self.inodes.retain(|inode, _| kept.contains(inode));
        self.inodes_on_disk.retain(|inode, _| kept.contains(inode));
    }

    pub(super) fn metadata(&self, number: u64) -> io::Result<Metadata> {
        let inode = self.inodes.get(&number).ok_or_else(|| errno(libc::ENOENT))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(inode.modified);
        let links = self.names.values().filter(|&&other| other == number).count() as u64;
        Ok(Metadata {
            file_type: match inode.content {
                Content::File(_) => FileType::File,
                Content::Directory => FileType::Directory,
                Content::Symlink(_) => FileType::Symlink,
                Content::Socket => FileType::Other,
            },
            len: match &inode.content {
                Content::File(data) => data.len() as u64,
                Content::Directory | Content::Socket => 0,
                Content::Symlink(original) => original.as_os_str().len() as u64,
            },
            mode: inode.mode,
            device: 1,
            inode: number,
            links,
            uid: 0,
            gid: 0,
            modified: time,
            accessed: time,
            created: None,
        })
    }

    /// Writes at an offset. A full disk takes what fits.
    pub(super) fn write(&mut self, number: u64, bytes: &[u8], offset: u64, now: Nanos) -> io::Result<()> {
        let too_large = || errno(libc::EFBIG);
        let used = self.used();
        let Some(Inode { content: Content::File(data), modified, .. }) = self.inodes.get_mut(&number) else {
            return Err(errno(libc::EBADF));
        };
        let start = usize::try_from(offset).map_err(|_| too_large())?;
        let end = start.checked_add(bytes.len()).filter(|&end| end <= LEN_MAX).ok_or_else(too_large)?;
        let growth = end.saturating_sub(data.len()) as u64;
        let missing = (used + growth).saturating_sub(self.capacity);
        let fits = bytes.len() - usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len());
        if fits > 0 {
            let end = start + fits;
            if data.len() < end {
                data.resize(end, 0);
            }
            data[start..end].copy_from_slice(&bytes[..fits]);
            *modified = now;
        }
        if fits < bytes.len() { Err(errno(libc::ENOSPC)) } else { Ok(()) }
    }
}
