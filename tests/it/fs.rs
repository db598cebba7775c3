//! Files.

use std::{
    io::Write,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    rc::Rc,
};

use ringback::{
    Loop, Request,
    fs::{self, File, FileType, OpenOptions},
};
use tempfile::TempDir;

use crate::common::*;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file_with(dir: &TempDir, contents: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join("file");
    std::fs::write(&path, contents).unwrap();
    path
}

#[test]
fn read_returns_the_whole_file_of_any_size() {
    let dir = dir();
    for size in [0, 1, 4096, 65_536, 262_143, 262_144, 262_145, 3_000_000] {
        let contents: Vec<u8> = (0..size).map(|n: u32| (n * 31) as u8).collect();
        let path = file_with(&dir, &contents);
        let mut lp = new_loop();
        fs::read(&mut lp, &path, move |_, log, bytes| {
            assert!(bytes? == contents);
            note(log, "read")
        })
        .unwrap();
        assert_eq!(run(&mut lp), ["read"]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn files_of_reported_length_zero_are_read_to_their_end() {
    let mut lp = new_loop();
    fs::read(&mut lp, "/proc/self/status", |_, log, bytes| {
        assert!(String::from_utf8(bytes?)?.contains("Name:"));
        note(log, "read")
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["read"]);
}

#[test]
fn errors_name_the_operation_and_the_path() {
    let dir = dir();
    let missing = dir.path().join("missing");
    let cases = [
        ("read", missing.clone(), "NotFound"),
        ("read", dir.path().to_owned(), "IsADirectory"),
        ("write", dir.path().to_owned(), "IsADirectory"),
        ("metadata", missing.clone(), "NotFound"),
        ("open", missing.clone(), "NotFound"),
        ("read", PathBuf::from("with\0zero"), "InvalidInput"),
    ];
    for (op, path, kind) in cases {
        let mut lp = new_loop();
        let failed = move |log: &mut Log, error: ringback::Error| {
            note(log, format!("{:?}", error.io_kind().unwrap()))?;
            note(log, error.to_string())
        };
        match op {
            "read" => fs::read(&mut lp, &path, move |_, log, result| failed(log, result.unwrap_err())),
            "write" => fs::write(&mut lp, &path, "x", move |_, log, result| failed(log, result.unwrap_err())),
            "metadata" => {
                fs::metadata(&mut lp, &path, move |_, log, result| failed(log, result.unwrap_err()))
            }
            _ => File::open(&mut lp, &path, move |_, log, result| failed(log, result.unwrap_err())),
        }
        .unwrap();
        let log = run(&mut lp);
        assert_eq!(log[0], kind, "{op} {path:?}");
        assert!(log[1].starts_with(&format!("{op} {}: ", path.display())), "{}", log[1]);
    }
}

#[test]
fn a_directory_opens_but_cannot_be_read() {
    let dir = dir();
    let mut lp = new_loop();
    File::open(&mut lp, dir.path(), |lp, _, file| {
        let file = file?;
        file.read_at(lp, 0, Vec::with_capacity(10), move |lp, log, result| {
            file.close(lp);
            let error = result.unwrap_err();
            assert!(error.to_string().starts_with("read /"), "{error}");
            note(log, format!("{:?}", error.io_kind().unwrap()))
        })?;
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["IsADirectory"]);
}

#[test]
fn write_creates_or_replaces_a_file() {
    let dir = dir();
    let path = file_with(&dir, "a long text that was there");
    let mut lp = new_loop();
    fs::write(&mut lp, &path, String::from("short"), |_, log, result| result.and(note(log, "written")))
        .unwrap();
    assert_eq!(run(&mut lp), ["written"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"short");
}

#[test]
fn a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let mut lp = new_loop();
    fs::write(&mut lp, "/dev/full", "x", |_, log, result| note(log, describe_error(&result.unwrap_err())))
        .unwrap();
    assert_eq!(run(&mut lp), ["write StorageFull"]);
}

#[test]
fn metadata_follows_links_and_symlink_metadata_does_not() {
    let dir = dir();
    let path = file_with(&dir, "12345");
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    let mut lp = new_loop();
    for (name, path) in [("file", path), ("link", link.clone()), ("dir", dir.path().to_owned())] {
        fs::metadata(&mut lp, path, move |_, log, found| {
            let found = found?;
            note(log, format!("{name} {:?} {}", found.file_type, if found.is_file() { found.len } else { 0 }))
        })
        .unwrap();
    }
    fs::symlink_metadata(&mut lp, link, |_, log, found| {
        assert_eq!(found?.file_type, FileType::Symlink);
        note(log, "the link itself")
    })
    .unwrap();
    let mut log = run(&mut lp);
    log.sort();
    assert_eq!(log, ["dir Directory 0", "file File 5", "link File 5", "the link itself"]);
}

/// Opens a file for reading and writing, gives it to `with`, and runs. Returns the log and the contents
/// afterwards.
fn with_file(
    contents: &str,
    with: impl FnOnce(&mut Loop<Log>, File) -> ringback::Result + 'static,
) -> (Log, Vec<u8>) {
    let dir = dir();
    let path = file_with(&dir, contents);
    let mut lp = new_loop();
    let options = OpenOptions::new().read(true).write(true);
    options.open(&mut lp, &path, move |lp, _, file| with(lp, file?)).unwrap();
    let log = run(&mut lp);
    (log, std::fs::read(&path).unwrap())
}

#[test]
fn read_at_fills_the_buffer_unless_the_file_ends() {
    let (log, _) = with_file("0123456789", |lp, file| {
        for (offset, room) in [(0, 4), (8, 4), (10, 4), (1 << 40, 4)] {
            file.read_at(lp, offset, Vec::with_capacity(room), move |lp, log, bytes| {
                note(log, format!("{offset} {:?}", String::from_utf8(bytes?)?))?;
                if log.len() == 4 {
                    file.close(lp);
                }
                Ok(())
            })?;
        }
        assert_eq!(
            describe_error(&file.read_at(lp, 0, Vec::new(), |_, _, _| panic!()).unwrap_err()),
            "invalid"
        );
        Ok(())
    });
    assert_eq!(log, ["0 \"0123\"", "8 \"89\"", "10 \"\"", "1099511627776 \"\""]);
}

#[test]
fn read_at_returns_the_same_buffer_with_what_was_read() {
    let (log, _) = with_file("abc", |lp, file| {
        let mut buffer = vec![b'?'; 100];
        buffer.reserve_exact(0);
        let address = buffer.as_ptr() as usize;
        file.read_at(lp, 1, buffer, move |lp, log, bytes| {
            let bytes = bytes?;
            assert_eq!(bytes.as_ptr() as usize, address);
            file.close(lp);
            note(log, String::from_utf8(bytes)?)
        })?;
        Ok(())
    });
    assert_eq!(log, ["bc"]);
}

#[test]
fn write_at_extends_the_file() {
    let (log, contents) = with_file("0123456789", |lp, file| {
        file.write_at(lp, 8, "abcd", move |lp, log, count| {
            file.close(lp);
            note(log, count?.to_string())
        })?;
        Ok(())
    });
    assert_eq!((log, &contents[..]), (vec!["4".into()], &b"01234567abcd"[..]));
}

#[test]
fn append_writes_at_the_current_end() {
    let dir = dir();
    let path = file_with(&dir, "log:");
    let mut lp = new_loop();
    let other = path.clone();
    OpenOptions::new()
        .append(true)
        .open(&mut lp, &path, move |lp, _, file| {
            let file = file?;
            file.append(lp, " one", move |lp, _, count| {
                assert_eq!(count?, 4);
                std::fs::OpenOptions::new().append(true).open(other)?.write_all(b" another's")?;
                file.append(lp, " two", move |lp, log, _| {
                    file.close(lp);
                    note(log, "appended")
                })?;
                Ok(())
            })?;
            Ok(())
        })
        .unwrap();
    assert_eq!(run(&mut lp), ["appended"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"log: one another's two");
}

#[test]
fn set_len_sync_and_metadata_work_on_an_open_file() {
    let (log, contents) = with_file("0123456789", |lp, file| {
        file.set_len(lp, 4, move |lp, log, result| {
            result?;
            note(log, "cut")?;
            file.sync(lp, move |lp, log, result| {
                result?;
                note(log, "synced")?;
                file.sync_data(lp, move |lp, _, result| {
                    result?;
                    file.metadata(lp, move |lp, log, found| {
                        file.close(lp);
                        note(log, found?.len.to_string())
                    })?;
                    Ok(())
                })?;
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    });
    assert_eq!(log, ["cut", "synced", "4"]);
    assert_eq!(contents, b"0123");
}

#[test]
fn create_new_fails_if_the_file_exists() {
    let dir = dir();
    let path = file_with(&dir, "");
    let mut lp = new_loop();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&mut lp, &path, |_, log, file| note(log, describe_error(&file.unwrap_err())))
        .unwrap();
    assert_eq!(run(&mut lp), ["open AlreadyExists"]);
}

#[test]
fn an_open_file_does_not_keep_the_loop_alive() {
    let dir = dir();
    let path = file_with(&dir, "x");
    let mut lp = new_loop();
    File::open(&mut lp, &path, |_, log, file| {
        file?;
        note(log, "open")
    })
    .unwrap();
    assert_eq!(run_while_alive(&mut lp).unwrap(), ["open"]);
    assert_eq!(lp.handles().len(), 1);
}

#[test]
fn a_file_whose_open_callback_fails_is_closed() {
    let dir = dir();
    let path = file_with(&dir, "x");
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, failure.error.to_string()));
    File::open(&mut lp, &path, |_, _, file| {
        file?;
        Err(ringback::Error::other("no"))
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["no"]);
}

/// A loop whose only worker is busy until the sender sends.
fn loop_with_busy_worker() -> (Loop<Log>, std::sync::mpsc::Sender<()>, Request) {
    let mut lp: Loop<Log> = ringback::Options::new().workers(1).build().unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = std::sync::mpsc::channel();
    let request =
        ringback::work::run(&mut lp, move || (started.send(()), released.recv()).1.is_ok(), |_, _, _| Ok(()))
            .unwrap();
    has_started.recv().unwrap();
    (lp, release, request)
}

#[test]
fn an_operation_that_no_worker_has_started_can_be_canceled() {
    let dir = dir();
    let path = dir.path().join("never");
    let (mut lp, release, _) = loop_with_busy_worker();
    let request =
        fs::write(&mut lp, &path, "x", |_, log, result| note(log, describe_error(&result.unwrap_err())))
            .unwrap();
    request.cancel(&mut lp).unwrap();
    release.send(()).unwrap();
    assert_eq!(run(&mut lp), ["canceled"]);
    assert!(!path.exists());
}

#[test]
fn close_cancels_waiting_operations_before_its_own_callback() {
    let dir = dir();
    let path = file_with(&dir, "x");
    let (mut lp, release, _) = loop_with_busy_worker();
    let file = File::from_std(&mut lp, std::fs::OpenOptions::new().write(true).open(&path).unwrap()).unwrap();
    for _ in 0..2 {
        file.write_at(&mut lp, 0, "y", |_, log, result| note(log, describe_error(&result.unwrap_err())))
            .unwrap();
    }
    file.close_then(&mut lp, |_, log| note(log, "closed"));
    lp.verify();
    release.send(()).unwrap();
    assert_eq!(run(&mut lp), ["canceled", "canceled", "closed"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
}

#[test]
fn a_file_is_closed_after_a_running_write() {
    let dir = dir();
    let path = file_with(&dir, "");
    let mut lp = new_loop();
    let file = File::from_std(&mut lp, std::fs::OpenOptions::new().write(true).open(&path).unwrap()).unwrap();
    let much = vec![7; 20 << 20];
    file.write_at(&mut lp, 0, much, |_, log, result| {
        note(log, if result.is_ok() { "written" } else { "canceled" })
    })
    .unwrap();
    file.close_then(&mut lp, |_, log| note(log, "closed"));
    assert!(file.write_at(&mut lp, 0, "x", |_, _, _| panic!()).unwrap_err().is_closed());
    let log = run(&mut lp);
    assert_eq!(log[1], "closed");
    let len = std::fs::metadata(&path).unwrap().len();
    assert_eq!(len, if log[0] == "written" { 20 << 20 } else { 0 });
}

#[test]
fn into_std_returns_the_file() {
    let dir = dir();
    let path = file_with(&dir, "back");
    let mut lp = new_loop();
    let file = File::from_std(&mut lp, std::fs::File::open(&path).unwrap()).unwrap();
    let std_file = file.into_std(&mut lp).unwrap();
    assert_eq!(std::io::read_to_string(std_file).unwrap(), "back");
    run(&mut lp);
}

#[test]
fn an_operation_keeps_the_loop_alive_and_its_error_fails() {
    let dir = dir();
    let mut lp = new_loop();
    lp.on_failure(|_, log, failure| note(log, failure.origin.kind.to_string()));
    fs::read(&mut lp, dir.path().join("missing"), |_, _, bytes| bytes.map(drop)).unwrap();
    assert!(lp.is_alive());
    assert_eq!(run(&mut lp), ["file operation"]);
}

#[test]
fn reading_a_named_pipe_does_not_block_the_loop() {
    let dir = dir();
    let path = dir.path().join("pipe");
    // The command, because rustix does not have `mkfifo` on every system.
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut lp = new_loop();
    let read = Rc::new(std::cell::Cell::new(false));
    let seen = read.clone();
    fs::read(&mut lp, &path, move |_, log, bytes| {
        seen.set(true);
        note(log, String::from_utf8(bytes?)?)
    })
    .unwrap();
    // The loop runs while a worker waits for a writer.
    let mut log = Log::new();
    for _ in 0..10 {
        lp.poll_once(&mut log).unwrap();
    }
    assert!(!read.get());
    let writer = std::thread::spawn(move || std::fs::write(path, "through the pipe").unwrap());
    assert_eq!(run(&mut lp), ["through the pipe"]);
    writer.join().unwrap();
}

/// Whether the file system reads what is cached without blocking (RWF_NOWAIT).
#[cfg(target_os = "linux")]
fn can_read_cached(path: &Path) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};
    let file = std::fs::File::open(path).unwrap();
    let mut buffer = [0; 16];
    preadv2(&file, &mut [std::io::IoSliceMut::new(&mut buffer)], 0, ReadWriteFlags::NOWAIT).is_ok()
}

/// Looks a path up once, so that the type of its file system is known.
#[cfg(target_os = "linux")]
fn classify_file_system(path: &Path) {
    let mut lp = new_loop();
    fs::metadata(&mut lp, path, |_, _, _| Ok(())).unwrap();
    run(&mut lp);
}

#[test]
fn close_cancels_only_its_own_operations_in_their_order() {
    let dir = dir();
    let path = file_with(&dir, "text");
    let (mut lp, release, _) = loop_with_busy_worker();
    let files = [0, 1].map(|_| {
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        File::from_std(&mut lp, file).unwrap()
    });
    // Some have completed by the time of the close.
    let mut log = Log::new();
    for _ in 0..10 {
        let request = files[0].write_at(&mut lp, 0, "text", |_, _, _| Ok(())).unwrap();
        request.cancel(&mut lp).unwrap();
        turn(&mut lp, &mut log).unwrap();
    }
    for number in 0..20 {
        let completed = move |_: &mut Loop<Log>, log: &mut Log, written: Result<usize, ringback::Error>| {
            let what = written.map_or_else(|error| describe_error(&error), |_| "done".into());
            note(log, format!("{number} {what}"))
        };
        files[number % 2].write_at(&mut lp, 0, "text", completed).unwrap();
    }
    files[0].close(&mut lp);
    run_until(&mut lp, &mut log, |_, log| log.len() == 10);
    assert_eq!(log, (0..20).step_by(2).map(|number| format!("{number} canceled")).collect::<Vec<_>>());
    release.send(()).unwrap();
    files[1].close_then(&mut lp, |_, log| note(log, "closed"));
    let log = run(&mut lp);
    assert_eq!(log.len(), 11);
    assert_eq!(log[10], "closed");
}

#[test]
fn into_std_returns_a_blocking_file() {
    let dir = dir();
    let path = file_with(&dir, "text");
    for _ in 0..2 {
        let mut lp = new_loop();
        File::open(&mut lp, &path, |lp, log, file| {
            let flags = rustix::fs::fcntl_getfl(file?.into_std(lp)?).map_err(std::io::Error::from)?;
            assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
            note(log, "blocking")
        })
        .unwrap();
        assert_eq!(run(&mut lp), ["blocking"]);
    }
}

#[test]
fn metadata_is_the_same_from_the_cache_and_a_worker() {
    let dir = dir();
    let file = file_with(&dir, "some text");
    let (link, broken, pipe) = (dir.path().join("link"), dir.path().join("broken"), dir.path().join("pipe"));
    symlink(&file, &link).unwrap();
    symlink("nowhere", &broken).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let long = dir.path().join("./".repeat(200)).join("file");
    let others = ["/", ".", "/dev/null", "/proc/self/status", "/dev/shm"].map(PathBuf::from);
    for path in [dir.path().to_owned(), file, link, broken, pipe, long].iter().chain(&others) {
        for follow in [true, false] {
            // Twice: the second time it is cached. More often if another process changes it.
            let mut compared = 0;
            for _ in 0..50 {
                let Ok(before) = std_metadata(path, follow) else { break };
                let found = loop_metadata(path, follow);
                if std_metadata(path, follow).is_ok_and(|after| is_unchanged(&before, &after)) {
                    assert_same(path, &found, &before);
                    compared += 1;
                }
                if compared == 2 {
                    break;
                }
            }
            assert!(compared == 2 || std_metadata(path, follow).is_err(), "{path:?} changes all the time");
        }
    }
}

fn std_metadata(path: &Path, follow: bool) -> std::io::Result<std::fs::Metadata> {
    if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) }
}

fn loop_metadata(path: &Path, follow: bool) -> fs::Metadata {
    let mut lp = Loop::<Option<fs::Metadata>>::new().unwrap();
    let keep = |_: &mut Loop<_>, state: &mut Option<fs::Metadata>, found: ringback::Result<_>| {
        *state = Some(found?);
        Ok(())
    };
    if follow {
        fs::metadata(&mut lp, path, keep).unwrap();
    } else {
        fs::symlink_metadata(&mut lp, path, keep).unwrap();
    }
    let mut found = None;
    lp.run(&mut found).unwrap();
    found.unwrap()
}

fn is_unchanged(before: &std::fs::Metadata, after: &std::fs::Metadata) -> bool {
    let changing = |found: &std::fs::Metadata| {
        (found.ino(), found.nlink(), found.len(), found.ctime(), found.ctime_nsec(), found.mode())
    };
    changing(before) == changing(after)
}

fn assert_same(path: &Path, found: &fs::Metadata, expected: &std::fs::Metadata) {
    assert_eq!(found.len, expected.len(), "{path:?}");
    assert_eq!(found.mode, expected.mode() & 0o7777, "{path:?}");
    assert_eq!(found.device, expected.dev(), "{path:?}");
    assert_eq!(found.inode, expected.ino(), "{path:?}");
    assert_eq!(found.links, expected.nlink(), "{path:?}");
    assert_eq!((found.uid, found.gid), (expected.uid(), expected.gid()), "{path:?}");
    assert_eq!(found.created, expected.created().ok(), "{path:?}");
    assert_eq!(found.is_dir(), expected.is_dir(), "{path:?}");
    assert_eq!(found.is_file(), expected.is_file(), "{path:?}");
    assert_eq!(found.file_type == FileType::Symlink, expected.is_symlink(), "{path:?}");
    // The files of /proc are modified when they are looked at.
    if !path.starts_with("/proc") {
        assert_eq!(found.modified, expected.modified().unwrap(), "{path:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn cached_files_are_read_while_every_worker_is_busy() {
    let dir = dir();
    let path = file_with(&dir, "in memory");
    if !can_read_cached(&path) {
        return;
    }
    classify_file_system(&path);
    let (mut lp, release, _) = loop_with_busy_worker();
    fs::metadata(&mut lp, &path, |_, log, found| note(log, found?.len.to_string())).unwrap();
    fs::read(&mut lp, &path, |_, log, bytes| note(log, String::from_utf8(bytes?)?)).unwrap();
    File::open(&mut lp, &path, |lp, _, file| {
        let file = file?;
        file.read_at(lp, 3, Vec::with_capacity(3), move |lp, log, bytes| {
            file.close(lp);
            note(log, String::from_utf8(bytes?)?)
        })?;
        Ok(())
    })
    .unwrap();
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| log.len() == 3);
    assert_eq!(log, ["9", "in memory", "mem"]);
    release.send(()).unwrap();
    run(&mut lp);
}

#[test]
fn many_concurrent_reads_complete_once_with_their_own_contents() {
    const AT_ONCE: usize = 100;
    struct Reads {
        paths: Vec<PathBuf>,
        started: usize,
        completed: usize,
    }
    fn next(lp: &mut Loop<Reads>, reads: &mut Reads) -> ringback::Result {
        let number = reads.started;
        reads.started += 1;
        fs::read(lp, &reads.paths[number % reads.paths.len()], move |lp, reads: &mut Reads, bytes| {
            assert_eq!(bytes?, vec![(number % reads.paths.len()) as u8; 1000]);
            reads.completed += 1;
            if reads.started < 50 * AT_ONCE { next(lp, reads) } else { Ok(()) }
        })
        .map(drop)
    }
    let dir = dir();
    let paths: Vec<PathBuf> = (0..10).map(|number: u8| dir.path().join(number.to_string())).collect();
    for (number, path) in paths.iter().enumerate() {
        std::fs::write(path, vec![number as u8; 1000]).unwrap();
    }
    let mut lp = Loop::new().unwrap();
    let mut reads = Reads { paths, started: 0, completed: 0 };
    for _ in 0..AT_ONCE {
        next(&mut lp, &mut reads).unwrap();
    }
    lp.run(&mut reads).unwrap();
    assert_eq!((reads.started, reads.completed), (50 * AT_ONCE, 50 * AT_ONCE));
}
