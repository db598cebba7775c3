//! Files of a host, and what goes wrong with them.

use std::time::Duration;

use ringback::{
    Loop, Result,
    fs::{self, File, OpenOptions},
    sim::{self, FileOp, World},
};

#[derive(Default)]
struct Seen(Vec<String>);

impl Seen {
    fn keep<T: std::fmt::Debug>(&mut self, result: Result<T>) -> Result {
        self.0.push(result.map_or_else(|error| error.to_string(), |value| format!("{value:?}")));
        Ok(())
    }
}

fn one(
    start: impl FnOnce(&mut Loop<Seen>) -> Result,
    before: impl FnOnce(&mut World, sim::AnyHost),
) -> Vec<String> {
    let mut world = World::new(1);
    let host = world.host("one", Seen::default(), |_, _| Ok(())).unwrap();
    before(&mut world, host.into());
    world.with(host, |lp, _| start(lp)).unwrap();
    world.run().unwrap();
    world.state(host).0.clone()
}

#[test]
fn what_was_put_there_is_read_and_what_is_not_there_is_not() {
    let seen = one(
        |lp| {
            fs::read(lp, "/etc/motd", |_, seen, read| seen.keep(read.map(String::from_utf8)))?;
            fs::metadata(lp, "/etc/motd", |_, seen, found| seen.keep(found.map(|found| found.len)))?;
            fs::read(lp, "/etc/nothing", |_, seen, read| seen.keep(read))?;
            fs::read(lp, "/etc", |_, seen, read| seen.keep(read))?;
            Ok(())
        },
        |world, host| world.files(host).put("/etc/motd", "hello"),
    );
    let mut seen: Vec<&str> = seen.iter().map(|line| line.split(" (os").next().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        ["5", "Ok(\"hello\")", "read /etc/nothing: No such file or directory", "read /etc: Is a directory"]
    );
}

#[test]
fn permissions_and_faults_on_request_are_told_with_the_path() {
    let seen = one(
        |lp| {
            fs::read(lp, "/secret", |lp, seen: &mut Seen, read| {
                seen.keep(read)?;
                fs::read(lp, "/bad", |lp, seen, read| {
                    seen.keep(read)?;
                    fs::read(lp, "/bad", |_, seen, read| seen.keep(read)).map(drop)
                })
                .map(drop)
            })
            .map(drop)
        },
        |world, host| {
            let files = world.files(host);
            files.put("/secret", "x");
            files.set_mode("/secret", 0o000);
            files.put("/bad", "y");
            files.fail("/bad", FileOp::Read, 5, 1);
        },
    );
    assert!(seen[0].starts_with("read /secret: Permission denied"), "{seen:?}");
    assert!(seen[1].starts_with("read /bad: Input/output error"), "{seen:?}");
    assert_eq!(seen[2], "[121]");
}

#[test]
fn a_disk_that_is_full_takes_what_fits_and_says_so() {
    let mut world = World::new(1);
    let host = world.host("one", Seen::default(), |lp, _| {
        fs::write(lp, "/log", vec![b'x'; 1000], |_, seen: &mut Seen, written| seen.keep(written)).map(drop)
    });
    let host = host.unwrap();
    world.files(host).set_capacity(600);
    world.run().unwrap();
    assert!(world.state(host).0[0].contains("No space left"), "{:?}", world.state(host).0);
    assert_eq!(world.files(host).get("/log").map(|bytes| bytes.len()), Some(600));
}

fn append(lp: &mut Loop<Seen>, sync: bool) -> Result {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(lp, "/log", move |lp, _, file| {
            let file = file?;
            file.append(lp, "line\n", move |lp, seen: &mut Seen, written| {
                seen.keep(written)?;
                if sync {
                    file.sync(lp, move |lp, seen: &mut Seen, synced| {
                        file.close(lp);
                        seen.keep(synced)
                    })?;
                }
                Ok(())
            })
            .map(drop)
        })
        .map(drop)
}

#[test]
fn a_crash_keeps_what_was_synced_and_loses_the_rest() {
    for sync in [false, true] {
        let mut world = World::new(1);
        let host = world.host("one", Seen::default(), move |lp, _| append(lp, sync)).unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(world.files(host).get("/log").as_deref(), Some(&b"line\n"[..]));
        world.crash(host);
        world.restart(host, Seen::default(), |_, _| Ok(())).unwrap();
        assert_eq!(world.files(host).get("/log").is_some(), sync);
    }
}

#[test]
fn operations_on_one_file_are_answered_once_each_whatever_fails() {
    sim::check(200, |world| {
        world.set_job_time(Duration::from_micros(1), Duration::from_millis(50));
        let host = world.host("one", Seen::default(), |_, _| Ok(()))?;
        world.files(host).put("/data", vec![7; 10_000]);
        world.files(host).fail_one_in(10);
        world.with(host, |lp, _| {
            lp.on_failure(|_, _, _| Ok(()));
            File::open(lp, "/data", |lp, seen: &mut Seen, file| {
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        return (0..20).try_for_each(|_| {
                            seen.keep::<()>(Err(ringback::Error::other(error.to_string())))
                        });
                    }
                };
                for number in 0..20 {
                    file.read_at(lp, number * 500, Vec::with_capacity(500), |_, seen, read| {
                        seen.keep(read.map(|bytes| bytes.len()))
                    })?;
                }
                Ok(())
            })
        })?;
        world.run()?;
        assert_eq!(world.state(host).0.len(), 20);
        Ok(())
    });
}

#[test]
fn an_interrupted_operation_begins_again_and_nobody_is_told() {
    let seen = one(
        |lp| {
            fs::read(lp, "/data", |_, seen, read| seen.keep(read))?;
            fs::write(lp, "/new", "text", |_, seen, written| seen.keep(written)).map(drop)
        },
        |world, host| {
            let files = world.files(host);
            files.put("/data", "z");
            files.fail("/", FileOp::Open, libc::EINTR, 2);
            files.fail("/", FileOp::Read, libc::EINTR, 3);
            files.fail("/", FileOp::Write, libc::EINTR, 5);
        },
    );
    assert_eq!(seen.iter().filter(|line| *line == "[122]" || *line == "()").count(), 2, "{seen:?}");
}

#[test]
fn of_a_write_that_fails_any_part_may_be_there() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut world = World::new(seed);
        let host = world.host("one", Seen::default(), |_, _| Ok(())).unwrap();
        world.files(host).fail("/", FileOp::Write, libc::EIO, 1);
        world
            .with(host, |lp, _| fs::write(lp, "/new", "12345", |_, seen, written| seen.keep(written)))
            .unwrap();
        world.run().unwrap();
        assert!(world.state(host).0[0].starts_with("write /new: Input/output error"));
        let files = world.files(host);
        let there = files.get("/new").unwrap();
        assert_eq!(there, &b"12345"[..there.len()]);
        lengths.insert(there.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}
