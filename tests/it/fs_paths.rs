//! Operations on names: renaming, removing, directories, links; and replacing a file in a single step.

use std::{
    fs as std_fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use ringback::{
    Loop, Request, Result,
    fs::{self, File, OpenOptions},
};
use tempfile::TempDir;

use crate::common::*;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs one operation and returns what its callback got.
fn outcome<T: 'static>(
    start: impl FnOnce(&mut Loop<Option<Result<T>>>, Callback<T>) -> Result<Request>,
) -> Result<T> {
    let mut lp = Loop::new().unwrap();
    let mut result = None;
    start(&mut lp, |_, place, result| {
        *place = Some(result);
        Ok(())
    })
    .unwrap();
    assert!(lp.is_alive(), "an operation keeps the loop alive");
    lp.run(&mut result).unwrap();
    lp.verify();
    result.expect("the callback ran")
}

type Callback<T> = fn(&mut Loop<Option<Result<T>>>, &mut Option<Result<T>>, Result<T>) -> Result;

/// The names in a directory, in their order.
fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std_fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std_fs::read_dir(dir).unwrap().map(name).collect();
    names.sort();
    names
}

fn read(path: impl AsRef<Path>) -> String {
    std_fs::read_to_string(path).unwrap()
}

#[test]
fn renaming_replaces_the_file_at_the_new_path() {
    let dir = dir();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    std_fs::write(&from, "new").unwrap();
    std_fs::write(&to, "old").unwrap();
    outcome(|lp, callback| fs::rename(lp, &from, &to, callback)).unwrap();
    assert_eq!((names(dir.path()), read(to)), (vec!["to".into()], "new".into()));
}

#[test]
fn a_directory_is_renamed_with_everything_in_it() {
    let dir = dir();
    std_fs::create_dir(dir.path().join("old")).unwrap();
    std_fs::write(dir.path().join("old/file"), "inside").unwrap();
    let new = dir.path().join("new");
    outcome(|lp, callback| fs::rename(lp, dir.path().join("old"), &new, callback)).unwrap();
    assert_eq!(read(new.join("file")), "inside");
}

#[test]
fn errors_of_two_paths_name_both() {
    let dir = dir();
    let (from, to) = (dir.path().join("from"), dir.path().join("nowhere/to"));
    std_fs::write(&from, "").unwrap();
    let error = outcome(|lp, callback| fs::rename(lp, &from, &to, callback)).unwrap_err();
    let expected = format!("rename {} to {}: ", from.display(), to.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    let error = outcome(|lp, callback| fs::hard_link(lp, &to, &from, callback)).unwrap_err();
    let expected = format!("hard link {} to {}: ", to.display(), from.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    let error = outcome(|lp, callback| fs::symlink(lp, "anything", &from, callback)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("symlink anything to {}: ", from.display())), "{error}");
}

#[test]
fn errors_of_one_path_name_it() {
    type Start = fn(&mut Loop<Option<Result<()>>>, &Path, Callback<()>) -> Result<Request>;
    let operations: [(&str, Start, &str); 5] = [
        ("remove file", |lp, path, callback| fs::remove_file(lp, path, callback), "NotFound"),
        ("create directory", |lp, path, callback| fs::create_dir(lp, path, callback), "NotFound"),
        ("remove directory", |lp, path, callback| fs::remove_dir(lp, path, callback), "NotFound"),
        ("write atomically", |lp, path, callback| fs::write_atomic(lp, path, "x", callback), "NotFound"),
        ("rename", |lp, path, callback| fs::rename(lp, path, path, callback), "NotFound"),
    ];
    let dir = dir();
    let path = dir.path().join("nowhere/file");
    for (op, start, expected) in operations {
        let error = outcome(|lp, callback| start(lp, &path, callback)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{op} {}", path.display())), "{error}");
        assert_eq!(describe_error(&error), format!("{op} {expected}"));
    }
    for error in [
        outcome(|lp, callback| fs::read_link(lp, &path, callback)).unwrap_err(),
        outcome(|lp, callback| fs::canonicalize(lp, &path, callback)).unwrap_err(),
    ] {
        assert!(error.to_string().contains(&format!(" {}: ", path.display())), "{error}");
        assert!(describe_error(&error).ends_with(" NotFound"), "{error}");
    }
}

#[test]
fn a_path_with_a_zero_byte_is_refused() {
    let error = outcome(|lp, callback| fs::remove_file(lp, "with\0zero", callback)).unwrap_err();
    assert_eq!(describe_error(&error), "remove file InvalidInput");
    let error = outcome(|lp, callback| fs::rename(lp, "from", "with\0zero", callback)).unwrap_err();
    assert_eq!(describe_error(&error), "rename InvalidInput");
}

#[test]
fn removing_a_symlink_keeps_what_it_leads_to() {
    let dir = dir();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    std_fs::write(&file, "kept").unwrap();
    symlink(&file, &link).unwrap();
    outcome(|lp, callback| fs::remove_file(lp, &link, callback)).unwrap();
    assert_eq!((names(dir.path()), read(file)), (vec!["file".into()], "kept".into()));
}

#[test]
fn an_open_file_outlives_its_name() {
    let dir = dir();
    let path = dir.path().join("file");
    std_fs::write(&path, "still here").unwrap();
    let mut lp = new_loop();
    File::open(&mut lp, path.clone(), move |lp, _, file| {
        let file = file?;
        fs::remove_file(lp, &path, move |lp, log, removed| {
            removed?;
            note(log, "removed")?;
            file.read_at(lp, 0, Vec::with_capacity(10), move |lp, log, bytes| {
                file.close(lp);
                note(log, String::from_utf8(bytes?)?)
            })
            .map(drop)
        })
        .map(drop)
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["removed", "still here"]);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_directory_is_created_once_and_removed_when_empty() {
    let dir = dir();
    let path = dir.path().join("new");
    let create = || outcome(|lp, callback| fs::create_dir(lp, &path, callback));
    let remove = || outcome(|lp, callback| fs::remove_dir(lp, &path, callback));
    create().unwrap();
    assert_eq!(describe_error(&create().unwrap_err()), "create directory AlreadyExists");
    std_fs::write(path.join("file"), "").unwrap();
    assert_eq!(describe_error(&remove().unwrap_err()), "remove directory DirectoryNotEmpty");
    std_fs::remove_file(path.join("file")).unwrap();
    remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_new_directory_has_the_mode_that_std_gives() {
    let dir = dir();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    outcome(|lp, callback| fs::create_dir(lp, &ours, callback)).unwrap();
    std_fs::create_dir(&theirs).unwrap();
    assert_eq!(ours.metadata().unwrap().mode(), theirs.metadata().unwrap().mode());
}

#[test]
fn a_hard_link_is_the_same_file() {
    let dir = dir();
    let (original, link) = (dir.path().join("original"), dir.path().join("link"));
    std_fs::write(&original, "text").unwrap();
    outcome(|lp, callback| fs::hard_link(lp, &original, &link, callback)).unwrap();
    assert_eq!(original.metadata().unwrap().ino(), link.metadata().unwrap().ino());
    let found = outcome(|lp, callback| fs::metadata(lp, &link, callback)).unwrap();
    assert_eq!(found.links, 2);
}

#[test]
fn a_symlink_holds_what_it_was_given() {
    let dir = dir();
    let link = dir.path().join("link");
    outcome(|lp, callback| fs::symlink(lp, "../not/there", &link, callback)).unwrap();
    assert_eq!(std_fs::read_link(&link).unwrap(), Path::new("../not/there"));
    assert_eq!(
        outcome(|lp, callback| fs::read_link(lp, &link, callback)).unwrap(),
        Path::new("../not/there")
    );
}

#[test]
fn reading_a_link_that_is_none_is_invalid() {
    let dir = dir();
    let error = outcome(|lp, callback| fs::read_link(lp, dir.path(), callback)).unwrap_err();
    assert_eq!(describe_error(&error), "read link InvalidInput");
}

#[test]
fn a_canonical_path_has_no_links_and_no_dots() {
    let dir = dir();
    std_fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    std_fs::write(dir.path().join("real/file"), "").unwrap();
    let path = dir.path().join("real/../link/./file");
    let found = outcome(|lp, callback| fs::canonicalize(lp, &path, callback)).unwrap();
    assert_eq!(found, std_fs::canonicalize(dir.path()).unwrap().join("real/file"));
}

#[test]
fn a_loop_of_links_is_an_error_not_a_hang() {
    let dir = dir();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    symlink("other", &one).unwrap();
    symlink("one", &other).unwrap();
    let expected = std_fs::metadata(&one).unwrap_err().raw_os_error();
    let errno = |error: ringback::Error| match error {
        ringback::Error::System { source, .. } => source.raw_os_error(),
        other => panic!("{other}"),
    };
    let error = outcome(|lp, callback| fs::canonicalize(lp, &one, callback)).unwrap_err();
    assert_eq!(errno(error), expected);
    let error = outcome(|lp, callback| fs::write_atomic(lp, &one, "x", callback)).unwrap_err();
    assert_eq!(errno(error), expected);
    assert_eq!(names(dir.path()), ["one", "other"]);
}

#[test]
fn writing_atomically_creates_or_replaces_a_file() {
    let dir = dir();
    let path = dir.path().join("file");
    for contents in ["first", "a longer second", "3"] {
        outcome(|lp, callback| fs::write_atomic(lp, &path, contents, callback)).unwrap();
        assert_eq!((names(dir.path()), read(&path)), (vec!["file".into()], contents.into()));
    }
}

#[test]
fn a_reader_keeps_the_old_contents_while_they_are_replaced() {
    let dir = dir();
    let path = dir.path().join("file");
    std_fs::write(&path, "old").unwrap();
    let reader = std_fs::File::open(&path).unwrap();
    outcome(|lp, callback| fs::write_atomic(lp, &path, "new", callback)).unwrap();
    assert_eq!(std::io::read_to_string(reader).unwrap(), "old");
}

#[test]
fn concurrent_readers_find_only_whole_contents() {
    let dir = dir();
    let path = dir.path().join("file");
    let contents = |number: u8| vec![number; 10_000 + usize::from(number)];
    std_fs::write(&path, contents(0)).unwrap();
    let mut lp = new_loop();
    for number in 1..100 {
        fs::write_atomic(&mut lp, &path, contents(number), |_, _, written| written).unwrap();
        fs::read(&mut lp, &path, move |_, log, bytes| {
            let bytes = bytes?;
            assert!(bytes == contents(bytes[0]), "{} bytes of {}", bytes.len(), bytes[0]);
            note(log, "whole")
        })
        .unwrap();
    }
    assert_eq!(run(&mut lp).len(), 99);
    let bytes = std_fs::read(&path).unwrap();
    assert!(bytes == contents(bytes[0]));
    assert_eq!(names(dir.path()), ["file"]);
}

#[test]
fn writing_atomically_keeps_the_permission_bits() {
    let dir = dir();
    let path = dir.path().join("file");
    // The umask would forbid the first; the second, to be written at all.
    for mode in [0o666, 0o440, 0o600] {
        std_fs::write(&path, "old").or_else(|_| std_fs::remove_file(&path)).unwrap();
        std_fs::write(&path, "old").unwrap();
        std_fs::set_permissions(&path, std_fs::Permissions::from_mode(mode)).unwrap();
        outcome(|lp, callback| fs::write_atomic(lp, &path, "new", callback)).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode);
    }
}

#[test]
fn a_file_that_is_new_has_the_mode_that_std_gives() {
    let dir = dir();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    outcome(|lp, callback| fs::write_atomic(lp, &ours, "x", callback)).unwrap();
    std_fs::write(&theirs, "x").unwrap();
    assert_eq!(ours.metadata().unwrap().mode(), theirs.metadata().unwrap().mode());
}

#[test]
fn writing_atomically_goes_through_symlinks() {
    let dir = dir();
    let elsewhere = dir.path().join("elsewhere");
    std_fs::create_dir(&elsewhere).unwrap();
    std_fs::write(elsewhere.join("file"), "old").unwrap();
    symlink("elsewhere/file", dir.path().join("near")).unwrap();
    symlink("near", dir.path().join("far")).unwrap();
    // Also one that leads to nothing yet, by an absolute path.
    symlink(elsewhere.join("new"), dir.path().join("broken")).unwrap();
    for (link, target) in [("far", "file"), ("broken", "new")] {
        outcome(|lp, callback| fs::write_atomic(lp, dir.path().join(link), "text", callback)).unwrap();
        assert!(dir.path().join(link).is_symlink());
        assert_eq!(read(elsewhere.join(target)), "text");
    }
    assert_eq!(names(&elsewhere), ["file", "new"]);
    assert_eq!(names(dir.path()), ["broken", "elsewhere", "far", "near"]);
}

#[test]
fn writing_atomically_to_a_directory_changes_nothing() {
    let dir = dir();
    for path in [dir.path().to_owned(), dir.path().join("new/"), dir.path().join("new/."), "/".into()] {
        let error = outcome(|lp, callback| fs::write_atomic(lp, &path, "x", callback)).unwrap_err();
        assert_eq!(describe_error(&error), "write atomically IsADirectory", "{path:?}");
    }
    assert!(names(dir.path()).is_empty());
    let error = outcome(|lp, callback| fs::write_atomic(lp, "", "x", callback)).unwrap_err();
    assert_eq!(describe_error(&error), "write atomically NotFound");
}

#[test]
fn writing_atomically_to_a_device_leaves_it_in_place() {
    let dir = dir();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe, PathBuf::from("/dev/null")] {
        let error = outcome(|lp, callback| fs::write_atomic(lp, &path, "x", callback)).unwrap_err();
        assert_eq!(describe_error(&error), "write atomically InvalidInput");
        assert!(!path.metadata().unwrap().is_file());
    }
    assert_eq!(names(dir.path()), ["pipe"]);
}

#[test]
fn a_long_name_leaves_room_for_the_temporary_files() {
    let dir = dir();
    // Letters of two bytes, so that the name is not cut within one.
    let path = dir.path().join("é".repeat(127));
    outcome(|lp, callback| fs::write_atomic(lp, &path, "x", callback)).unwrap();
    assert_eq!(read(path), "x");
    assert_eq!(names(dir.path()).len(), 1);
}

#[test]
fn concurrent_replacements_keep_their_own_contents() {
    let dir = dir();
    let mut lp = new_loop();
    for number in 0..100 {
        // The same beginning, and more than temporary files keep of it.
        let path = dir.path().join(format!("{}{number}", "x".repeat(200)));
        fs::write_atomic(&mut lp, path, format!("contents of {number}"), |_, log, written| {
            written?;
            note(log, "written")
        })
        .unwrap();
    }
    assert_eq!(run(&mut lp).len(), 100);
    assert_eq!(names(dir.path()).len(), 100);
    for number in 0..100 {
        let path = dir.path().join(format!("{}{number}", "x".repeat(200)));
        assert_eq!(read(path), format!("contents of {number}"));
    }
}

#[test]
fn a_leftover_temporary_file_is_no_obstacle() {
    let dir = dir();
    let path = dir.path().join("file");
    // The counter is below 2000, so the names that come next are taken.
    let mut taken = Vec::new();
    for number in 0..2000 {
        let name = format!(".file.{}-{number}.tmp", std::process::id());
        std_fs::write(dir.path().join(&name), "left").unwrap();
        taken.push(name);
    }
    outcome(|lp, callback| fs::write_atomic(lp, &path, "new", callback)).unwrap();
    assert_eq!(read(&path), "new");
    for name in &taken {
        assert_eq!(read(dir.path().join(name)), "left");
    }
    assert_eq!(names(dir.path()).len(), taken.len() + 1);
}

#[test]
fn appending_needs_a_file_opened_for_appending() {
    let dir = dir();
    let path = dir.path().join("file");
    std_fs::write(&path, "text").unwrap();
    let mut lp = new_loop();
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&mut lp, &path, |lp, log, file| {
            let file = file?;
            let refused = file.append(lp, "more", |_, _, _| panic!("it was refused"));
            file.close(lp);
            note(log, refused.unwrap_err().to_string())
        })
        .unwrap();
    assert_eq!(run(&mut lp), ["append: the file was not opened for appending"]);
    assert_eq!(read(path), "text");
}

#[test]
fn a_given_file_may_append_if_it_was_opened_so() {
    let dir = dir();
    let path = dir.path().join("file");
    std_fs::write(&path, "text").unwrap();
    let mut lp = new_loop();
    for append in [true, false] {
        let file = std_fs::OpenOptions::new().write(!append).append(append).open(&path).unwrap();
        let file = File::from_std(&mut lp, file).unwrap();
        let started = file.append(&mut lp, " more", move |lp, log, count| {
            file.close(lp);
            note(log, count?.to_string())
        });
        assert_eq!(started.is_ok(), append);
        if !append {
            assert_eq!(describe_error(&started.unwrap_err()), "invalid");
            file.close(&mut lp);
        }
    }
    assert_eq!(run(&mut lp), ["5"]);
    assert_eq!(read(path), "text more");
}
