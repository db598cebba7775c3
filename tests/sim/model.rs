//! Random programs against the contract, in a world that misbehaves: hundreds of handles that start, stop,
//! close, write, defer, connect, cancel, fail and panic, inside callbacks and outside.
//!
//! `SEEDS=1000000 cargo test --release --features sim --test sim model` runs that many seeds, `SEED=7 …`
//! replays one. A seed that fails is shrunk first: ops are left out as long as it still fails.

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
    Options, signal,
    sim::{Host, Link, World},
};

use crate::{
    contract::{Settled, all_arrived},
    program::{App, KNOWN_OPS, ON_PURPOSE, Plan, Random, Server, Site, op, start},
};

const HOSTS: usize = 3;
const HORIZON: Duration = Duration::from_secs(30);
/// How long programs have at the end to receive what is on its way.
const SETTLING: Duration = Duration::from_secs(60);

/// What a run was found to do wrong.
pub(crate) type Violation = String;

/// Keeps intended panics from being printed.
pub(crate) fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&ON_PURPOSE) {
                print(info);
            }
        }));
    });
}

/// Calls `op`. Returns None if it panics on purpose.
pub(crate) fn caught<T>(op: impl FnOnce() -> T) -> Result<Option<T>, Violation> {
    match panic::catch_unwind(AssertUnwindSafe(op)) {
        Ok(done) => Ok(Some(done)),
        Err(payload) => message(&*payload).map_or(Ok(None), Err),
    }
}

/// Runs a turn. Returns None if an intended panic interrupted it.
fn turn<T>(turn: impl FnOnce() -> ringback::Result<T>) -> Result<Option<T>, Violation> {
    let failed = |error| format!("a failure that on_failure did not take: {error}");
    caught(turn)?.transpose().map_err(failed)
}

/// Returns the message of a panic, unless it was intended.
fn message(payload: &(dyn Any + Send)) -> Option<Violation> {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(&text), _) if text == ON_PURPOSE => None,
        (Some(text), _) => Some((*text).to_owned()),
        (_, Some(text)) => Some(text.clone()),
        _ => Some("a panic".to_owned()),
    }
}

fn site() -> Site {
    let server = |last| Server { addr: ([10, 0, 0, last], 7).into(), owner: None };
    Site {
        listen: "0.0.0.0:7",
        servers: Rc::new(RefCell::new((1..=HOSTS as u8).map(server).collect())),
        refusing: ([10, 0, 0, 99], 7).into(),
        dir: "/".into(),
        speedup: 1,
        wire: Rc::default(),
        everyones: Rc::default(),
        system: None,
    }
}

/// Draws the link between the hosts: mostly a bad one.
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

/// A world and its programs.
struct Run {
    world: World,
    site: Site,
    hosts: Vec<Host<App>>,
    alive: Vec<bool>,
    turns: Vec<u64>,
    tally: Tally,
}

impl Run {
    fn new(plan: &Rc<Plan>) -> Result<Run, Violation> {
        let mut world = World::new(plan.seed);
        let mut random = Random::new(plan.seed ^ 0x5eed);
        world.set_link(link(&mut random));
        world.set_spurious_one_in(random.below(6) as u32);
        world.set_job_time(Duration::from_micros(1), Duration::from_millis(20));
        let read_buffer = [64 << 10, 1000, 50][random.below(3) as usize];
        world.set_options(Options::new().read_buffer(read_buffer));
        let mut run = Run {
            world,
            site: site(),
            hosts: Vec::new(),
            alive: vec![true; HOSTS],
            turns: vec![0; HOSTS],
            tally: Tally::default(),
        };
        for number in 0..HOSTS {
            let app = App::new(number, plan.clone(), run.site.clone());
            let host =
                run.world.host(["a", "b", "c"][number], app, start).map_err(|error| error.to_string())?;
            run.world.files(host).put("/data", vec![7; 3000]);
            run.world.files(host).fail_one_in(random.below(20) as u32);
            run.hosts.push(host);
        }
        Ok(run)
    }

    /// Does something to the world itself, or an op of a program between two turns.
    fn disturb(&mut self, plan: &Rc<Plan>, random: &mut Random) -> Result<(), Violation> {
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
                "pause"
            }
            6..=7 => {
                self.world.resume(one_host);
                "resume host"
            }
            8 => {
                let signum = random.pick(&[signal::USR1, signal::USR2]).expect("there are two");
                self.world.signal(one_host, signum);
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
            12 if random.one_in(8) => return self.kill_or_restart(plan, one, random.one_in(2)),
            _ if self.alive[one] => {
                self.world.with(one_host, op);
                return Ok(());
            }
            _ => return Ok(()),
        };
        plan.record(ordinal, what);
        Ok(())
    }

    /// Kills a program or crashes its host; restarts one that is gone.
    fn kill_or_restart(&mut self, plan: &Rc<Plan>, number: usize, kill: bool) -> Result<(), Violation> {
        let host = self.hosts[number];
        if !self.alive[number] {
            self.world.set_fd_limit(host, usize::MAX);
            let app = App::new(number, plan.clone(), self.site.clone());
            self.world.restart(host, app, start).map_err(|error| error.to_string())?;
            self.turns[number] = 0;
        } else {
            self.count(number);
            self.world.with(host, |_, app| app.abandon());
            if kill { self.world.kill(host) } else { self.world.crash(host) }
        }
        self.alive[number] = !self.alive[number];
        Ok(())
    }

    /// Adds what a program has done to the tally. Returns its turns and callbacks.
    fn count(&mut self, number: usize) -> (u64, u64) {
        let (metrics, bytes) =
            self.world.with(self.hosts[number], |lp, app| (lp.metrics(), app.contract.bytes()));
        self.tally.add_program(metrics.turns, metrics.callbacks, bytes);
        (metrics.turns, metrics.callbacks)
    }

    fn living(&self) -> Vec<usize> {
        (0..HOSTS).filter(|&number| self.alive[number]).collect()
    }

    fn step(&mut self) -> Result<bool, Violation> {
        let world = &mut self.world;
        let more = turn(|| world.step())?;
        for number in self.living() {
            let before = &mut self.turns[number];
            self.world.with(self.hosts[number], |lp, app| {
                let turns = lp.metrics().turns;
                if std::mem::replace(before, turns) != turns {
                    app.turn_over(lp, more.is_some());
                }
            });
        }
        Ok(more.unwrap_or(true))
    }

    fn check(&self) -> Result<(), Violation> {
        caught(|| self.world.verify())?;
        for number in self.living() {
            if let Some(violation) = self.world.state(self.hosts[number]).contract.violations.first() {
                return Err(violation.clone());
            }
        }
        Ok(())
    }

    /// Heals the world and lets what is on its way arrive. Programs do nothing new.
    fn settle(&mut self) -> Result<(), Violation> {
        for one in 0..HOSTS {
            self.world.resume(self.hosts[one]);
            self.world.set_fd_limit(self.hosts[one], usize::MAX);
            (0..HOSTS).for_each(|other| self.world.heal(self.hosts[one], self.hosts[other]));
        }
        for number in self.living() {
            self.world.with(self.hosts[number], |lp, app| app.rest(lp));
        }
        let handles = self.living().into_iter().map(|number| {
            let handles = self.world.with(self.hosts[number], |lp, _| lp.handles().len());
            handles as u64
        });
        self.tally.handles_max = handles.max().unwrap_or(0);
        let end = self.world.now() + SETTLING;
        while self.world.now() < end && self.step()? {
            self.check()?;
        }
        let mut connections: Vec<Settled> = Vec::new();
        for number in self.living() {
            self.world.with(self.hosts[number], |lp, app| {
                connections.extend(app.contract.connections(lp));
                app.contract.settled()
            })?;
        }
        // One end may have timed out when it had nothing more to send or to receive: then it does not know.
        if self.world.faults().contains_key("timed out") { Ok(()) } else { all_arrived(&connections) }
    }

    /// Closes everything, and checks that nothing is left.
    fn finish(&mut self) -> Result<(), Violation> {
        self.settle()?;
        for number in self.living() {
            self.world.with(self.hosts[number], |lp, app| app.end(lp));
        }
        let mut turns = 0;
        while self.step()? {
            self.check()?;
            turns += 1;
            if turns > 100_000 {
                return Err("the programs do not end".into());
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
                return Err(format!("{turns} turns for {callbacks} callbacks: a loop is spinning"));
            }
        }
        Ok(())
    }
}

/// What was done in all runs.
#[derive(Default)]
pub(crate) struct Tally {
    seeds: u64,
    ops: u64,
    turns: u64,
    callbacks: u64,
    bytes: u64,
    /// The most handles that a program had when it began to settle.
    handles_max: u64,
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
        self.ops += other.ops;
        self.add_program(other.turns, other.callbacks, other.bytes);
        self.handles_max = self.handles_max.max(other.handles_max);
        self.simulated += other.simulated;
        other.faults.iter().for_each(|(what, count)| *self.faults.entry(what).or_default() += count);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { seeds, ops, turns, callbacks, bytes, .. } = self;
        writeln!(out, "{seeds} seeds, {ops} ops, {turns} turns, {callbacks} callbacks")?;
        let hours = self.simulated.as_secs() / 3600;
        writeln!(out, "{bytes} bytes compared, {hours} simulated hours, up to {} handles", self.handles_max)?;
        self.faults.iter().try_for_each(|(what, count)| writeln!(out, "{count:>12} x {what}"))
    }
}

/// A run that broke the contract, and its world if one was made.
pub(crate) struct Breach {
    pub(crate) violation: Violation,
    pub(crate) world: Option<World>,
}

/// Runs one plan.
pub(crate) fn run(plan: &Rc<Plan>) -> Result<(World, Tally), Box<Breach>> {
    quiet_panics();
    plan.rewind();
    let mut run = Run::new(plan).map_err(|violation| Box::new(Breach { violation, world: None }))?;
    let mut random = Random::new(plan.seed ^ 0xd157);
    let mut go = || -> Result<(), Violation> {
        while run.world.now() < HORIZON && plan.count() < plan.ops_max() {
            if random.one_in(10) || !run.step()? {
                run.disturb(plan, &mut random)?;
            }
            run.check()?;
        }
        run.finish()
    };
    match go() {
        Ok(()) => {
            let ops = plan.carried_out().len() as u64;
            let tally = Tally { ops, simulated: run.world.now(), faults: run.world.faults(), ..run.tally };
            Ok((run.world, tally))
        }
        Err(violation) => Err(Box::new(Breach { violation, world: Some(run.world) })),
    }
}

/// Leaves out as many ops as it can while the plan still fails in the same way: delta debugging (Zeller,
/// 2002).
fn shrink(plan: &Rc<Plan>, violation: &str) -> Rc<Plan> {
    let key = |violation: &str| violation.split(|c: char| c.is_ascii_digit()).next().unwrap_or("").to_owned();
    let fails =
        |plan: &Rc<Plan>| run(plan).err().is_some_and(|breach| key(&breach.violation) == key(violation));
    let mut best = plan.clone();
    let ops = plan.ops_max() as usize;
    let mut size = ops;
    while size > 0 {
        for start in (0..ops).step_by(size) {
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
    let violation = match run(&plan) {
        Ok((_, tally)) => return tally,
        Err(breach) => breach.violation,
    };
    let short = shrink(&plan, &violation);
    let world = run(&short).err().and_then(|breach| breach.world);
    let timeline = world.map(|world| world.timeline().last(60).to_string()).unwrap_or_default();
    panic!(
        "seed {seed} breaks the contract: {violation}\n\n{} ops are enough:\n{}\n{timeline}\nreplay it with: \
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

/// Returns the seeds to run on the system, where each takes real time: at most a thousand.
pub(crate) fn seeds_on_the_system(fallback: u64) -> impl Iterator<Item = u64> {
    seeds(fallback).take(1000)
}

#[test]
fn random_programs_keep_the_contract() {
    let mut tally = Tally::default();
    seeds(300).for_each(|seed| tally.add(&check(seed)));
    // Not `eprint`, which the test harness captures: the tally is worth seeing.
    let _ = write!(std::io::stderr(), "{tally}");
}

#[test]
fn random_programs_replay_exactly() {
    for seed in 0..20 {
        let hash = || {
            let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
            match run(&plan) {
                Ok((world, _)) => world.trace_hash(),
                Err(breach) => breach.world.map_or(0, |world| world.trace_hash()),
            }
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}

/// A generator that never does something tests nothing of it.
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
    let missing: Vec<_> = KNOWN_OPS.iter().filter(|what| !counts.contains_key(*what)).collect();
    assert!(missing.is_empty(), "never done: {missing:?}; done: {counts:?}");
}
