//! The world that a test makes and runs: its clock, its seed, and what happened in it.

use std::{cell::RefCell, collections::BTreeMap, fmt, panic::Location, rc::Rc, time::Duration};

use super::{
    host::{AnyHost, Slot},
    timeline::Timeline,
};
use crate::{
    Loop, Options,
    backend::{self, sim},
    error::{Error, Result},
    time::{Nanos, nanos},
};

/// Something that the test scheduled.
type Action = Box<dyn FnOnce(&mut World) -> Result>;

/// A world in memory: hosts with programs, a network between them, and one clock.
///
/// It can be moved, but not sent to another thread. Loops that were made in it keep it alive. The [module's
/// page](super) is the guide.
///
/// ```
/// use std::time::Duration;
/// use ringback::{Loop, Result, net::{Event, TcpListener, TcpStream}, sim::World};
///
/// fn serve(lp: &mut Loop<u32>) -> Result {
///     TcpListener::bind(lp, "0.0.0.0:7")?.start(lp, |lp, _, conn| {
///         conn.start(lp, move |lp, received: &mut u32, event| match event? {
///             Event::Data(bytes) => {
///                 *received += 1;
///                 conn.write(lp, &*bytes)
///             }
///             Event::End => { conn.close(lp); Ok(()) }
///             _ => Ok(()),
///         })
///     })
/// }
///
/// let mut world = World::new(1);
/// let server = world.host("server", 0, |lp, _| serve(lp))?;
/// let echo = (world.addr(server), 7);
/// let client = world.host("client", String::new(), move |lp, _| {
///     TcpStream::connect(lp, echo, |lp, _, conn| {
///         let conn = conn?;
///         conn.write(lp, "hello")?;
///         conn.start(lp, move |lp, received: &mut String, event| {
///             if let Event::Data(bytes) = event? {
///                 received.push_str(std::str::from_utf8(bytes)?);
///                 if received.len() == 5 { conn.close(lp) }
///             }
///             Ok(())
///         })
///     })?;
///     Ok(())
/// })?;
/// world.run_until(Duration::from_secs(1), |world| world.state(client) == "hello")?;
/// assert_eq!(*world.state(server), 1);
/// # Ok::<(), ringback::Error>(())
/// ```
pub struct World {
    pub(super) shared: sim::Shared,
    seed: u64,
    options: Options,
    /// What each host runs, by the host's number.
    pub(super) slots: Vec<Slot>,
    /// The host whose program failed last.
    pub(super) last_failed: Option<usize>,
    /// By time; equal times in the order of scheduling.
    scheduled: BTreeMap<(Nanos, u64), Action>,
    actions_scheduled: u64,
}

impl World {
    /// Creates a world with no hosts, at time zero.
    pub fn new(seed: u64) -> World {
        World {
            shared: Rc::new(RefCell::new(sim::World::new(seed))),
            seed,
            options: Options::new(),
            slots: Vec::new(),
            last_failed: None,
            scheduled: BTreeMap::new(),
            actions_scheduled: 0,
        }
    }

    /// Returns the seed that the world was made with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the time since the world was made, by its own clock.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.borrow().now)
    }

    /// Draws a number below `limit` from the seed, for what a test does at random.
    pub fn random(&mut self, limit: u64) -> u64 {
        self.shared.borrow_mut().random.below(limit)
    }

    /// Sets the options of loops made from now on. `busy_poll` has no effect in a world.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Creates a loop on a host of its own, for a program that calls [`Loop::run`] itself.
    ///
    /// The world's clock advances while this loop waits. The programs of other hosts do not run meanwhile. A
    /// wait that nothing can ever end returns an error.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no descriptors left.
    pub fn new_loop<S>(&mut self, name: &str) -> Result<Loop<S>> {
        let number = self.add_machine(name, None);
        self.make_loop(number)
    }

    /// Creates a loop beside another, as a second process on its machine: it reaches the same Unix sockets.
    /// What else a machine has, such as files and addresses, the two do not share.
    ///
    /// For tests of Unix sockets themselves, whose peer is a loop of its own.
    #[doc(hidden)]
    pub fn new_loop_beside<S, T>(&mut self, name: &str, beside: &mut Loop<T>) -> Result<Loop<S>> {
        let backend::Backend::World(host) = beside.core.backend() else {
            return Err(Error::invalid("make a loop", "the other loop is not in a world"));
        };
        let home = host.number();
        let number = self.add_machine(name, None);
        self.shared.borrow_mut().machines[number].home = home;
        self.make_loop(number)
    }

    pub(super) fn make_loop<S>(&self, number: usize) -> Result<Loop<S>> {
        let options = self.options;
        let backend = sim::Host::new(&self.shared, number, options.workers);
        let backend = backend.map_err(|error| Error::system("make a loop", error))?;
        Ok(options.build_on(backend::Backend::World(backend)))
    }

    // ---- running

    /// Runs one turn of one host. Returns false if nothing will ever happen again.
    ///
    /// If no host has anything to do, the clock first advances to the next time at which one has.
    ///
    /// # Errors
    ///
    /// The error that ended the turn: the first [`Failure`](crate::Failure) of a program that has no
    /// `on_failure`. That program has ended, like one whose `main` returns what [`Loop::run`] returned. Also
    /// the error of an action given to [`schedule`](Self::schedule).
    pub fn step(&mut self) -> Result<bool> {
        self.step_until(Nanos::MAX)
    }

    /// Runs one turn as [`step`](Self::step) does, but does not advance the clock beyond `limit`.
    fn step_until(&mut self, limit: Nanos) -> Result<bool> {
        loop {
            let now = self.shared.borrow().now;
            if let Some(entry) = self.scheduled.first_entry().filter(|entry| entry.key().0 <= now) {
                entry.remove()(self)?;
                continue;
            }
            self.shared.borrow_mut().advance_to(now);
            let ready: Vec<usize> = (0..self.slots.len()).filter(|&number| self.is_ready(number)).collect();
            if !ready.is_empty() {
                let chosen = self.shared.borrow_mut().random.below(ready.len() as u64);
                return self.run_turn_of(ready[chosen as usize]).map(|()| true);
            }
            let next = self.next_event().filter(|&next| next <= limit);
            let Some(next) = next else { return Ok(false) };
            self.shared.borrow_mut().advance_to(next);
        }
    }

    /// Returns the time of the next event, scheduled action, or deadline of a loop.
    fn next_event(&mut self) -> Option<Nanos> {
        let now = self.shared.borrow().now;
        let event = self.shared.borrow().next_event();
        let action = self.scheduled.first_key_value().map(|(&(at, _), _)| at);
        let running = self.slots.iter_mut().filter(|slot| !slot.paused);
        let programs = running.filter_map(|slot| slot.program.as_mut()).filter(|program| program.is_alive());
        let deadline = programs.filter_map(|program| program.timeout()).map(|after| now + nanos(after)).min();
        [event, action, deadline].into_iter().flatten().min()
    }

    fn is_ready(&mut self, number: usize) -> bool {
        let Slot { program: Some(program), paused: false } = &mut self.slots[number] else { return false };
        program.is_alive()
            && (program.timeout() == Some(Duration::ZERO) || self.shared.borrow().is_ready(number))
    }

    fn run_turn_of(&mut self, number: usize) -> Result {
        let Some(program) = &mut self.slots[number].program else { return Ok(()) };
        let turn = program.turn();
        if turn.is_err() {
            self.last_failed = Some(number);
        }
        turn
    }

    /// Runs until every program has ended, or waits for something that will never happen.
    ///
    /// With a repeating timer, or a client that always reconnects, this does not return: use
    /// [`run_for`](Self::run_for) or [`run_until`](Self::run_until).
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn run(&mut self) -> Result {
        while self.step()? {}
        Ok(())
    }

    /// Runs for `duration` by the world's clock.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn run_for(&mut self, duration: Duration) -> Result {
        let end = self.shared.borrow().now.saturating_add(nanos(duration));
        while self.shared.borrow().now < end && self.step_until(end)? {}
        self.shared.borrow_mut().advance_to(end);
        Ok(())
    }

    /// Runs until `condition` returns true. It is called before the first step and after each one.
    ///
    /// # Errors
    ///
    /// [`Error::Other`] with the caller's file and line if the condition is not met within `limit` by the
    /// world's clock; otherwise as [`step`](Self::step).
    #[track_caller]
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&mut World) -> bool) -> Result {
        let caller = Location::caller();
        let end = self.shared.borrow().now.saturating_add(nanos(limit));
        while !condition(self) {
            if self.shared.borrow().now >= end || !self.step_until(end)? {
                if condition(self) {
                    break;
                }
                return Err(Error::other(format!(
                    "run_until at {caller}: condition not met within {limit:?}"
                )));
            }
        }
        Ok(())
    }

    /// Schedules `action` for the time `at` of the world's clock.
    ///
    /// It runs between two turns, before anything else that happens at that time. If the time has passed, it
    /// runs at the next step.
    pub fn schedule(&mut self, at: Duration, action: impl FnOnce(&mut World) -> Result + 'static) {
        self.actions_scheduled += 1;
        self.scheduled.insert((nanos(at), self.actions_scheduled), Box::new(action));
    }

    /// Panics unless the invariants of every loop, and of the world, hold.
    pub fn verify(&self) {
        for program in self.slots.iter().filter_map(|slot| slot.program.as_ref()) {
            program.verify();
        }
    }

    // ---- what a system leaves unspecified

    /// Sets how long a turn takes at most: 20 µs unless set.
    pub fn set_turn_time(&mut self, max: Duration) {
        self.shared.borrow_mut().turn_max = nanos(max).max(2);
    }

    /// Sets how long jobs take, which are file operations and closures on workers: 20 to 200 µs unless set.
    pub fn set_job_time(&mut self, min: Duration, max: Duration) {
        let timing = &mut self.shared.borrow_mut().job_timing;
        (timing.min, timing.max) = (nanos(min), nanos(max));
    }

    /// Sets how many file operations complete at once, as if the data were in the page cache: one in `times`,
    /// 4 unless set. Zero means none.
    pub fn set_cached_one_in(&mut self, times: u32) {
        self.shared.borrow_mut().job_timing.cached_one_in = times;
    }

    /// Sets how often a wait reports spurious readiness, as systems sometimes do: one check in `times`. Zero,
    /// the default, means never.
    pub fn set_spurious_one_in(&mut self, times: u32) {
        self.shared.borrow_mut().spurious_one_in = times;
    }

    // ---- what happened

    /// Returns a hash of everything that happened. The same seed and program give the same hash on every
    /// machine.
    pub fn trace_hash(&self) -> u64 {
        self.shared.borrow().trace.hash()
    }

    /// Returns how often each fault has occurred so far, by chance or on request.
    ///
    /// A test that asks for faults can assert that it got some. The keys are:
    ///
    /// * network: "short read", "short write", "split segment", "reset" (once per connection), "refused",
    ///   "cut" (once per direction), "timed out", "spurious readiness"
    /// * files: "file operation", "disk full"
    /// * hosts: "kill", "crash", "pause", "no descriptor"
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.shared.borrow().random.faults().clone()
    }

    /// Returns what happened, for people to read: the last 200,000 entries.
    pub fn timeline(&self) -> Timeline {
        let shared = self.shared.borrow();
        let entries: Vec<_> = shared.trace.entries().copied().collect();
        Timeline {
            names: shared.machines.iter().map(|machine| machine.name.clone()).collect(),
            omitted: shared.trace.count() - entries.len() as u64,
            entries,
        }
    }

    pub(super) fn name_of(&self, host: impl Into<AnyHost>) -> String {
        self.shared.borrow().machines[host.into().0].name.clone()
    }
}

impl fmt::Debug for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("World")
            .field("seed", &self.seed)
            .field("now", &self.now())
            .field("hosts", &self.slots.len())
            .finish_non_exhaustive()
    }
}
