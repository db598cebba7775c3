//! The bug of the guide in `src/sim/guide.md`: a timer races a worker, and seeds find it.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use ringback::{
    Loop, Result, Timer,
    net::{Event, TcpListener, TcpStream},
    sim::{self, Link, World},
    work,
};

/// Answers each question from a worker, or "busy" after 190 µs.
fn serve(lp: &mut Loop<u32>, fixed: bool) -> Result {
    TcpListener::bind(lp, "0.0.0.0:7")?.start(lp, move |lp, _, conn| {
        conn.start(lp, move |lp, answers: &mut u32, event| {
            if let Event::Data(_) = event? {
                *answers = 0;
                let limit = Timer::after(lp, Duration::from_micros(190), move |lp, answers: &mut u32| {
                    *answers += 1;
                    conn.write(lp, "busy\n")
                })?;
                work::run(
                    lp,
                    || 42,
                    move |lp, answers: &mut u32, number| {
                        if fixed && !limit.is_open(lp) {
                            return Ok(()); // The client already got "busy".
                        }
                        limit.close(lp);
                        *answers += 1;
                        conn.write(lp, format!("{}\n", number?))
                    },
                )?;
            }
            Ok(())
        })
    })
}

fn test(world: &mut World, fixed: bool) -> Result {
    world.set_link(Link::new().jitter(Duration::from_millis(1)));
    let server = world.host("server", 0, |lp, _| serve(lp, fixed))?;
    let addr = (world.addr(server), 7);
    let client = world.host("client", BTreeMap::new(), move |lp, _| {
        TcpStream::connect(lp, addr, |lp, _, conn| {
            let conn = conn?;
            conn.write(lp, "?")?;
            conn.start(lp, |_, answers: &mut BTreeMap<String, u32>, event| {
                if let Event::Data(bytes) = event? {
                    for line in String::from_utf8_lossy(bytes).lines() {
                        *answers.entry(line.to_owned()).or_default() += 1;
                    }
                }
                Ok(())
            })
        })
        .map(drop)
    })?;
    world.run_for(Duration::from_secs(1))?;
    let answers = world.state(client);
    assert_eq!(answers.values().sum::<u32>(), 1, "one question, one answer: {answers:?}");
    Ok(())
}

#[test]
fn a_timeout_that_races_a_reply_is_found_and_explained() {
    let failed = catch_unwind(AssertUnwindSafe(|| sim::check(1000, |world| test(world, false))));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("one question, one answer"), "{message}");
    let position = |text: &str| message.find(text).unwrap_or_else(|| panic!("no {text:?} in {message}"));
    assert!(position("server  calls timer") < position("server  calls work"), "{message}");
}

#[test]
fn no_seed_fails_once_the_race_is_fixed() {
    sim::check(1000, |world| test(world, true));
}
