//! How a path leads to a name, through symbolic links: as Linux does it, in `fs/namei.c`, and with its
//! errors.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    super::errno::errno,
    tree::{Content, Tree},
};

/// The most symbolic links that are followed in one path.
const LINKS_MAX: usize = 40;
/// The longest path, in bytes.
const PATH_MAX: usize = 4095;
/// The longest name in a path, in bytes.
const NAME_MAX: usize = 255;

/// How a path ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Last {
    Name(OsString),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path is `/`.
    Root,
}

/// A directory, which exists, and a name in it, which need not.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) last: Last,
    /// A slash follows the name, so that only a directory is meant.
    pub(super) slash: bool,
}

impl Place {
    /// Returns the path, unless it ends in something that cannot be created, removed or renamed.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match &self.last {
            Last::Name(name) => Some(self.dir.join(name)),
            _ => None,
        }
    }
}

/// The components of a path. Unlike [`Path::components`], with each `.`, because `file/.` is an error.
fn split(path: &Path) -> VecDeque<OsString> {
    let names = path.as_os_str().as_bytes().split(|&byte| byte == b'/');
    names.filter(|name| !name.is_empty()).map(|name| OsStr::from_bytes(name).to_owned()).collect()
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// Refuses a path that no system call takes, by std's error.
pub(super) fn check_nul(path: &Path) -> io::Result<()> {
    match path.as_os_str().as_bytes().contains(&0) {
        true => {
            let text = "file name contained an unexpected NUL byte";
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
        false => Ok(()),
    }
}

/// Refuses a path that is not even looked up.
pub(super) fn check_path(path: &Path) -> io::Result<()> {
    check_nul(path)?;
    match path.as_os_str().len() {
        0 => Err(errno(libc::ENOENT)),
        1..=PATH_MAX => Ok(()),
        _ => Err(errno(libc::ENAMETOOLONG)),
    }
}

impl Tree {
    /// Follows the links of a path: of all directories, and of its last name if `follow` is set. What the
    /// last name names need not exist, unless a slash follows.
    pub(super) fn resolve(&self, path: &Path, follow: bool) -> io::Result<PathBuf> {
        check_path(path)?;
        let mut names = split(path);
        if ends_in_slash(path) {
            names.push_back(".".into());
        }
        self.walk("/".into(), names, follow, &mut 0)
    }

    /// Follows the links of a path up to its last name, which is not looked up.
    pub(super) fn locate(&self, path: &Path) -> io::Result<Place> {
        check_path(path)?;
        self.locate_from("/".into(), path, &mut 0)
    }

    fn locate_from(&self, start: PathBuf, path: &Path, links: &mut usize) -> io::Result<Place> {
        let mut names = split(path);
        let slash = ends_in_slash(path);
        let start = if path.is_absolute() { "/".into() } else { start };
        let Some(last) = names.pop_back() else {
            return Ok(Place { dir: start, last: Last::Root, slash });
        };
        // So that what comes before the last name is a directory.
        names.push_back(".".into());
        let dir = self.walk(start, names, true, links)?;
        let last = match last.as_bytes() {
            b"." => Last::Dot,
            b".." => Last::DotDot,
            name if name.len() > NAME_MAX => return Err(errno(libc::ENAMETOOLONG)),
            _ => Last::Name(last),
        };
        Ok(Place { dir, last, slash })
    }

    /// Follows the links of a path that is opened to be created if it does not exist (`O_CREAT`, or `O_EXCL`
    /// with it): a link to nothing is followed, too.
    pub(super) fn resolve_to_create(&self, path: &Path, exclusive: bool) -> io::Result<PathBuf> {
        check_path(path)?;
        let (mut start, mut rest, mut links) = (PathBuf::from("/"), path.to_owned(), 0);
        loop {
            let place = self.locate_from(start, &rest, &mut links)?;
            let path = match place.path() {
                Some(_) if place.slash => return Err(errno(libc::EISDIR)),
                Some(path) => path,
                None => return Err(errno(if exclusive { libc::EEXIST } else { libc::EISDIR })),
            };
            match self.names.get(&path).map(|inode| &self.inodes[inode].content) {
                Some(_) if exclusive => return Err(errno(libc::EEXIST)),
                Some(Content::Symlink(original)) => {
                    count_link(&mut links)?;
                    (start, rest) = (place.dir, original.clone());
                }
                _ => return Ok(path),
            }
        }
    }

    fn walk(
        &self,
        mut at: PathBuf,
        mut left: VecDeque<OsString>,
        follow: bool,
        links: &mut usize,
    ) -> io::Result<PathBuf> {
        while let Some(name) = left.pop_front() {
            match self.names.get(&at).map(|inode| &self.inodes[inode]) {
                None => return Err(errno(libc::ENOENT)),
                Some(dir) if !dir.is_dir() => return Err(errno(libc::ENOTDIR)),
                Some(dir) if dir.mode & 0o100 == 0 => return Err(errno(libc::EACCES)),
                Some(_) => {}
            }
            match name.as_bytes() {
                b"." => continue,
                b".." => {
                    at.pop();
                    continue;
                }
                name if name.len() > NAME_MAX => return Err(errno(libc::ENAMETOOLONG)),
                _ => {}
            }
            let next = at.join(name);
            let content = self.names.get(&next).map(|inode| &self.inodes[inode].content);
            let Some(Content::Symlink(original)) = content.filter(|_| follow || !left.is_empty()) else {
                at = next;
                continue;
            };
            count_link(links)?;
            if ends_in_slash(original) {
                left.push_front(".".into());
            }
            split(original).into_iter().rev().for_each(|name| left.push_front(name));
            if original.is_absolute() {
                at = "/".into();
            }
        }
        Ok(at)
    }

    /// The inode that a resolved path names.
    pub(super) fn look_up(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| errno(libc::ENOENT))
    }
}

fn count_link(links: &mut usize) -> io::Result<()> {
    *links += 1;
    if *links > LINKS_MAX { Err(errno(libc::ELOOP)) } else { Ok(()) }
}
