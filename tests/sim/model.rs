//! Random programs against the contract: hundreds of handles that start, stop, close, write, defer, connect, cancel, fail
//! and panic, inside callbacks and outside, in a world that misbehaves.
//!
//! `SEEDS=1000000 cargo test --release --features sim --test sim model` runs as many, `SEED=7 …` replays one. A seed that
//! fails is made short first: which of its acts can be left out, so that it still fails?

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    env,
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    sync::Once,
    time::Duration,
};

use ringback::sim::{Host, Link, World};

use crate::program::{App, ON_PURPOSE, Plan, Random, act, begin};

const HOSTS: usize = 3;
/// How many acts all programs of a world carry out together.
const ACTS: u32 = 400;
const HORIZON: Duration = Duration::from_secs(30);
/// How long they have at the end to hear of what is on its way.
const SETTLING: Duration = Duration::from_secs(1);

/// What a run was found to do wrong.
type Wrong = String;

/// The panics that programs make on purpose are not worth a line each.
fn quiet_panics() {
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

fn said(payload: &(dyn Any + Send)) -> Option<Wrong> {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(&text), _) if text == ON_PURPOSE => None,
        (Some(text), _) => Some((*text).to_owned()),
        (_, Some(text)) => Some(text.clone()),
        _ => Some("a panic".to_owned()),
    }
}

/// One world with its programs, under way.
struct Run {
    world: World,
    hosts: Vec<Host<App>>,
    alive: Vec<bool>,
}

impl Run {
    fn new(plan: &Rc<Plan>) -> Result<Run, Wrong> {
        let mut world = World::new(plan.seed);
        let mut random = Random::new(plan.seed ^ 0x5eed);
        let mut link = Link::choppy();
        if random.below(2) == 0 {
            link = link.reset_one_in(50 + random.below(500) as u32).refuse_one_in(20);
        }
        world.set_link(link.give_up_after(Duration::from_secs(20)));
        world.set_spurious_one_in(random.below(6) as u32);
        world.set_jobs(Duration::from_micros(1), Duration::from_millis(20));
        let mut run = Run { world, hosts: Vec::new(), alive: vec![true; HOSTS] };
        for number in 0..HOSTS {
            let app = App::new(plan.clone(), HOSTS);
            let host =
                run.world.host(["a", "b", "c"][number], app, begin).map_err(|error| error.to_string())?;
            run.world.files(host).put("/data", vec![7; 3000]);
            run.world.files(host).fail_one_in(random.below(20) as u32);
            run.hosts.push(host);
        }
        Ok(run)
    }

    /// What may be done to the world itself, now and then.
    fn disturb(&mut self, plan: &Plan, random: &mut Random) {
        let ordinal = plan.next();
        if !plan.allows(ordinal) {
            return;
        }
        let (one, other) = (random.below(HOSTS as u64) as usize, random.below(HOSTS as u64) as usize);
        let (one_host, other_host) = (self.hosts[one], self.hosts[other]);
        match random.below(12) {
            0 => self.world.partition(one_host, other_host),
            1..=3 => self.world.heal(one_host, other_host),
            4 => self.world.reset(one_host, other_host),
            5 => self.world.stop(one_host),
            6..=7 => self.world.go_on(one_host),
            8 => drop(self.world.signal(one_host, ringback::signal::USR1)),
            9 if random.below(8) == 0 && self.alive[one] => {
                self.world.kill(one_host);
                self.alive[one] = false;
            }
            _ if self.alive[one] => self.world.with(one_host, act),
            _ => {}
        }
    }

    fn step(&mut self) -> Result<bool, Wrong> {
        let world = &mut self.world;
        match panic::catch_unwind(AssertUnwindSafe(|| world.step())) {
            Ok(Ok(more)) => Ok(more),
            Ok(Err(error)) => Err(format!("a failure that on_failure did not take: {error}")),
            Err(payload) => said(&*payload).map_or(Ok(true), Err),
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        let verified = panic::catch_unwind(AssertUnwindSafe(|| self.world.verify()));
        verified.map_err(|payload| said(&*payload).unwrap_or_default())?;
        for (&host, _) in self.hosts.iter().zip(&self.alive).filter(|(_, alive)| **alive) {
            if let Some(wrong) = self.world.state(host).contract.wrong.first() {
                return Err(wrong.clone());
            }
        }
        Ok(())
    }

    /// Lets everything come to its end, and looks whether something is left.
    fn finish(&mut self) -> Result<(), Wrong> {
        for one in 0..HOSTS {
            self.world.go_on(self.hosts[one]);
            (0..HOSTS).for_each(|other| self.world.heal(self.hosts[one], self.hosts[other]));
        }
        let alive: Vec<usize> = (0..HOSTS).filter(|&number| self.alive[number]).collect();
        for &number in &alive {
            self.world.with(self.hosts[number], |_, app| app.rest());
        }
        let settled = self.world.now() + SETTLING;
        while self.world.now() < settled && self.step()? {
            self.check()?;
        }
        for &number in &alive {
            self.world.with(self.hosts[number], |_, app| app.contract.settled());
        }
        self.check()?;
        for number in alive {
            self.world.with(self.hosts[number], |lp, app| {
                app.end();
                for entry in lp.handles() {
                    if let Some(handle) = entry.handle {
                        app.contract.closes(lp, handle);
                        app.contract.takes_back(handle);
                        lp.close(handle);
                    }
                }
            });
        }
        let mut turns = 0;
        while self.step()? {
            self.check()?;
            turns += 1;
            if turns > 100_000 {
                return Err("it does not come to an end".into());
            }
        }
        for number in (0..HOSTS).filter(|&number| self.alive[number]) {
            let host = self.hosts[number];
            let alive = self.world.is_alive(host);
            let left = self.world.with(host, |lp, app| {
                let asked: Vec<_> = app.contract.asked.values().copied().collect();
                (lp.handles().iter().map(ToString::to_string).collect::<Vec<_>>(), asked)
            });
            if alive || left != (vec![], vec![]) {
                return Err(format!(
                    "left at the end, alive {alive}: handles {:?}, answers to {:?}",
                    left.0, left.1
                ));
            }
            if self.world.sockets(host) > 0 {
                return Err(format!("{} sockets are left at the end", self.world.sockets(host)));
            }
            let (turns, callbacks) =
                self.world.with(host, |lp, _| (lp.metrics().turns, lp.metrics().callbacks));
            let happened = self.world.timeline().len() as u64;
            if turns > 2 * happened + callbacks + 1000 {
                return Err(format!("{turns} turns for {callbacks} callbacks: it ran in circles"));
            }
        }
        Ok(())
    }
}

/// Runs one plan. The world is given back for its timeline, with what was wrong.
fn run(plan: &Rc<Plan>) -> Result<World, (Option<World>, Wrong)> {
    quiet_panics();
    plan.rewind();
    let mut run = Run::new(plan).map_err(|wrong| (None, wrong))?;
    let mut random = Random::new(plan.seed ^ 0xd157);
    let mut go = || -> Result<(), Wrong> {
        while run.world.now() < HORIZON && plan.count() < ACTS {
            if random.below(10) == 0 {
                run.disturb(plan, &mut random);
                run.check()?;
            }
            if !run.step()? {
                run.disturb(plan, &mut random);
            }
            run.check()?;
        }
        run.finish()
    };
    match go() {
        Ok(()) => Ok(run.world),
        Err(wrong) => Err((Some(run.world), wrong)),
    }
}

/// Leaves out whatever it can so that the plan still fails in the same way.
fn shrink(plan: &Rc<Plan>, wrong: &str) -> Rc<Plan> {
    let key = |wrong: &str| wrong.split(|c: char| c.is_ascii_digit()).next().unwrap_or("").to_owned();
    let fails = |plan: &Rc<Plan>| run(plan).err().is_some_and(|(_, other)| key(&other) == key(wrong));
    let mut best = plan.clone();
    let mut size = ACTS as usize;
    while size > 0 {
        for start in (0..ACTS as usize).step_by(size) {
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

fn check(seed: u64) {
    let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
    let Err((_, wrong)) = run(&plan) else { return };
    let short = shrink(&plan, &wrong);
    let timeline = match run(&short) {
        Err((Some(world), _)) => world.timeline().last(60).to_string(),
        _ => String::new(),
    };
    panic!(
        "seed {seed} breaks the contract: {wrong}\n\n{} acts are enough:\n{}\n{timeline}\nreplay it with: \
         SEED={seed} cargo test --features sim --test sim model",
        short.carried_out().len(),
        short.carried_out().join("\n"),
    );
}

fn seeds(fallback: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(fallback),
    }
}

#[test]
fn random_programs_keep_the_contract() {
    seeds(300).for_each(check);
}

#[test]
fn random_programs_replay_exactly() {
    for seed in 0..20 {
        let hash = || {
            let plan = Rc::new(Plan::new(seed, BTreeSet::new()));
            match run(&plan) {
                Ok(world) => world.hash(),
                Err((world, _)) => world.map_or(0, |world| world.hash()),
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
