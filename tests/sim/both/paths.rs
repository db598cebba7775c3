//! Operations on names, one after the other: random paths, links and directories, and their results.

use std::{cell::RefCell, path::PathBuf, rc::Rc};

use ringback::{
    Error, Loop, Request, Result,
    fs::{self, OpenOptions},
};

use super::script::{Story, random};
use crate::program::Random;

const ACTOR: &str = "paths";
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const OPS: u32 = 120;
/// More levels than any seed climbs by `..` and links, so that nothing outside is reached on the system.
const DEPTH: usize = 12;

/// The directory that everything happens in, which exists from the start. No path names it or what is above
/// it.
pub(super) fn base() -> String {
    format!("{}tree", "u/".repeat(DEPTH))
}

/// Panics if a file in a world is so far up that on the system it might be outside of the test's directory.
pub(super) fn assert_inside(paths: &[PathBuf]) {
    let far_up = paths.iter().find(|path| path.starts_with("/u") && !path.starts_with("/u/u/u/u/u/u"));
    assert!(far_up.is_none(), "{far_up:?}: DEPTH is too small");
}

struct State {
    random: Random,
    /// The number of operations that are left.
    left: u32,
    /// What is looked at in the end.
    unseen: Vec<String>,
    base: PathBuf,
}

type Shared = Rc<RefCell<State>>;

pub(super) fn begin(lp: &mut Loop<Story>, story: &mut Story, seed: u64) -> Result {
    let below = |name: &&str| NAMES.map(|other| format!("{name}/{other}"));
    let unseen = NAMES.iter().flat_map(below).chain(NAMES.map(str::to_owned)).collect();
    let state = State { random: random(seed, 7), left: OPS, unseen, base: story.dir.join(base()) };
    next(lp, story, &Rc::new(RefCell::new(state)))
}

/// Returns a callback that records a result and starts the next operation.
fn recorded<T: 'static>(
    state: &Shared,
    what: String,
    show: impl FnOnce(T) -> String + 'static,
) -> impl FnOnce(&mut Loop<Story>, &mut Story, Result<T>) -> Result + 'static {
    let state = state.clone();
    move |lp, story, result| {
        let (base, dir) = (story.dir.join(base()).display().to_string(), format!("{}/", story.dir.display()));
        let without_places = |text: &str| text.replace(&base, "~").replace(&dir, "/");
        let result = result.map(|value| without_places(&show(value))).map_err(|error| kind(&error));
        story.record(ACTOR, format!("{}: {result:?}", without_places(&what)));
        next(lp, story, &state)
    }
}

impl State {
    fn one_in(&mut self, times: u64) -> bool {
        self.random.below(times) == 0
    }

    /// One to three names, some of them dots, and sometimes a slash too many.
    fn relative(&mut self) -> String {
        let mut path = String::new();
        for _ in 0..1 + self.random.below(5) / 2 {
            if !path.is_empty() {
                path.push('/');
            }
            let name = match self.random.below(16) {
                0 => ".",
                1 => "..",
                other => NAMES[other as usize % NAMES.len()],
            };
            path.push_str(name);
        }
        if self.one_in(10) {
            path.push('/');
        }
        path
    }

    fn path(&mut self) -> PathBuf {
        let path = self.relative();
        self.base.join(path)
    }

    /// What a symbolic link is to hold. Never the root: it is the real one, on the system.
    fn original(&mut self) -> PathBuf {
        match self.random.below(12) {
            0 => self.path(),
            1 => "".into(),
            2 => "..".into(),
            _ => self.relative().into(),
        }
    }
}

fn describe(found: fs::Metadata) -> String {
    let (len, links) = if found.is_file() { (found.len, found.links) } else { (0, 0) };
    format!("{:?}, {len} bytes, {links} links, mode {:o}", found.file_type, found.mode & 0o700)
}

/// The error without what differs between places. That it names its paths is for other tests.
fn kind(error: &Error) -> String {
    match error {
        Error::System { op, source, .. } => format!("{op}: {source}"),
        other => other.to_string(),
    }
}

fn nothing((): ()) -> String {
    String::new()
}

fn shown(path: PathBuf) -> String {
    path.display().to_string()
}

fn next(lp: &mut Loop<Story>, story: &mut Story, state: &Shared) -> Result {
    let mut guard = state.borrow_mut();
    let this = &mut *guard;
    let started = if this.left > 0 {
        this.left -= 1;
        if this.one_in(2) { change(lp, state, this) } else { look(lp, state, this) }
    } else {
        let Some(name) = this.unseen.pop() else { return Ok(()) };
        let path = this.base.join(&name);
        fs::symlink_metadata(lp, path, recorded(state, format!("in the end {name}"), describe))
    };
    drop(guard);
    if let Err(error) = started {
        story.record_result(ACTOR, "refused", &Err::<(), _>(error));
    }
    Ok(())
}

fn change(lp: &mut Loop<Story>, state: &Shared, this: &mut State) -> Result<Request> {
    let path = this.path();
    let then = |what: &str| recorded(state, format!("{what} {}", path.display()), nothing);
    match this.random.below(12) {
        0 | 1 => {
            let to = this.path();
            let what = format!("rename {} to {}", path.display(), to.display());
            fs::rename(lp, path, to, recorded(state, what, nothing))
        }
        2 => fs::remove_file(lp, &path, then("remove")),
        3..=5 => fs::create_dir(lp, &path, then("create")),
        6 => fs::remove_dir(lp, &path, then("remove directory")),
        7 => {
            let original = this.path();
            let what = format!("link {} to {}", original.display(), path.display());
            fs::hard_link(lp, original, path, recorded(state, what, nothing))
        }
        8..=10 => {
            let original = this.original();
            let what = format!("symlink {} to {}", original.display(), path.display());
            fs::symlink(lp, original, path, recorded(state, what, nothing))
        }
        _ => {
            let bytes = vec![b'x'; this.random.below(100) as usize];
            fs::write_atomic(lp, &path, bytes, then("write atomically"))
        }
    }
}

fn look(lp: &mut Loop<Story>, state: &Shared, this: &mut State) -> Result<Request> {
    let path = this.path();
    let what = |what: &str| format!("{what} {}", path.display());
    match this.random.below(10) {
        0 | 1 => {
            let bytes = vec![b'y'; this.random.below(100) as usize];
            fs::write(lp, &path, bytes, recorded(state, what("write"), nothing))
        }
        2 | 3 => {
            let show = |bytes: Vec<u8>| format!("{} bytes", bytes.len());
            fs::read(lp, &path, recorded(state, what("read"), show))
        }
        4 => fs::metadata(lp, &path, recorded(state, what("metadata"), describe)),
        5 => fs::symlink_metadata(lp, &path, recorded(state, what("symlink metadata"), describe)),
        6 => fs::read_link(lp, &path, recorded(state, what("read link"), shown)),
        7 | 8 => fs::canonicalize(lp, &path, recorded(state, what("canonicalize"), shown)),
        _ => {
            let mut odds = || this.random.below(2) == 0;
            let options = OpenOptions::new().read(odds()).write(odds()).create(odds()).create_new(odds());
            let own = state.clone();
            let what = what("open");
            options.clone().open(lp, &path, move |lp, story: &mut Story, file| {
                let show = move |()| format!("{options:?}");
                let opened = file.map(|file| file.close(lp));
                recorded(&own, what, show)(lp, story, opened)
            })
        }
    }
}
