//! Time, chance, and how a test runs a world.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use ringback::{
    Error, Idle, Loop, Options, Result, Timer, channel, fs,
    signal::{self, Signal},
    sim::{self, Link, World},
    work,
};

use crate::kit::{Echo, Talk, bytes, echo, talk};

const HOUR: Duration = Duration::from_secs(3600);

fn a_conversation(seed: u64) -> World {
    let mut world = World::new(seed);
    world.set_link(Link::flaky());
    world.set_spurious_one_in(5);
    let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
    let addr = world.addr(server);
    for number in 0..3 {
        let text = bytes(5000 + number);
        world.host("client", Talk::default(), |lp, _| talk(lp, addr, text)).unwrap();
    }
    world.run_for(HOUR).unwrap();
    world
}

#[test]
fn a_week_of_timers_takes_no_time() {
    let mut world = World::new(1);
    let host = world
        .host("one", Vec::new(), |lp, _| {
            for day in [7, 1, 3] {
                Timer::after(lp, 24 * day * HOUR, move |lp, fired: &mut Vec<(u32, u64)>| {
                    fired.push((day, lp.now().as_secs()));
                    Ok(())
                })?;
            }
            Ok(())
        })
        .unwrap();
    world.run().unwrap();
    assert_eq!(*world.state(host), [(1, 86_400), (3, 259_200), (7, 604_800)]);
    assert!(!world.is_alive(host));
}

/// In debug and in release builds, on every machine. What the loop does, or the world, may change: then this number does.
#[test]
fn a_trace_is_the_same_on_every_machine_and_in_every_build() {
    assert_eq!(a_conversation(1).trace_hash(), 2_112_795_931_300_919_909);
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let hashes: Vec<u64> = [1, 1, 2, 3].map(|seed| a_conversation(seed).trace_hash()).into();
    assert_eq!(hashes[0], hashes[1]);
    assert!(hashes[1] != hashes[2] && hashes[2] != hashes[3], "{hashes:?}");
    let lines = |seed| a_conversation(seed).timeline().to_string();
    assert_eq!(lines(4), lines(4));
}

#[test]
fn a_timeline_says_when_where_what_and_who_started_it() {
    let world = a_conversation(1);
    let timeline = world.timeline().to_string();
    assert!(timeline.contains("server  listens on 0.0.0.0:7\n"), "{timeline}");
    assert!(timeline.contains("client  connects to 10.0.0.1:7\n"), "{timeline}");
    assert!(timeline.contains("server  calls tcp listener 1, started at tests"), "{timeline}");
    let last = world.timeline().last(2);
    assert_eq!(last.len(), 2);
    assert!(last.to_string().starts_with("… "), "{last}");
}

#[test]
fn a_timeline_shows_what_was_said_and_what_jobs_came_to() {
    let mut world = World::new(1);
    let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
    let addr = world.addr(server);
    let text = b"a line that is longer than is shown\n".to_vec();
    let client = world.host("client", Talk::default(), move |lp, _| talk(lp, addr, text)).unwrap();
    world.with(client, |lp, _| fs::read(lp, "/nowhere", |_, _, read| read.map(drop).or(Ok(())))).unwrap();
    world.run_for(HOUR).unwrap();
    let timeline = world.timeline();
    let text = timeline.to_string();
    assert!(text.contains("client  sends 36 bytes to 10.0.0.1:7: \"a line that is longer th\"…\n"), "{text}");
    let failed = "read a whole file, which fails: No such file or directory";
    assert!(text.contains(failed), "{text}");
    let own = timeline.of(client).to_string();
    assert!(own.contains("sends 36 bytes") && !own.contains("server  "), "{own}");
}

#[test]
fn a_loop_of_ones_own_runs_in_the_world() {
    let mut world = World::new(1);
    let mut lp = world.new_loop::<u32>("own").unwrap();
    Timer::every(&mut lp, HOUR, |lp, ticks| {
        *ticks += 1;
        if *ticks == 1000 {
            lp.stop()
        }
        Ok(())
    })
    .unwrap();
    let mut ticks = 0;
    lp.run(&mut ticks).unwrap();
    assert_eq!((ticks, world.now().as_secs() / 3600), (1000, 1000));
}

#[test]
fn a_loop_that_would_wait_for_ever_ends_with_an_error() {
    let mut world = World::new(1);
    let mut lp = world.new_loop::<()>("own").unwrap();
    ringback::net::TcpListener::bind(&mut lp, "0.0.0.0:7").unwrap().start(&mut lp, |_, _, _| Ok(())).unwrap();
    let error = lp.run(&mut ()).unwrap_err().to_string();
    assert!(error.contains("nothing will ever happen"), "{error}");
}

#[test]
fn an_idle_hook_lets_time_go_on() {
    let mut world = World::new(1);
    let host = world
        .host("one", 0, |lp, _| {
            Idle::every_turn(lp, |_, turns: &mut u32| {
                *turns += 1;
                Ok(())
            })?;
            Timer::after(lp, Duration::from_millis(10), |lp, _| {
                lp.stop();
                Ok(())
            })
            .map(drop)
        })
        .unwrap();
    world.run_for(Duration::from_millis(11)).unwrap();
    let turns = *world.state(host);
    assert!((500..200_000).contains(&turns), "{turns}");
}

#[test]
fn run_until_ends_when_it_is_so_or_when_time_is_up() {
    let mut world = World::new(1);
    let host = world
        .host("one", 0, |lp, _| {
            Timer::every(lp, HOUR, |_, ticks: &mut u32| {
                *ticks += 1;
                Ok(())
            })
            .map(drop)
        })
        .unwrap();
    world.run_until(10 * HOUR, |world| *world.state(host) == 5).unwrap();
    assert_eq!(world.now().as_secs() / 3600, 5);
    let error = world.run_until(10 * HOUR, |world| *world.state(host) == 50).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("run_until at tests/sim/world.rs:"), "{text}");
    assert!(text.ends_with(": condition not met within 36000s"), "{text}");
}

#[test]
fn scripts_run_at_their_time_and_in_their_order() {
    let mut world = World::new(1);
    let host = world.host("one", Vec::new(), |lp, _| {
        Timer::after(lp, 3 * HOUR, |_, seen: &mut Vec<u32>| {
            seen.push(3);
            Ok(())
        })
        .map(drop)
    });
    let host = host.unwrap();
    for hour in [4, 2, 2] {
        world.schedule(hour * HOUR, move |world| {
            world.with(host, |_, seen| seen.push(hour));
            Ok(())
        });
    }
    world.run().unwrap();
    assert_eq!(*world.state(host), [2, 2, 3, 4]);
}

#[test]
fn a_failure_that_nobody_takes_ends_the_step_and_the_program() {
    let mut world = World::new(1);
    let host = world
        .host("one", (), |lp, _| Timer::after(lp, HOUR, |_, _| Err(Error::other("out of tea"))).map(drop));
    let host = host.unwrap();
    assert!(world.is_alive(host));
    let error = world.run().unwrap_err();
    assert!(error.to_string().ends_with("out of tea"), "{error}");
    assert!(!world.is_alive(host), "as a program whose main returns what run did");
}

fn message_of(op: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(op)).expect_err("it panics");
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("with a text")
}

#[test]
fn a_program_that_fails_is_named_with_its_host() {
    let message = message_of(|| {
        sim::check(1, |world| {
            for name in ["first", "second"] {
                let after = if name == "first" { 2 * HOUR } else { HOUR };
                world.host(name, (), move |lp, _| {
                    Timer::after(lp, after, |_, _| Err(Error::other("out of tea"))).map(drop)
                })?;
            }
            world.run()
        });
    });
    assert!(message.starts_with("seed 0 fails: on second: timer"), "{message}");
}

#[test]
fn who_asks_for_the_state_of_a_program_that_was_killed_is_told_of_whom() {
    let mut world = World::new(1);
    let host = world.host("victim", 7, |_, _| Ok(())).unwrap();
    world.kill(host);
    let message = message_of(|| _ = world.state(host));
    assert!(message.starts_with("victim has no program and no state: it was killed"), "{message}");
}

#[test]
fn a_test_that_does_what_no_seed_decides_is_found_out() {
    let runs = std::cell::Cell::new(0);
    let message = message_of(|| {
        sim::check(1, |world| {
            runs.set(runs.get() + 1);
            let after = HOUR * runs.get();
            world.host("one", (), move |lp, _| Timer::after(lp, after, |_, _| Ok(())).map(drop))?;
            world.run()
        });
    });
    assert!(message.starts_with("the same seed gave two different traces"), "{message}");
}

#[test]
fn files_can_be_looked_at_twice_at_a_time() {
    let mut world = World::new(1);
    let host = world.host("one", (), |_, _| Ok(())).unwrap();
    world.files(host).put("/a", "same");
    world.files(host).put("/b", "same");
    assert_eq!(world.files(host).get("/a"), world.files(host).get("/b"), "{}", world.timeline());
}

#[test]
fn jobs_are_done_on_this_thread_in_an_order_that_the_seed_chooses() {
    let order = |seed| {
        let mut world = World::new(seed);
        let host = world.host("one", Vec::new(), |lp, _| {
            let home = std::thread::current().id();
            for number in 0..6 {
                let job = move || assert_eq!(std::thread::current().id(), home);
                work::run(lp, job, move |_, done: &mut Vec<u32>, result| {
                    result?;
                    done.push(number);
                    Ok(())
                })?;
            }
            Ok(())
        });
        let host = host.unwrap();
        world.run().unwrap();
        world.state(host).clone()
    };
    let orders: std::collections::BTreeSet<Vec<u32>> = (0..50).map(order).collect();
    assert!(orders.len() > 5, "{orders:?}");
    assert!(orders.iter().all(|order| order.len() == 6));
}

#[test]
fn a_job_that_panics_is_an_error_and_one_that_waits_can_be_cancelled() {
    let mut world = World::new(1);
    let host = world.host("one", Vec::new(), |lp, _| {
        lp.set_workers(1);
        let keep = |seen: &mut Vec<String>, result: Result| {
            seen.push(result.map_or_else(|error| error.to_string(), |()| "done".into()));
            Ok(())
        };
        work::run(lp, || panic!("on purpose"), move |_, seen, result| keep(seen, result))?;
        let second = work::run(lp, || (), move |_, seen, result| keep(seen, result))?;
        second.cancel(lp)
    });
    let host = host.unwrap();
    world.run().unwrap();
    assert_eq!(*world.state(host), ["work: cancelled", "work: panicked: on purpose"]);
}

#[test]
fn signals_reach_who_watches_for_them() {
    let mut world = World::new(1);
    let host = world.host("one", Vec::new(), |lp, _| {
        Signal::on(lp, signal::TERM, |lp, seen: &mut Vec<i32>, signum| {
            seen.push(signum);
            if seen.len() == 2 {
                lp.stop()
            }
            Ok(())
        })
        .map(drop)
    });
    let host = host.unwrap();
    assert!(!world.signal(host, signal::INT));
    for hour in 1..=2 {
        world.schedule(hour * HOUR, move |world| {
            assert!(world.signal(host, signal::TERM));
            Ok(())
        });
    }
    world.run_for(3 * HOUR).unwrap();
    assert_eq!(*world.state(host), [signal::TERM; 2]);
}

#[test]
fn what_is_sent_through_a_channel_wakes_the_loop() {
    let mut world = World::new(1);
    let mut sender = None;
    let host = world.host("one", Vec::new(), |lp, _| {
        let (_, other) = channel::unbounded(lp, |_, seen: &mut Vec<u32>, number| {
            seen.push(number);
            Ok(())
        })?;
        sender = Some(other);
        Ok(())
    });
    let host = host.unwrap();
    world.run().unwrap();
    let sender = sender.unwrap();
    for number in 0..3 {
        sender.send(number).unwrap();
    }
    drop(sender);
    world.run().unwrap();
    assert_eq!(*world.state(host), [0, 1, 2]);
    assert!(!world.is_alive(host));
}

#[test]
fn a_seed_that_fails_is_named_with_what_happened_and_how_to_replay_it() {
    let failing = || {
        sim::check(10, |world| {
            let host = world.host("unlucky", 0, |lp, _| {
                Timer::after(lp, HOUR, |_, fired: &mut u32| {
                    *fired += 1;
                    Ok(())
                })
                .map(drop)
            })?;
            world.run()?;
            assert!(world.seed() < 3, "the state was {}", world.state(host));
            Ok(())
        });
    };
    let panic = catch_unwind(AssertUnwindSafe(failing)).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("seed 3 fails: the state was 1\n"), "{message}");
    assert!(message.contains("unlucky  calls timer 1, started at tests"), "{message}");
    // The feature is named only where cargo runs the tests of this very crate.
    let command = message.split("replay it with: ").nth(1).unwrap();
    assert!(command.starts_with("SEED=3 cargo test "), "{message}");
    assert!(command.ends_with("world::a_seed_that_fails_is_named_with_what_happened_and_how_to_replay_it"));
}

#[test]
fn what_only_the_system_has_is_refused() {
    let mut world = World::new(1);
    let mut lp: Loop = world.new_loop("own").unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let refused = ringback::Poll::new(&mut lp, &reader).unwrap_err().to_string();
    assert!(refused.contains("a simulated world has no"), "{refused}");
}

#[test]
fn loops_are_made_with_the_options_of_the_world() {
    let mut world = World::new(1);
    world.set_options(Options::new().read_buffer(3).workers(1));
    let server = world.host("server", Echo::default(), |lp, _| echo(lp)).unwrap();
    let addr = world.addr(server);
    let client =
        world.host("client", Talk::default(), move |lp, _| talk(lp, addr, b"0123456789".to_vec())).unwrap();
    world.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(world.state(client).heard, b"0123456789");
    let calls = world.with(server, |lp, _| lp.metrics().callbacks);
    assert!(calls >= 4, "ten bytes, three at a time: {calls}");
}

/// The answer of a job that the program before had begun came to the one that was started in its place.
#[test]
fn a_program_that_takes_the_place_of_one_that_runs_gets_nothing_that_was_for_the_other() {
    let mut world = World::new(1);
    world.set_job_time(HOUR, HOUR);
    let start = |number: u32| {
        move |lp: &mut Loop<Vec<u32>>, _: &mut Vec<u32>| {
            work::run(
                lp,
                move || number,
                |_, seen: &mut Vec<u32>, answer| {
                    seen.push(answer?);
                    Ok(())
                },
            )
            .map(drop)
        }
    };
    let host = world.host("one", Vec::new(), start(1)).unwrap();
    world.run_for(HOUR / 2).unwrap();
    world.restart(host, Vec::new(), start(2)).unwrap();
    world.run_for(3 * HOUR).unwrap();
    assert_eq!(*world.state(host), [2]);
    assert!(world.timeline().to_string().contains("one  is killed"));
}
