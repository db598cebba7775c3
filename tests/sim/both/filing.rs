//! File operations, one after the other, valid and invalid, and their results.

use std::{cell::RefCell, rc::Rc};

use ringback::{
    Loop, Request, Result,
    fs::{self, File, OpenOptions},
};

use super::script::{Story, random};
use crate::program::Random;

const ACTOR: &str = "files";
/// Files, directories, and paths that cannot exist.
const NAMES: [&str; 8] = ["a", "b", "dir", "dir/c", "a/b", "none", "nowhere/x", "dir/../b"];
/// The directory that exists from the start.
pub(super) const DIR: &str = "dir";
const OPS: u32 = 40;

struct State {
    random: Random,
    /// The number of operations that are left.
    left: u32,
    open: Vec<File>,
}

type Shared = Rc<RefCell<State>>;

pub(super) fn begin(lp: &mut Loop<Story>, story: &mut Story, seed: u64) -> Result {
    let state = State { random: random(seed, 6), left: OPS, open: Vec::new() };
    next(lp, story, &Rc::new(RefCell::new(state)))
}

/// Returns a callback that records a result and starts the next operation.
fn recorded<T: 'static>(
    state: &Shared,
    what: &'static str,
    show: impl FnOnce(T) -> String + 'static,
) -> impl FnOnce(&mut Loop<Story>, &mut Story, Result<T>) -> Result + 'static {
    let state = state.clone();
    move |lp, story, result| {
        story.record_result(ACTOR, what, &result.map(show));
        next(lp, story, &state)
    }
}

fn sum(bytes: Vec<u8>) -> String {
    let sum = bytes.iter().fold(7_u64, |sum, &byte| sum.wrapping_mul(31) ^ u64::from(byte));
    format!("{} bytes, {sum:x}", bytes.len())
}

fn describe(found: fs::Metadata) -> String {
    let len = if found.is_file() { found.len } else { 0 };
    format!("{:?}, {len} bytes, mode {:o}", found.file_type, found.mode & 0o700)
}

fn next(lp: &mut Loop<Story>, story: &mut Story, state: &Shared) -> Result {
    let mut guard = state.borrow_mut();
    if guard.left == 0 {
        std::mem::take(&mut guard.open).into_iter().for_each(|file| file.close(lp));
        return Ok(());
    }
    guard.left -= 1;
    let path = story.dir.join(NAMES[guard.random.below(NAMES.len() as u64) as usize]);
    let bytes = |random: &mut Random| vec![random.below(256) as u8; random.below(3000) as usize];
    let submitted = match guard.random.below(7) {
        0 => {
            fs::write(lp, path, bytes(&mut guard.random), recorded(state, "write whole", |()| String::new()))
        }
        1 => fs::read(lp, path, recorded(state, "read whole", sum)),
        2 => fs::metadata(lp, path, recorded(state, "metadata", describe)),
        3 => fs::symlink_metadata(lp, path, recorded(state, "symlink metadata", describe)),
        4 => {
            let mut odds = || guard.random.below(2) == 0;
            let options = OpenOptions::new().read(odds()).write(odds()).append(odds());
            let options = options.truncate(odds() && odds()).create(odds()).create_new(odds() && odds());
            let own = state.clone();
            options.open(lp, path, move |lp, story: &mut Story, file| {
                let opened = file.map(|file| own.borrow_mut().open.push(file));
                story.record_result(ACTOR, "open", &opened);
                next(lp, story, &own)
            })
        }
        _ => on_open_file(lp, state, &mut guard),
    };
    drop(guard);
    match submitted {
        Ok(_) => Ok(()),
        Err(error) => {
            story.record_result(ACTOR, "refused", &Err::<(), _>(error));
            let own = state.clone();
            lp.defer(move |lp, story| next(lp, story, &own));
            Ok(())
        }
    }
}

/// Starts an operation on a file that is open or was.
fn on_open_file(lp: &mut Loop<Story>, state: &Shared, guard: &mut State) -> Result<Request> {
    let State { random, open, .. } = guard;
    let count = random.below(3000);
    let Some(&file) = open.get(random.below(open.len() as u64) as usize) else {
        return Err(ringback::Error::other("no file is open"));
    };
    let bytes = vec![random.below(256) as u8; count as usize];
    match random.below(9) {
        0 | 1 => file.read_at(
            lp,
            random.below(4000),
            Vec::with_capacity(count as usize),
            recorded(state, "read", sum),
        ),
        2 | 3 => {
            file.write_at(lp, random.below(4000), bytes, recorded(state, "write", |n: usize| n.to_string()))
        }
        4 => file.append(lp, bytes, recorded(state, "append", |n: usize| n.to_string())),
        5 => file.set_len(lp, count, recorded(state, "set length", |()| String::new())),
        6 => file.metadata(lp, recorded(state, "metadata of open", describe)),
        7 => file.sync(lp, recorded(state, "sync", |()| String::new())),
        _ => {
            file.close(lp);
            file.sync_data(lp, recorded(state, "sync", |()| String::new()))
        }
    }
}
