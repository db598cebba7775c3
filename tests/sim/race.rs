//! A mistake in a small program, found by seeds and shown by its timeline: what the guide tells of.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use ringback::{
    Loop, Result, Timer,
    net::{Event, TcpListener, TcpStream},
    sim::{self, Link},
    work,
};

/// Answers each question, from a worker. Who has waited for 190 µs is told "busy".
fn serve(lp: &mut Loop<u32>, is_right: bool) -> Result {
    TcpListener::bind(lp, "0.0.0.0:7")?.start(lp, move |lp, _, conn| {
        conn.start(lp, move |lp, answered: &mut u32, event| {
            if let Event::Data(_) = event? {
                *answered = 0;
                let limit = Timer::after(lp, Duration::from_micros(190), move |lp, answered: &mut u32| {
                    *answered += 1;
                    conn.write(lp, "busy\n")
                })?;
                work::run(
                    lp,
                    || 42,
                    move |lp, answered: &mut u32, number| {
                        if is_right && !limit.is_open(lp) {
                            return Ok(()); // "busy" was the answer.
                        }
                        limit.close(lp);
                        *answered += 1;
                        conn.write(lp, format!("{}\n", number?))
                    },
                )?;
            }
            Ok(())
        })
    })
}

fn test(world: &mut sim::World, is_right: bool) -> Result {
    world.set_link(Link::new().jitter(Duration::from_millis(1)));
    let server = world.host("server", 0, |lp, _| serve(lp, is_right))?;
    let addr = (world.addr(server), 7);
    let client = world.host("client", BTreeMap::new(), move |lp, _| {
        TcpStream::connect(lp, addr, |lp, _, conn| {
            let conn = conn?;
            conn.write(lp, "?")?;
            conn.start(lp, |_, lines: &mut BTreeMap<String, u32>, event| {
                if let Event::Data(bytes) = event? {
                    for line in String::from_utf8_lossy(bytes).lines() {
                        *lines.entry(line.to_owned()).or_default() += 1;
                    }
                }
                Ok(())
            })
        })
        .map(drop)
    })?;
    world.run_for(Duration::from_secs(1))?;
    assert_eq!(
        world.state(client).values().sum::<u32>(),
        1,
        "one question, one answer: {:?}",
        world.state(client)
    );
    Ok(())
}

#[test]
fn a_timeout_that_races_a_reply_is_found_by_seeds_and_explained_by_its_timeline() {
    let failed = catch_unwind(AssertUnwindSafe(|| sim::check(1000, |world| test(world, false))));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("one question, one answer"), "{message}");
    let place = |text: &str| message.find(text).unwrap_or_else(|| panic!("{text:?} in {message}"));
    assert!(place("server  calls timer") < place("server  calls work"), "{message}");
}

#[test]
fn without_the_mistake_no_seed_fails() {
    sim::check(1000, |world| test(world, true));
}
