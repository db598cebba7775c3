//! The random programs on the system itself, as far as it plays along: it cannot be cut in two, and does not replay. The
//! contract is the same.
//!
//! `SEEDS=1000 cargo test --release --features sim --test sim system`; with `RUSTFLAGS='--cfg ringback_portable'` on the
//! portable way of waiting.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, Instant},
};

use ringback::Loop;

use crate::{
    contract::all_arrived,
    model::{Wrong, caught, quiet_panics, seeds_on_the_system, turn},
    program::{App, Place, Plan, Random, begin, op},
};

const HOSTS: usize = 3;
/// How long anything may take that must come.
const PATIENCE: Duration = Duration::from_secs(60);

struct Program {
    lp: Loop<App>,
    app: App,
}

impl Program {
    /// One turn. Says whether anything was called.
    fn step(&mut self) -> Result<bool, Wrong> {
        let Program { lp, app } = self;
        let before = lp.metrics().callbacks;
        let whole = turn(|| lp.poll_once(app))?.is_some();
        app.contract.turn_is_over(lp.now(), whole);
        caught(|| lp.verify())?;
        app.contract.wrong.first().cloned().map_or(Ok(()), Err)?;
        Ok(lp.metrics().callbacks != before)
    }
}

fn step_all(programs: &mut [Program]) -> Result<bool, Wrong> {
    programs.iter_mut().try_fold(false, |called, program| Ok(program.step()? || called))
}

/// Takes turns until it is so.
fn until(programs: &mut [Program], is_so: impl Fn(&[Program]) -> Result<(), Wrong>) -> Result<(), Wrong> {
    let begun = Instant::now();
    loop {
        let called = step_all(programs)?;
        match is_so(programs) {
            Ok(()) => return Ok(()),
            Err(wrong) if begun.elapsed() > PATIENCE => return Err(wrong),
            Err(_) if !called => std::thread::yield_now(),
            Err(_) => {}
        }
    }
}

fn has_settled(programs: &[Program]) -> Result<(), Wrong> {
    let mut connections = Vec::new();
    for Program { lp, app } in programs {
        app.contract.settled()?;
        connections.extend(app.contract.connections(lp));
    }
    all_arrived(&connections)
}

fn has_ended(programs: &[Program]) -> Result<(), Wrong> {
    programs.iter().try_for_each(|Program { lp, app }| app.nothing_is_left(lp, lp.is_alive()))
}

fn play(plan: &Rc<Plan>) -> Result<(), Wrong> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data"), vec![7; 3000]).unwrap();
    let place = Place {
        listen: "127.0.0.1:0",
        found: Rc::new(RefCell::default()),
        nobody: ([127, 0, 0, 1], 1).into(),
        dir: dir.path().into(),
        haste: 200,
    };
    let mut programs = Vec::new();
    for _ in 0..HOSTS {
        let mut lp = Loop::new().map_err(|error| error.to_string())?;
        let mut app = App::new(plan.clone(), place.clone());
        begin(&mut lp, &mut app).map_err(|error| error.to_string())?;
        programs.push(Program { lp, app });
    }
    let mut random = Random::new(plan.seed ^ 0xd157);
    let begun = Instant::now();
    while plan.count() < plan.acts() && begun.elapsed() < PATIENCE {
        let called = step_all(&mut programs)?;
        if !called || random.below(10) == 0 {
            let number = random.below(programs.len() as u64) as usize;
            if programs.len() > 1 && random.below(200) == 0 {
                // As if it were killed: the system closes what it has.
                drop(programs.swap_remove(number));
            } else {
                let Program { lp, app } = &mut programs[number];
                op(lp, app);
            }
        }
    }
    programs.iter_mut().for_each(|program| program.app.rest());
    until(&mut programs, has_settled)?;
    programs.iter_mut().for_each(|Program { lp, app }| app.end(lp));
    until(&mut programs, has_ended)
}

#[test]
fn random_programs_keep_the_contract_on_the_system() {
    quiet_panics();
    for seed in seeds_on_the_system(40) {
        let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
        if let Err(wrong) = play(&plan) {
            panic!(
                "seed {seed} breaks the contract on the system: {wrong}\n\nwhat was done:\n{}",
                plan.carried_out().join("\n")
            );
        }
    }
}
