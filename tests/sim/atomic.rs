//! Replacing a file in a single step, whatever fails and whenever the power is lost.

use std::{path::Path, time::Duration};

use ringback::{
    Loop, Result,
    fs::{self, File},
    sim::{self, AnyHost, FileOp, Host, World},
};

/// What the callback got.
type Outcome = Option<Result>;

const PATH: &str = "/data/settings";
/// Contents of other lengths and other bytes, so that a mixture is neither.
const OLD: &[u8] = &[b'o'; 700];
const NEW: &[u8] = &[b'n'; 1000];
/// More than the calls of one operation.
const CALLS_MAX: u32 = 30;

fn start(lp: &mut Loop<Outcome>, path: &str) -> Result {
    fs::write_atomic(lp, path, NEW, |_, outcome: &mut Outcome, written| {
        *outcome = Some(written);
        Ok(())
    })
    .map(drop)
}

/// A host with the old file, or without one.
fn host(world: &mut World, old: bool) -> Result<Host<Outcome>> {
    let host = world.host("one", None, |_, _| Ok(()))?;
    let files = world.files(host);
    files.make_dir("/data");
    if old {
        files.put(PATH, OLD);
    }
    Ok(host)
}

/// Asserts that there are the old contents or the new, and returns whether they are the new.
fn assert_whole(world: &World, host: impl Into<AnyHost>, old: bool, when: &str) -> bool {
    match world.files(host).get(PATH).as_deref() {
        Some(NEW) => return true,
        Some(OLD) => assert!(old, "{when}: the old contents came from nowhere"),
        None => assert!(!old, "{when}: the file is gone"),
        Some(other) => panic!("{when}: neither old nor new: {} bytes", other.len()),
    }
    false
}

fn temporary_files(world: &World, host: impl Into<AnyHost>) -> usize {
    let is_temporary = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "tmp");
    world.files(host).paths().iter().filter(is_temporary).count()
}

/// Loses the power after so many calls, crashes and restarts. Returns whether the power was lost at all.
fn crash_after(world: &mut World, calls: u32, old: bool) -> Result<bool> {
    let host = host(world, old)?;
    world.files(host).lose_power_after(calls);
    world.with(host, |lp, _| start(lp, PATH))?;
    world.run()?;
    let lost = world.files(host).power_is_lost();
    let outcome = world.state(host).as_ref().expect("the callback ran");
    let succeeded = outcome.is_ok();
    assert!(lost || succeeded, "{outcome:?}");
    if let Err(error) = outcome {
        assert!(error.to_string().starts_with("write atomically /data/settings: "), "{error}");
    }
    // What readers find without a crash.
    let was_new = assert_whole(world, host, old, "before the crash");
    assert!(was_new || !succeeded, "it succeeded, but nothing has changed");

    world.crash(host);
    world.restart(host, None, |_, _| Ok(()))?;
    let is_new = assert_whole(world, host, old, "after the crash");
    assert!(is_new || !succeeded, "it succeeded, but the crash has undone it");
    assert!(was_new || !is_new, "it cannot be newer than it was");

    // What the crash has left does not disturb the next operation.
    world.with(host, |lp, _| start(lp, PATH))?;
    world.run()?;
    world.state(host).as_ref().expect("the callback ran").as_ref().expect("the host works again");
    assert_eq!(world.files(host).get(PATH).as_deref(), Some(NEW));
    Ok(lost)
}

#[test]
fn a_crash_at_any_call_leaves_old_or_new_contents() {
    for old in [true, false] {
        for calls in 0..CALLS_MAX {
            sim::check(50, |world| crash_after(world, calls, old).map(drop));
        }
    }
}

#[test]
fn crashes_at_all_calls_are_tried() {
    let lost = |calls| crash_after(&mut World::new(1), calls, true).unwrap();
    let last = (0..CALLS_MAX).find(|&calls| !lost(calls)).expect("some number of calls is enough");
    assert!(last > 7, "{last} calls: metadata, open, mode, write, sync, close, rename, sync");
    assert!((last..CALLS_MAX).all(|calls| !lost(calls)));
}

#[test]
fn a_crash_during_a_job_leaves_old_or_new_contents() {
    sim::check(300, |world| {
        let host = host(world, true)?;
        world.with(host, |lp, _| {
            start(lp, PATH)?;
            start(lp, PATH)
        })?;
        let moment = world.random(500_000);
        world.run_for(Duration::from_nanos(moment))?;
        assert_whole(world, host, true, "before the crash");
        let succeeded = matches!(world.state(host), Some(Ok(())));
        world.crash(host);
        world.restart(host, None, |_, _| Ok(()))?;
        let is_new = assert_whole(world, host, true, "after the crash");
        assert!(is_new || !succeeded, "it succeeded, but the crash has undone it");
        Ok(())
    });
}

#[test]
fn a_failure_of_any_call_leaves_no_temporary_file() {
    use FileOp::{Close, Metadata, Open, Rename, Sync, Write};
    for op in [Metadata, Open, Write, Sync, Close, Rename] {
        for old in [true, false] {
            let mut world = World::new(1);
            let host = host(&mut world, old).unwrap();
            world.files(host).fail("/data", op, libc::EIO, 1);
            world.with(host, |lp, _| start(lp, PATH)).unwrap();
            world.run().unwrap();
            let error = world.state(host).as_ref().unwrap().as_ref().expect_err("one call fails");
            assert!(error.to_string().starts_with("write atomically /data/settings: "), "{error}");
            assert!(!assert_whole(&world, host, old, "after the failure"));
            assert_eq!(temporary_files(&world, host), 0, "{op:?}");
        }
    }
}

#[test]
fn failures_by_chance_leave_no_temporary_file() {
    sim::check(500, |world| {
        let host = host(world, true)?;
        world.files(host).fail_one_in(8);
        world.with(host, |lp, _| start(lp, PATH))?;
        world.run()?;
        let is_new = assert_whole(world, host, true, "after failures");
        let succeeded = world.state(host).as_ref().expect("the callback ran").is_ok();
        assert!(is_new || !succeeded);
        // Unless removing it failed, too.
        let failed = world.faults().get("file operation").copied().unwrap_or(0);
        assert!(temporary_files(world, host) == 0 || failed >= 2, "{failed} failures");
        Ok(())
    });
}

#[test]
fn a_full_disk_keeps_the_old_contents() {
    let mut world = World::new(1);
    let host = host(&mut world, true).unwrap();
    world.files(host).set_capacity(OLD.len() as u64 + NEW.len() as u64 - 1);
    world.with(host, |lp, _| start(lp, PATH)).unwrap();
    world.run().unwrap();
    let error = world.state(host).as_ref().unwrap().as_ref().unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(!assert_whole(&world, host, true, "on a full disk"));
    assert_eq!(temporary_files(&world, host), 0);
}

#[test]
fn the_permission_bits_are_kept_through_a_crash() {
    let mut world = World::new(1);
    let host = host(&mut world, true).unwrap();
    world.files(host).set_mode(PATH, 0o640);
    world.with(host, |lp, _| start(lp, PATH)).unwrap();
    world.run().unwrap();
    world.crash(host);
    let mode = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = mode.clone();
    world
        .restart(host, None, |lp, _| {
            fs::metadata(lp, PATH, move |_, _, found| {
                seen.set(found?.mode);
                Ok(())
            })
            .map(drop)
        })
        .unwrap();
    world.run().unwrap();
    assert_eq!(mode.get(), 0o640);
}

#[test]
fn a_link_stays_a_link_when_its_file_is_replaced() {
    let mut world = World::new(1);
    let host = host(&mut world, true).unwrap();
    world
        .with(host, |lp, _| {
            fs::symlink(lp, "settings", "/data/link", |lp, _, linked| {
                linked?;
                start(lp, "/data/link")
            })
        })
        .unwrap();
    world.run().unwrap();
    assert!(matches!(world.state(host), Some(Ok(()))));
    assert_eq!(world.files(host).get(PATH).as_deref(), Some(NEW));
    let paths = world.files(host).paths();
    assert_eq!(paths, [Path::new("/data/link"), Path::new(PATH)]);
}

/// Replaces the file without care. Returns whether some crash leaves neither the old contents nor the new.
fn crash_exposes(careless: fn(&mut Loop<Outcome>) -> Result) -> bool {
    (0..50).any(|seed| {
        (0..CALLS_MAX).any(|calls| {
            let mut world = World::new(seed);
            let host = host(&mut world, true).unwrap();
            world.files(host).lose_power_after(calls);
            world.with(host, |lp, _| careless(lp)).unwrap();
            world.run().unwrap();
            world.crash(host);
            let found = world.files(host).get(PATH);
            found.as_deref() != Some(OLD) && found.as_deref() != Some(NEW)
        })
    })
}

#[test]
fn a_rename_before_the_sync_is_detected() {
    assert!(crash_exposes(|lp| {
        fs::write(lp, "/data/new", NEW, |lp, _, written| match written {
            Ok(()) => fs::rename(lp, "/data/new", PATH, |_, _, _| Ok(())).map(drop),
            Err(_) => Ok(()),
        })
        .map(drop)
    }));
}

#[test]
fn writing_in_place_is_detected() {
    assert!(crash_exposes(|lp| {
        File::create(lp, PATH, |lp, _, file| {
            let Ok(file) = file else { return Ok(()) };
            lp.on_failure(|_, _, _| Ok(()));
            file.write_at(lp, 0, NEW, move |lp, _, _| {
                file.sync(lp, move |lp, _, _| {
                    file.close(lp);
                    Ok(())
                })
                .map(drop)
            })
            .map(drop)
        })
        .map(drop)
    }));
}
