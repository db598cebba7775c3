//! What the loop reports about itself.

use std::time::Duration;

use ringback::{Idle, Kind, Timer, fs, net::TcpListener, work};

use crate::common::*;

#[test]
fn why_alive_names_each_handle_its_origin_and_its_wait() {
    let mut lp = new_loop();
    assert_eq!(lp.why_alive().to_string(), "nothing keeps the loop running\n");
    let timer = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    let line = line!() - 1;
    timer.set_name(&mut lp, "nightly").unwrap();
    let quiet = Timer::after(&mut lp, LONG, must_not_run).unwrap();
    quiet.unref(&mut lp).unwrap();
    let (stream, _peer) = pair(&mut lp);
    stream.write(&mut lp, vec![7; 16 << 20]).unwrap();
    let why = lp.why_alive();
    assert_eq!(why.entries.len(), 2, "{why}");
    let text = why.to_string();
    assert!(
        text.contains(&format!("timer \"nightly\" started at tests/it/inspect.rs:{line}: due in 3")),
        "{text}"
    );
    assert!(text.contains("16777216 bytes to send"), "{text}");
    assert_eq!(lp.handles().len(), 3);
    let quiet = lp.handles().into_iter().find(|entry| entry.origin.handle == Some(quiet.into())).unwrap();
    assert!(!quiet.keeps_alive && quiet.active && !quiet.referenced);
    assert!(quiet.to_string().ends_with(", unreferenced"));
}

#[test]
fn requests_are_listed_with_their_origin() {
    let mut lp = new_loop();
    lp.defer(|_, _| Ok(()));
    work::run(&mut lp, || (), |_, _, _| Ok(())).unwrap();
    fs::write(&mut lp, "/dev/null", "x", |_, _, _| Ok(())).unwrap();
    let kinds: Vec<Kind> = lp.why_alive().entries.iter().map(|entry| entry.origin.kind).collect();
    assert_eq!(kinds, [Kind::Deferred, Kind::Work, Kind::FileOperation]);
    assert!(
        lp.why_alive().entries.iter().all(|entry| entry.origin.started_at.file().ends_with("inspect.rs"))
    );
    run(&mut lp);
}

#[test]
fn a_closing_handle_is_listed_as_closing() {
    let mut lp = new_loop();
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    listener.close(&mut lp);
    assert!(lp.why_alive().to_string().contains(", closing"));
    run(&mut lp);
}

#[test]
fn slow_callbacks_are_reported_with_their_origin() {
    let mut lp = new_loop();
    lp.on_slow(5 * MS, |_, log, slow| {
        assert!(slow.took >= 5 * MS && slow.origin.started_at.file().ends_with("inspect.rs"));
        note(log, format!("{} {:?}", slow.origin.kind, slow.origin.name))
    });
    let slow = Timer::new(&mut lp).unwrap();
    slow.set_name(&mut lp, "sluggish").unwrap();
    slow.start(&mut lp, MS, move |lp, _| {
        spin(6 * MS);
        slow.close(lp);
        Ok(())
    })
    .unwrap();
    assert_eq!(run(&mut lp), ["timer Some(\"sluggish\")"]);
}

#[test]
fn an_error_from_on_slow_ends_run() {
    let mut lp = new_loop();
    lp.on_slow(Duration::ZERO, |_, _, slow| Err(ringback::Error::other(slow.to_string())));
    lp.defer(|_, _| Ok(()));
    let error = lp.run(&mut Log::new()).unwrap_err().to_string();
    assert!(error.starts_with("slow callback: deferred closure started at "), "{error}");
}

#[test]
fn metrics_count_turns_events_callbacks_and_bytes() {
    let mut lp = new_loop();
    let (stream, mut peer) = pair(&mut lp);
    record(&mut lp, stream, "stream");
    send(&mut peer, "12345");
    let mut log = Log::new();
    run_until(&mut lp, &mut log, |_, log| !log.is_empty());
    stream.write(&mut lp, "123").unwrap();
    run_until(&mut lp, &mut log, |lp, _| lp.metrics().blocked >= MS);
    Timer::after(&mut lp, 2 * MS, move |lp, _| {
        stream.close(lp);
        Ok(())
    })
    .unwrap();
    run(&mut lp);
    let metrics = lp.metrics();
    assert_eq!((metrics.bytes_received, metrics.bytes_sent), (5, 3));
    assert_eq!(metrics.callbacks, 3, "data, timer, closed");
    assert!(metrics.turns >= 2 && metrics.events >= 1);
    assert!(metrics.latency.count() >= metrics.turns);
}

#[test]
fn time_in_callbacks_counts_as_busy() {
    let mut lp = new_loop();
    let idle = Idle::new(&mut lp).unwrap();
    idle.start(&mut lp, move |lp, _| {
        spin(5 * MS);
        idle.close(lp);
        Ok(())
    })
    .unwrap();
    run(&mut lp);
    let metrics = lp.metrics();
    assert!(metrics.busy >= 5 * MS && metrics.latency.quantile(1.0) >= 5 * MS, "{metrics:?}");
}

#[test]
fn the_debug_form_of_ids_and_loops_is_short() {
    let mut lp = new_loop();
    let timer = Timer::new(&mut lp).unwrap();
    assert!(format!("{timer:?}").starts_with("Timer("));
    assert!(format!("{lp:?}").contains("handles: 1"));
}
