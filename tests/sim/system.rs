//! The random programs on the system itself. It cannot be partitioned and does not replay, but the contract
//! is the same.
//!
//! `SEEDS=1000 cargo test --release --features sim --test sim system`; with `RUSTFLAGS='--cfg
//! ringback_portable'` on the portable selector.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Once, mpsc},
    thread,
    time::{Duration, Instant},
};

use ringback::{Loop, Signal, Timer, signal};
use rustix::process::{getpid, kill_process};

use crate::{
    contract::all_arrived,
    model::{Violation, caught, quiet_panics, seeds_on_the_system},
    program::{
        App, ENDS_THE_RUN, KNOWN_SYSTEM_OPS, Plan, Random, Site, System, Toy, op, play_with_toys, start,
    },
};

const HOSTS: usize = 3;
/// How long anything may take that must happen.
const GUARD: Duration = Duration::from_secs(60);

/// Sends a signal to this process. One that no loop watched would end it, so one loop always does.
fn raise(signum: i32) {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let (sender, ready) = mpsc::channel();
        thread::spawn(move || {
            let mut lp = Loop::<()>::new().unwrap();
            for signum in [signal::USR1, signal::USR2] {
                Signal::on(&mut lp, signum, |_, _, _| Ok(())).unwrap();
            }
            sender.send(()).unwrap();
            lp.run(&mut ()).unwrap();
        });
        ready.recv().unwrap();
    });
    let signal =
        if signum == signal::USR1 { rustix::process::Signal::USR1 } else { rustix::process::Signal::USR2 };
    kill_process(getpid(), signal).unwrap();
}

/// How a program is run.
#[derive(Clone, Copy)]
enum Mode {
    Poll,
    Once,
    For,
    Run,
}

struct Program {
    lp: Loop<App>,
    app: App,
}

impl Program {
    fn start(number: usize, plan: &Rc<Plan>, site: &Site) -> Result<Program, Violation> {
        let mut lp = Loop::new().map_err(|error| error.to_string())?;
        let mut app = App::new(number, plan.clone(), site.clone());
        start(&mut lp, &mut app).map_err(|error| error.to_string())?;
        Ok(Program { lp, app })
    }

    /// Runs a turn, or some. Returns whether a callback was called.
    fn step(&mut self, mode: Mode) -> Result<bool, Violation> {
        let Program { lp, app } = self;
        let before = lp.metrics();
        if !matches!(mode, Mode::Poll) {
            // It ends the run if nothing else does.
            let stop = Timer::after(lp, Duration::from_millis(1), |lp, _| {
                lp.stop();
                Ok(())
            });
            stop.map_err(|error| error.to_string())?;
        }
        let ended = caught(|| match mode {
            Mode::Poll => lp.poll_once(app).map(drop),
            Mode::Once => lp.run_once(app).map(drop),
            Mode::For => lp.run_for(app, Duration::from_millis(2)).map(drop),
            Mode::Run => lp.run(app),
        })?;
        let whole = match ended {
            None => false,
            Some(Ok(())) => true,
            Some(Err(error)) if error.to_string() == ENDS_THE_RUN => false,
            Some(Err(error)) => return Err(format!("a failure that on_failure did not take: {error}")),
        };
        let after = lp.metrics();
        if after.turns != before.turns || !whole {
            app.turn_over(lp, whole);
        }
        caught(|| lp.verify())?;
        app.contract.violations.first().cloned().map_or(Ok(()), Err)?;
        Ok(after.callbacks != before.callbacks)
    }
}

fn poll_all(programs: &mut [Program]) -> Result<bool, Violation> {
    programs.iter_mut().try_fold(false, |called, program| Ok(program.step(Mode::Poll)? || called))
}

/// Runs turns until a check succeeds.
fn until(
    programs: &mut [Program],
    check: impl Fn(&[Program]) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let start = Instant::now();
    loop {
        let called = poll_all(programs)?;
        match check(programs) {
            Ok(()) => return Ok(()),
            Err(violation) if start.elapsed() > GUARD => return Err(violation),
            Err(_) if !called => thread::yield_now(),
            Err(_) => {}
        }
    }
}

fn has_settled(programs: &[Program]) -> Result<(), Violation> {
    let mut connections = Vec::new();
    for Program { lp, app } in programs {
        app.contract.settled()?;
        connections.extend(app.contract.connections(lp));
    }
    all_arrived(&connections)
}

fn has_ended(programs: &[Program]) -> Result<(), Violation> {
    programs.iter().try_for_each(|Program { lp, app }| app.nothing_is_left(lp, lp.is_alive()))
}

/// Runs the programs of a plan, until all of its ops were carried out and everything is closed.
fn play(plan: &Rc<Plan>, site: &Site) -> Result<(), Violation> {
    let mut programs =
        (0..HOSTS).map(|number| Program::start(number, plan, site)).collect::<Result<Vec<_>, _>>()?;
    let mut random = Random::new(plan.seed ^ 0xd157);
    let start = Instant::now();
    while plan.count() < plan.ops_max() && start.elapsed() < GUARD {
        let called = poll_all(&mut programs)?;
        let number = random.below(programs.len() as u64) as usize;
        if !called || random.one_in(10) {
            if programs.len() > 1 && random.one_in(200) {
                // As if it were killed: the system closes its descriptors.
                programs.swap_remove(number).app.abandon();
            } else {
                let Program { lp, app } = &mut programs[number];
                op(lp, app);
            }
        } else if random.one_in(20) {
            let mode = random.pick(&[Mode::Once, Mode::For, Mode::Run]).expect("there are three");
            programs[number].step(mode)?;
        }
    }
    if random.one_in(4) {
        return Ok(()); // All loops are dropped with everything in flight.
    }
    programs.iter_mut().for_each(|Program { lp, app }| app.rest(lp));
    // The thread lets go of what it has, which keeps loops alive.
    site.system.as_ref().expect("this is the system").toys.take();
    until(&mut programs, has_settled)?;
    programs.iter_mut().for_each(|Program { lp, app }| app.end(lp));
    until(&mut programs, has_ended)
}

/// Runs a plan, with a thread that interferes.
fn check(plan: &Rc<Plan>) -> Result<(), Violation> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data"), vec![7; 3000]).unwrap();
    let (sender, toys) = mpsc::channel::<Toy>();
    let seed = plan.seed;
    let thread = thread::spawn(move || play_with_toys(&toys, seed + 1));
    let toys = Rc::new(RefCell::new(Some(sender)));
    let site = Site {
        listen: "127.0.0.1:0",
        servers: Rc::default(),
        refusing: ([127, 0, 0, 1], 1).into(),
        dir: dir.path().into(),
        speedup: 200,
        wire: Rc::default(),
        everyones: Rc::default(),
        system: Some(System { toys, raise }),
    };
    let result = play(plan, &site);
    drop(site);
    thread.join().expect("the thread does not panic");
    result
}

#[test]
fn random_programs_keep_the_contract_on_the_system() {
    quiet_panics();
    let (mut played, mut counts) = (0, BTreeMap::<&'static str, u32>::new());
    for seed in seeds_on_the_system(100) {
        let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
        if let Err(violation) = check(&plan) {
            panic!(
                "seed {seed} breaks the contract on the system: {violation}\n\nops carried out:\n{}",
                plan.carried_out().join("\n")
            );
        }
        played += 1;
        plan.tally().into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    // A generator that never does something tests nothing of it.
    let missing: Vec<_> = KNOWN_SYSTEM_OPS.iter().filter(|what| !counts.contains_key(*what)).collect();
    assert!(missing.is_empty() || played < 100, "never done: {missing:?}; done: {counts:?}");
}
