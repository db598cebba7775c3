//! Operations on files, one after the other, sensible and not: what each is answered.

use std::{cell::RefCell, rc::Rc};

use ringback::{
    Loop, Request, Result,
    fs::{self, File, OpenOptions},
};

use super::script::{Story, random};
use crate::program::Random;

const WHO: &str = "files";
/// Some are there, some are directories, some cannot be.
const NAMES: [&str; 8] = ["a", "b", "dir", "dir/c", "a/b", "none", "nowhere/x", "dir/../b"];
/// What there is at first.
pub(super) const DIR: &str = "dir";
const ACTS: u32 = 40;

/// What is left to do.
struct Desk {
    random: Random,
    left: u32,
    open: Vec<File>,
}

type Shared = Rc<RefCell<Desk>>;

pub(super) fn begin(lp: &mut Loop<Story>, story: &mut Story, seed: u64) -> Result {
    let desk = Desk { random: random(seed, 6), left: ACTS, open: Vec::new() };
    next(lp, story, &Rc::new(RefCell::new(desk)))
}

/// Tells what came of an act, and goes on to the next.
fn then<T: 'static>(
    desk: &Shared,
    what: &'static str,
    show: impl FnOnce(T) -> String + 'static,
) -> impl FnOnce(&mut Loop<Story>, &mut Story, Result<T>) -> Result + 'static {
    let desk = desk.clone();
    move |lp, story, result| {
        story.tell_result(WHO, what, &result.map(show));
        next(lp, story, &desk)
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

fn next(lp: &mut Loop<Story>, story: &mut Story, desk: &Shared) -> Result {
    let mut guard = desk.borrow_mut();
    if guard.left == 0 {
        std::mem::take(&mut guard.open).into_iter().for_each(|file| file.close(lp));
        return Ok(());
    }
    guard.left -= 1;
    let path = story.dir.join(NAMES[guard.random.below(NAMES.len() as u64) as usize]);
    let bytes = |random: &mut Random| vec![random.below(256) as u8; random.below(3000) as usize];
    let asked = match guard.random.below(7) {
        0 => fs::write(lp, path, bytes(&mut guard.random), then(desk, "write whole", |()| String::new())),
        1 => fs::read(lp, path, then(desk, "read whole", sum)),
        2 => fs::metadata(lp, path, then(desk, "metadata", describe)),
        3 => fs::symlink_metadata(lp, path, then(desk, "symlink metadata", describe)),
        4 => {
            let mut odds = || guard.random.below(2) == 0;
            let options = OpenOptions::new().read(odds()).write(odds()).append(odds());
            let options = options.truncate(odds() && odds()).create(odds()).create_new(odds() && odds());
            let own = desk.clone();
            options.open(lp, path, move |lp, story: &mut Story, file| {
                let opened = file.map(|file| own.borrow_mut().open.push(file));
                story.tell_result(WHO, "open", &opened);
                next(lp, story, &own)
            })
        }
        _ => on_open(lp, desk, &mut guard),
    };
    drop(guard);
    match asked {
        Ok(_) => Ok(()),
        Err(error) => {
            story.tell_result(WHO, "refused", &Err::<(), _>(error));
            let own = desk.clone();
            lp.defer(move |lp, story| next(lp, story, &own));
            Ok(())
        }
    }
}

/// Something with a file that is open, or was.
fn on_open(lp: &mut Loop<Story>, desk: &Shared, guard: &mut Desk) -> Result<Request> {
    let Desk { random, open, .. } = guard;
    let count = random.below(3000);
    let Some(&file) = open.get(random.below(open.len() as u64) as usize) else {
        return Err(ringback::Error::other("there is none"));
    };
    let bytes = vec![random.below(256) as u8; count as usize];
    match random.below(9) {
        0 | 1 => {
            file.read_at(lp, random.below(4000), Vec::with_capacity(count as usize), then(desk, "read", sum))
        }
        2 | 3 => file.write_at(lp, random.below(4000), bytes, then(desk, "write", |n: usize| n.to_string())),
        4 => file.append(lp, bytes, then(desk, "append", |n: usize| n.to_string())),
        5 => file.set_len(lp, count, then(desk, "set length", |()| String::new())),
        6 => file.metadata(lp, then(desk, "metadata of open", describe)),
        7 => file.sync(lp, then(desk, "sync", |()| String::new())),
        _ => {
            file.close(lp);
            file.sync_data(lp, then(desk, "sync", |()| String::new()))
        }
    }
}
