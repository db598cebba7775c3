//! The files of a host, and how operations on them fail.

use std::time::Duration;

use ringback::{
    Loop, Result,
    fs::{self, File, OpenOptions},
    sim::{self, FileOp, World},
};

/// The results of operations, as text.
#[derive(Default)]
struct Results(Vec<String>);

impl Results {
    fn add<T: std::fmt::Debug>(&mut self, result: Result<T>) -> Result {
        self.0.push(result.map_or_else(|error| error.to_string(), |value| format!("{value:?}")));
        Ok(())
    }
}

/// Runs a program on a host whose files were set up, and returns the results of its operations.
fn results_of(
    start: impl FnOnce(&mut Loop<Results>) -> Result,
    set_up: impl FnOnce(&mut World, sim::AnyHost),
) -> Vec<String> {
    let mut world = World::new(1);
    let host = world.host("one", Results::default(), |_, _| Ok(())).unwrap();
    set_up(&mut world, host.into());
    world.with(host, |lp, _| start(lp)).unwrap();
    world.run().unwrap();
    world.state(host).0.clone()
}

#[test]
fn programs_read_the_files_that_a_test_put_there() {
    let results = results_of(
        |lp| {
            fs::read(lp, "/etc/motd", |_, results, read| results.add(read.map(String::from_utf8)))?;
            fs::metadata(lp, "/etc/motd", |_, results, found| results.add(found.map(|found| found.len)))?;
            fs::read(lp, "/etc/nothing", |_, results, read| results.add(read))?;
            fs::read(lp, "/etc", |_, results, read| results.add(read))?;
            Ok(())
        },
        |world, host| world.files(host).put("/etc/motd", "hello"),
    );
    let mut results: Vec<&str> = results.iter().map(|line| line.split(" (os").next().unwrap()).collect();
    results.sort_unstable();
    assert_eq!(
        results,
        ["5", "Ok(\"hello\")", "read /etc/nothing: No such file or directory", "read /etc: Is a directory"]
    );
}

#[test]
fn denied_and_failed_operations_report_the_path() {
    let results = results_of(
        |lp| {
            fs::read(lp, "/secret", |lp, results: &mut Results, read| {
                results.add(read)?;
                fs::read(lp, "/bad", |lp, results, read| {
                    results.add(read)?;
                    fs::read(lp, "/bad", |_, results, read| results.add(read)).map(drop)
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
    assert!(results[0].starts_with("read /secret: Permission denied"), "{results:?}");
    assert!(results[1].starts_with("read /bad: Input/output error"), "{results:?}");
    assert_eq!(results[2], "[121]");
}

#[test]
fn a_full_disk_takes_what_fits_and_reports_it() {
    let mut world = World::new(1);
    let host = world.host("one", Results::default(), |lp, _| {
        fs::write(lp, "/log", vec![b'x'; 1000], |_, results: &mut Results, written| results.add(written))
            .map(drop)
    });
    let host = host.unwrap();
    world.files(host).set_capacity(600);
    world.run().unwrap();
    assert!(world.state(host).0[0].contains("No space left"), "{:?}", world.state(host).0);
    assert_eq!(world.files(host).get("/log").map(|bytes| bytes.len()), Some(600));
}

fn append(lp: &mut Loop<Results>, sync: bool) -> Result {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(lp, "/log", move |lp, _, file| {
            let file = file?;
            file.append(lp, "line\n", move |lp, results: &mut Results, written| {
                results.add(written)?;
                if sync {
                    file.sync(lp, move |lp, results: &mut Results, synced| {
                        file.close(lp);
                        results.add(synced)
                    })?;
                }
                Ok(())
            })
            .map(drop)
        })
        .map(drop)
}

#[test]
fn a_crash_keeps_only_what_was_synced() {
    for sync in [false, true] {
        let mut world = World::new(1);
        let host = world.host("one", Results::default(), move |lp, _| append(lp, sync)).unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(world.files(host).get("/log").as_deref(), Some(&b"line\n"[..]));
        world.crash(host);
        world.restart(host, Results::default(), |_, _| Ok(())).unwrap();
        assert_eq!(world.files(host).get("/log").is_some(), sync);
    }
}

#[test]
fn each_operation_completes_once_whatever_fails() {
    sim::check(200, |world| {
        world.set_job_time(Duration::from_micros(1), Duration::from_millis(50));
        let host = world.host("one", Results::default(), |_, _| Ok(()))?;
        world.files(host).put("/data", vec![7; 10_000]);
        world.files(host).fail_one_in(10);
        world.with(host, |lp, _| {
            lp.on_failure(|_, _, _| Ok(()));
            File::open(lp, "/data", |lp, results: &mut Results, file| {
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        return (0..20).try_for_each(|_| {
                            results.add::<()>(Err(ringback::Error::other(error.to_string())))
                        });
                    }
                };
                for number in 0..20 {
                    file.read_at(lp, number * 500, Vec::with_capacity(500), |_, results, read| {
                        results.add(read.map(|bytes| bytes.len()))
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
fn an_interrupted_operation_is_retried_silently() {
    let results = results_of(
        |lp| {
            fs::read(lp, "/data", |_, results, read| results.add(read))?;
            fs::write(lp, "/new", "text", |_, results, written| results.add(written)).map(drop)
        },
        |world, host| {
            let files = world.files(host);
            files.put("/data", "z");
            files.fail("/", FileOp::Open, libc::EINTR, 2);
            files.fail("/", FileOp::Read, libc::EINTR, 3);
            files.fail("/", FileOp::Write, libc::EINTR, 5);
        },
    );
    assert_eq!(results.iter().filter(|line| *line == "[122]" || *line == "()").count(), 2, "{results:?}");
}

#[test]
fn a_failed_write_may_have_written_any_part() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut world = World::new(seed);
        let host = world.host("one", Results::default(), |_, _| Ok(())).unwrap();
        world.files(host).fail("/", FileOp::Write, libc::EIO, 1);
        world
            .with(host, |lp, _| fs::write(lp, "/new", "12345", |_, results, written| results.add(written)))
            .unwrap();
        world.run().unwrap();
        assert!(world.state(host).0[0].starts_with("write /new: Input/output error"));
        let files = world.files(host);
        let written = files.get("/new").unwrap();
        assert_eq!(written, &b"12345"[..written.len()]);
        lengths.insert(written.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}
