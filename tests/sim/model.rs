//! Random programs against the contract: hundreds of handles that start, stop, close, write, defer, connect, cancel, fail
//! and panic, inside callbacks and outside, in a world that misbehaves.
//!
//! `SEEDS=1000000 cargo test --release --features sim --test sim model` runs as many, `SEED=7 …` replays one. A seed that
//! fails is made short first: which of its acts can be left out, so that it still fails?

use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    io::Write,
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    sync::Once,
    time::Duration,
};

use ringback::{
    Options,
    sim::{Host, Link, World},
};

use crate::{
    contract::{Settled, all_arrived},
    program::{App, ON_PURPOSE, Place, Plan, Random, begin, op},
};

const HOSTS: usize = 3;
const HORIZON: Duration = Duration::from_secs(30);
/// How long they have at the end to hear of what is on its way.
const SETTLING: Duration = Duration::from_secs(60);

/// What a run was found to do wrong.
pub(crate) type Wrong = String;

/// The panics that programs make on purpose are not worth a line each.
pub(crate) fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&ON_PURPOSE) {
                before(info);
            }
        }));
    });
}

/// Does something that may panic on purpose: then it comes to nothing.
pub(crate) fn caught<T>(op: impl FnOnce() -> T) -> Result<Option<T>, Wrong> {
    match panic::catch_unwind(AssertUnwindSafe(op)) {
        Ok(done) => Ok(Some(done)),
        Err(payload) => said(&*payload).map_or(Ok(None), Err),
    }
}

/// A turn. Says what it came to, unless a panic broke it off.
pub(crate) fn turn<T>(turn: impl FnOnce() -> ringback::Result<T>) -> Result<Option<T>, Wrong> {
    let failed = |error| format!("a failure that on_failure did not take: {error}");
    caught(turn)?.transpose().map_err(failed)
}

/// What a panic says, unless it was on purpose.
fn said(payload: &(dyn Any + Send)) -> Option<Wrong> {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(&text), _) if text == ON_PURPOSE => None,
        (Some(text), _) => Some((*text).to_owned()),
        (_, Some(text)) => Some(text.clone()),
        _ => Some("a panic".to_owned()),
    }
}

fn place() -> Place {
    Place {
        listen: "0.0.0.0:7",
        found: Rc::new(RefCell::new((1..=HOSTS as u8).map(|last| ([10, 0, 0, last], 7).into()).collect())),
        nobody: ([10, 0, 0, 99], 7).into(),
        dir: "/".into(),
        haste: 1,
    }
}

/// What lies between the hosts: mostly something bad.
fn link(random: &mut Random) -> Link {
    let mut link = match random.below(8) {
        0 => Link::new(),
        1 => Link::flaky().send_buffer(200).receive_buffer(100),
        2 => Link::flaky().latency(Duration::from_millis(30)).bandwidth(100_000),
        _ => Link::flaky(),
    };
    if random.below(2) == 0 {
        link = link.reset_one_in(50 + random.below(500) as u32).refuse_one_in(20);
    }
    link.give_up_after(Duration::from_secs(if random.below(2) == 0 { 20 } else { 1000 }))
}

/// One world with its programs, under way.
struct Run {
    world: World,
    place: Place,
    hosts: Vec<Host<App>>,
    alive: Vec<bool>,
    turns: Vec<u64>,
    tally: Tally,
}

impl Run {
    fn new(plan: &Rc<Plan>) -> Result<Run, Wrong> {
        let mut world = World::new(plan.seed);
        let mut random = Random::new(plan.seed ^ 0x5eed);
        world.set_link(link(&mut random));
        world.set_spurious_one_in(random.below(6) as u32);
        world.set_job_time(Duration::from_micros(1), Duration::from_millis(20));
        let read_buffer = [64 << 10, 1000, 50][random.below(3) as usize];
        world.set_options(Options::new().read_buffer(read_buffer));
        let mut run = Run {
            world,
            place: place(),
            hosts: Vec::new(),
            alive: vec![true; HOSTS],
            turns: vec![0; HOSTS],
            tally: Tally::default(),
        };
        for number in 0..HOSTS {
            let app = App::new(plan.clone(), run.place.clone());
            let host =
                run.world.host(["a", "b", "c"][number], app, begin).map_err(|error| error.to_string())?;
            run.world.files(host).put("/data", vec![7; 3000]);
            run.world.files(host).fail_one_in(random.below(20) as u32);
            run.hosts.push(host);
        }
        Ok(run)
    }

    /// What may be done to the world itself, now and then.
    fn disturb(&mut self, plan: &Rc<Plan>, random: &mut Random) -> Result<(), Wrong> {
        let ordinal = plan.next();
        if !plan.allows(ordinal) {
            return Ok(());
        }
        let (one, other) = (random.below(HOSTS as u64) as usize, random.below(HOSTS as u64) as usize);
        let (one_host, other_host) = (self.hosts[one], self.hosts[other]);
        let what = match random.below(16) {
            0 => {
                self.world.partition(one_host, other_host);
                "partition"
            }
            1..=3 => {
                self.world.heal(one_host, other_host);
                "heal"
            }
            4 => {
                self.world.reset(one_host, other_host);
                "reset all"
            }
            5 => {
                self.world.pause(one_host);
                "stop"
            }
            6..=7 => {
                self.world.resume(one_host);
                "go on"
            }
            8 => {
                self.world.signal(one_host, ringback::signal::USR1);
                "signal"
            }
            9 => {
                self.world.cut(one_host, other_host);
                "cut"
            }
            10 => {
                self.world.set_fd_limit(one_host, random.below(20) as usize);
                "few descriptors"
            }
            11 => {
                self.world.set_fd_limit(one_host, usize::MAX);
                self.world.files(one_host).set_capacity(random.below(2) * 5000 + 3000);
                "many descriptors, a small disk"
            }
            12 if random.below(8) == 0 => return self.end_or_begin(plan, one, random.below(2) == 0),
            _ if self.alive[one] => {
                self.world.with(one_host, op);
                return Ok(());
            }
            _ => return Ok(()),
        };
        plan.note(ordinal, what);
        Ok(())
    }

    /// Kills a program, or lets the power of its host fail; one that is gone starts again.
    fn end_or_begin(&mut self, plan: &Rc<Plan>, number: usize, kill: bool) -> Result<(), Wrong> {
        let host = self.hosts[number];
        if !self.alive[number] {
            self.world.set_fd_limit(host, usize::MAX);
            let app = App::new(plan.clone(), self.place.clone());
            self.world.restart(host, app, begin).map_err(|error| error.to_string())?;
            self.turns[number] = 0;
        } else {
            self.count(number);
            if kill { self.world.kill(host) } else { self.world.crash(host) }
        }
        self.alive[number] = !self.alive[number];
        Ok(())
    }

    /// Adds what a program has done to what was tried. Says how many turns and callbacks that were.
    fn count(&mut self, number: usize) -> (u64, u64) {
        let (metrics, bytes) =
            self.world.with(self.hosts[number], |lp, app| (lp.metrics(), app.contract.bytes()));
        self.tally.add_program(metrics.turns, metrics.callbacks, bytes);
        (metrics.turns, metrics.callbacks)
    }

    fn living(&self) -> Vec<usize> {
        (0..HOSTS).filter(|&number| self.alive[number]).collect()
    }

    fn step(&mut self) -> Result<bool, Wrong> {
        let world = &mut self.world;
        let more = turn(|| world.step())?;
        for number in self.living() {
            let before = &mut self.turns[number];
            self.world.with(self.hosts[number], |lp, app| {
                let turns = lp.metrics().turns;
                if std::mem::replace(before, turns) != turns {
                    app.contract.turn_is_over(lp.now(), more.is_some());
                }
            });
        }
        Ok(more.unwrap_or(true))
    }

    fn check(&self) -> Result<(), Wrong> {
        caught(|| self.world.verify())?;
        for number in self.living() {
            if let Some(wrong) = self.world.state(self.hosts[number]).contract.wrong.first() {
                return Err(wrong.clone());
            }
        }
        Ok(())
    }

    /// Lets what is on its way arrive: nobody begins anything, and nothing stands in the way.
    fn settle(&mut self) -> Result<(), Wrong> {
        for one in 0..HOSTS {
            self.world.resume(self.hosts[one]);
            self.world.set_fd_limit(self.hosts[one], usize::MAX);
            (0..HOSTS).for_each(|other| self.world.heal(self.hosts[one], self.hosts[other]));
        }
        for number in self.living() {
            self.world.with(self.hosts[number], |_, app| app.rest());
        }
        let handles = self.living().into_iter().map(|number| {
            let handles = self.world.with(self.hosts[number], |lp, _| lp.handles().len());
            handles as u64
        });
        self.tally.handles_most = handles.max().unwrap_or(0);
        let settled = self.world.now() + SETTLING;
        while self.world.now() < settled && self.step()? {
            self.check()?;
        }
        let mut connections: Vec<Settled> = Vec::new();
        for number in self.living() {
            self.world.with(self.hosts[number], |lp, app| {
                connections.extend(app.contract.connections(lp));
                app.contract.settled()
            })?;
        }
        // The system of one end may have given up when that end had nothing more to say or to hear: so it is not told.
        if self.world.faults().contains_key("timed out") { Ok(()) } else { all_arrived(&connections) }
    }

    /// Lets everything come to its end, and looks whether something is left.
    fn finish(&mut self) -> Result<(), Wrong> {
        self.settle()?;
        for number in self.living() {
            self.world.with(self.hosts[number], |lp, app| app.end(lp));
        }
        let mut turns = 0;
        while self.step()? {
            self.check()?;
            turns += 1;
            if turns > 100_000 {
                return Err("it does not come to an end".into());
            }
        }
        for number in self.living() {
            let host = self.hosts[number];
            let alive = self.world.is_alive(host);
            self.world.with(host, |lp, app| app.nothing_is_left(lp, alive))?;
            if self.world.sockets(host) > 0 {
                return Err(format!("{} sockets are left at the end", self.world.sockets(host)));
            }
            let (turns, callbacks) = self.count(number);
            let happened = self.world.timeline().len() as u64;
            if turns > 2 * happened + callbacks + 1000 {
                return Err(format!("{turns} turns for {callbacks} callbacks: it ran in circles"));
            }
        }
        Ok(())
    }
}

/// What was tried.
#[derive(Default)]
pub(crate) struct Tally {
    seeds: u64,
    acts: u64,
    turns: u64,
    callbacks: u64,
    bytes: u64,
    /// That a program had when it began to settle.
    handles_most: u64,
    simulated: Duration,
    faults: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add_program(&mut self, turns: u64, callbacks: u64, bytes: u64) {
        self.turns += turns;
        self.callbacks += callbacks;
        self.bytes += bytes;
    }

    fn add(&mut self, other: &Tally) {
        self.seeds += 1;
        self.acts += other.acts;
        self.add_program(other.turns, other.callbacks, other.bytes);
        self.handles_most = self.handles_most.max(other.handles_most);
        self.simulated += other.simulated;
        other.faults.iter().for_each(|(what, count)| *self.faults.entry(what).or_default() += count);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { seeds, acts, turns, callbacks, bytes, .. } = self;
        writeln!(out, "{seeds} seeds, {acts} acts, {turns} turns, {callbacks} callbacks")?;
        let hours = self.simulated.as_secs() / 3600;
        writeln!(
            out,
            "{bytes} bytes compared, {hours} simulated hours, up to {} handles",
            self.handles_most
        )?;
        self.faults.iter().try_for_each(|(what, count)| writeln!(out, "{count:>12} x {what}"))
    }
}

/// A run that broke the contract. The world, if it came to one, is there for its timeline.
pub(crate) struct Broken {
    pub(crate) wrong: Wrong,
    pub(crate) world: Option<World>,
}

/// Runs one plan.
pub(crate) fn run(plan: &Rc<Plan>) -> Result<(World, Tally), Box<Broken>> {
    quiet_panics();
    plan.rewind();
    let mut run = Run::new(plan).map_err(|wrong| Box::new(Broken { wrong, world: None }))?;
    let mut random = Random::new(plan.seed ^ 0xd157);
    let mut go = || -> Result<(), Wrong> {
        while run.world.now() < HORIZON && plan.count() < plan.acts() {
            if random.below(10) == 0 || !run.step()? {
                run.disturb(plan, &mut random)?;
            }
            run.check()?;
        }
        run.finish()
    };
    match go() {
        Ok(()) => {
            let acts = plan.carried_out().len() as u64;
            let tally = Tally { acts, simulated: run.world.now(), faults: run.world.faults(), ..run.tally };
            Ok((run.world, tally))
        }
        Err(wrong) => Err(Box::new(Broken { wrong, world: Some(run.world) })),
    }
}

/// Leaves out whatever it can so that the plan still fails in the same way.
fn shrink(plan: &Rc<Plan>, wrong: &str) -> Rc<Plan> {
    let key = |wrong: &str| wrong.split(|c: char| c.is_ascii_digit()).next().unwrap_or("").to_owned();
    let fails = |plan: &Rc<Plan>| run(plan).err().is_some_and(|broken| key(&broken.wrong) == key(wrong));
    let mut best = plan.clone();
    let acts = plan.acts() as usize;
    let mut size = acts;
    while size > 0 {
        for start in (0..acts).step_by(size) {
            let more =
                (start as u32..(start + size) as u32).filter(|ordinal| !best.skipped.contains(ordinal));
            let skipped: BTreeSet<u32> = best.skipped.iter().copied().chain(more).collect();
            if skipped.len() > best.skipped.len() {
                let shorter = Rc::new(Plan::new(best.seed, skipped));
                if fails(&shorter) {
                    best = shorter;
                }
            }
        }
        size /= 2;
    }
    best
}

fn check(seed: u64) -> Tally {
    let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
    let wrong = match run(&plan) {
        Ok((_, tally)) => return tally,
        Err(broken) => broken.wrong,
    };
    let short = shrink(&plan, &wrong);
    let world = run(&short).err().and_then(|broken| broken.world);
    let timeline = world.map(|world| world.timeline().last(60).to_string()).unwrap_or_default();
    panic!(
        "seed {seed} breaks the contract: {wrong}\n\n{} acts are enough:\n{}\n{timeline}\nreplay it with: \
         SEED={seed} cargo test --features sim --test sim model",
        short.carried_out().len(),
        short.carried_out().join("\n"),
    );
}

pub(crate) fn seeds(fallback: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(fallback),
    }
}

/// The same where a seed takes real time: not beyond a thousand.
pub(crate) fn seeds_on_the_system(fallback: u64) -> impl Iterator<Item = u64> {
    seeds(fallback).take(1000)
}

#[test]
fn random_programs_keep_the_contract() {
    let mut tally = Tally::default();
    seeds(300).for_each(|seed| tally.add(&check(seed)));
    // Past whoever catches what tests print: what was tried is worth knowing.
    let _ = write!(std::io::stderr(), "{tally}");
}

#[test]
fn random_programs_replay_exactly() {
    for seed in 0..20 {
        let hash = || {
            let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
            match run(&plan) {
                Ok((world, _)) => world.trace_hash(),
                Err(broken) => broken.world.map_or(0, |world| world.trace_hash()),
            }
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

/// Of how many acts of each sort the programs consist: a generator that never does something tests nothing of it.
#[test]
fn random_programs_do_everything() {
    let mut counts = BTreeMap::<&'static str, u32>::new();
    for seed in 0..100 {
        let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
        let _ = run(&plan);
        for (what, count) in plan.tally() {
            *counts.entry(what).or_default() += count;
        }
    }
    let rare: Vec<_> = crate::program::ACTS_KNOWN.iter().filter(|what| !counts.contains_key(*what)).collect();
    assert!(rare.is_empty(), "never done: {rare:?}; done: {counts:?}");
}
