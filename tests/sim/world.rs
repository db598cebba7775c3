//! Time, seeds, and how a test runs a world.

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

use crate::kit::{add_echo, add_pair, add_sender, bytes};

const HOUR: Duration = Duration::from_secs(3600);

/// Returns a world in which three clients have talked to an echo server.
fn busy_world(seed: u64) -> World {
    let mut world = World::new(seed);
    world.set_link(Link::flaky());
    world.set_spurious_one_in(5);
    let server = add_echo(&mut world).unwrap();
    let addr = world.addr(server);
    for number in 0..3 {
        add_sender(&mut world, addr, bytes(5000 + number)).unwrap();
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

/// In debug and release builds. A change to what the loop or the world does may change the number.
#[test]
fn a_trace_hash_is_the_same_in_every_build() {
    assert_eq!(busy_world(1).trace_hash(), 2_112_795_931_300_919_909);
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    let hashes: Vec<u64> = [1, 1, 2, 3].map(|seed| busy_world(seed).trace_hash()).into();
    assert_eq!(hashes[0], hashes[1]);
    assert!(hashes[1] != hashes[2] && hashes[2] != hashes[3], "{hashes:?}");
    let lines = |seed| busy_world(seed).timeline().to_string();
    assert_eq!(lines(4), lines(4));
}

#[test]
fn a_timeline_names_the_host_the_event_and_its_start() {
    let world = busy_world(1);
    let timeline = world.timeline().to_string();
    assert!(timeline.contains("server  listens on 0.0.0.0:7\n"), "{timeline}");
    assert!(timeline.contains("client  connects to 10.0.0.1:7\n"), "{timeline}");
    assert!(timeline.contains("server  calls tcp listener 1, started at tests"), "{timeline}");
    let last = world.timeline().last(2);
    assert_eq!(last.len(), 2);
    assert!(last.to_string().starts_with("… "), "{last}");
}

#[test]
fn a_timeline_shows_sent_bytes_and_results_of_jobs() {
    let mut world = World::new(1);
    let (_, client) = add_pair(&mut world, b"a line that is longer than is shown\n".to_vec()).unwrap();
    world.with(client, |lp, _| fs::read(lp, "/nowhere", |_, _, read| read.map(drop).or(Ok(())))).unwrap();
    world.run_for(HOUR).unwrap();
    let timeline = world.timeline();
    let text = timeline.to_string();
    assert!(text.contains("client  sends 36 bytes to 10.0.0.1:7: \"a line that is longer th\"…\n"), "{text}");
    let failed = "completes job 1: read, which fails: No such file or directory";
    assert!(text.contains(failed), "{text}");
    let own = timeline.of(client).to_string();
    assert!(own.contains("sends 36 bytes") && !own.contains("server  "), "{own}");
}

#[test]
fn a_loop_of_its_own_runs_in_the_world() {
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
fn a_wait_that_nothing_can_end_returns_an_error() {
    let mut world = World::new(1);
    let mut lp = world.new_loop::<()>("own").unwrap();
    ringback::net::TcpListener::bind(&mut lp, "0.0.0.0:7").unwrap().start(&mut lp, |_, _, _| Ok(())).unwrap();
    let error = lp.run(&mut ()).unwrap_err().to_string();
    assert!(error.contains("nothing will ever happen"), "{error}");
}

#[test]
fn time_advances_while_an_idle_hook_runs() {
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
fn run_until_ends_at_the_condition_or_the_limit() {
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
fn scheduled_actions_run_in_order_at_their_time() {
    let mut world = World::new(1);
    let host = world.host("one", Vec::new(), |lp, _| {
        Timer::after(lp, 3 * HOUR, |_, hours: &mut Vec<u32>| {
            hours.push(3);
            Ok(())
        })
        .map(drop)
    });
    let host = host.unwrap();
    for hour in [4, 2, 2] {
        world.schedule(hour * HOUR, move |world| {
            world.with(host, |_, hours| hours.push(hour));
            Ok(())
        });
    }
    world.run().unwrap();
    assert_eq!(*world.state(host), [2, 2, 3, 4]);
}

#[test]
fn an_unhandled_failure_ends_the_step_and_the_program() {
    let mut world = World::new(1);
    let host = world
        .host("one", (), |lp, _| Timer::after(lp, HOUR, |_, _| Err(Error::other("out of tea"))).map(drop));
    let host = host.unwrap();
    assert!(world.is_alive(host));
    let error = world.run().unwrap_err();
    assert!(error.to_string().ends_with("out of tea"), "{error}");
    assert!(!world.is_alive(host), "like a program whose main returns the result of run");
}

fn message_of(op: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(op)).expect_err("a panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("a message")
}

#[test]
fn check_names_the_host_whose_program_failed() {
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
fn state_of_a_killed_program_panics_with_its_host() {
    let mut world = World::new(1);
    let host = world.host("victim", 7, |_, _| Ok(())).unwrap();
    world.kill(host);
    let message = message_of(|| _ = world.state(host));
    assert!(message.starts_with("victim has no program and no state: it was killed"), "{message}");
}

#[test]
fn check_detects_a_test_that_does_not_replay() {
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
fn files_can_be_borrowed_twice() {
    let mut world = World::new(1);
    let host = world.host("one", (), |_, _| Ok(())).unwrap();
    world.files(host).put("/a", "same");
    world.files(host).put("/b", "same");
    assert_eq!(world.files(host).get("/a"), world.files(host).get("/b"), "{}", world.timeline());
}

#[test]
fn jobs_run_on_this_thread_in_random_order() {
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
fn a_job_may_panic_or_be_cancelled() {
    let mut world = World::new(1);
    let host = world.host("one", Vec::new(), |lp, _| {
        lp.set_workers(1);
        let add = |results: &mut Vec<String>, result: Result| {
            results.push(result.map_or_else(|error| error.to_string(), |()| "done".into()));
            Ok(())
        };
        work::run(lp, || panic!("on purpose"), move |_, results, result| add(results, result))?;
        let second = work::run(lp, || (), move |_, results, result| add(results, result))?;
        second.cancel(lp)
    });
    let host = host.unwrap();
    world.run().unwrap();
    assert_eq!(*world.state(host), ["work: cancelled", "work: panicked: on purpose"]);
}

#[test]
fn a_signal_reaches_only_a_program_that_watches_it() {
    let mut world = World::new(1);
    let host = world.host("one", Vec::new(), |lp, _| {
        Signal::on(lp, signal::TERM, |lp, received: &mut Vec<i32>, signum| {
            received.push(signum);
            if received.len() == 2 {
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
fn a_message_through_a_channel_wakes_the_loop() {
    let mut world = World::new(1);
    let mut sender = None;
    let host = world.host("one", Vec::new(), |lp, _| {
        let (_, other) = channel::unbounded(lp, |_, received: &mut Vec<u32>, number| {
            received.push(number);
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
fn a_failed_seed_is_reported_with_its_timeline_and_command() {
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
    // The feature is named only in tests of this crate.
    let command = message.split("replay it with: ").nth(1).unwrap();
    assert!(command.starts_with("SEED=3 cargo test "), "{message}");
    assert!(command.ends_with("world::a_failed_seed_is_reported_with_its_timeline_and_command"));
}

#[test]
fn loops_get_the_options_of_the_world() {
    let mut world = World::new(1);
    world.set_options(Options::new().read_buffer(3).workers(1));
    let (server, client) = add_pair(&mut world, b"0123456789".to_vec()).unwrap();
    world.run_for(Duration::from_secs(1)).unwrap();
    assert_eq!(world.state(client).received, b"0123456789");
    let calls = world.with(server, |lp, _| lp.metrics().callbacks);
    assert!(calls >= 4, "ten bytes, at most three per read: {calls}");
}

/// A result of a job of the previous program once reached the one that replaced it.
#[test]
fn a_restarted_program_gets_no_results_of_its_predecessor() {
    let mut world = World::new(1);
    world.set_job_time(HOUR, HOUR);
    let start = |number: u32| {
        move |lp: &mut Loop<Vec<u32>>, _: &mut Vec<u32>| {
            work::run(
                lp,
                move || number,
                |_, results: &mut Vec<u32>, result| {
                    results.push(result?);
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
