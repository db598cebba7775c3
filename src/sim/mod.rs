//! A world in memory: the same programs, unchanged, where time jumps, the network misbehaves on purpose, and a seed
//! replays everything. With the feature `sim`.
//!
//! ```
//! use std::time::Duration;
//! use ringback::{Loop, Result, net::{Event, TcpListener, TcpStream}, sim::World};
//!
//! fn serve(lp: &mut Loop<u32>) -> Result {
//!     TcpListener::bind(lp, "0.0.0.0:7")?.start(lp, |lp, _, conn| {
//!         conn.start(lp, move |lp, seen: &mut u32, event| match event? {
//!             Event::Data(bytes) => {
//!                 *seen += 1;
//!                 conn.write(lp, &*bytes)
//!             }
//!             Event::End => { conn.close(lp); Ok(()) }
//!             _ => Ok(()),
//!         })
//!     })
//! }
//!
//! let mut world = World::new(1);
//! let server = world.host("server", 0, |lp, _| serve(lp))?;
//! let echo = (world.addr(server), 7);
//! let client = world.host("client", String::new(), move |lp, _| {
//!     TcpStream::connect(lp, echo, |lp, _, conn| {
//!         let conn = conn?;
//!         conn.write(lp, "hello")?;
//!         conn.start(lp, move |lp, heard: &mut String, event| {
//!             if let Event::Data(bytes) = event? {
//!                 heard.push_str(std::str::from_utf8(bytes)?);
//!                 if heard.len() == 5 { conn.close(lp) }
//!             }
//!             Ok(())
//!         })
//!     })?;
//!     Ok(())
//! })?;
//! world.run_until(Duration::from_secs(1), |world| world.state(client) == "hello")?;
//! assert_eq!(*world.state(server), 1);
//! # Ok::<(), ringback::Error>(())
//! ```
//!
//! # Time
//!
//! A turn takes a few microseconds, drawn from the seed; a callback takes none. When no host has anything to do, time
//! jumps to the next event. A week of idle time-outs takes milliseconds.
//!
//! # Chance
//!
//! Whatever a system leaves open is drawn from the seed: which host's turn it is, in which order what is ready is told,
//! how long segments and jobs take, which of them go wrong. The same seed and the same program give the same trace, on
//! every machine and in every build: [`World::trace_hash`] compares them, [`World::timeline`] shows it. What a program does by
//! itself that is not so (the time of day, threads of its own, the order of a hash map) is out of the world's hands.
//!
//! [`check`] runs a test with many seeds, and says how to replay one that fails.
//!
//! # What is not simulated
//!
//! Descriptors and sockets of the system ([`Poll`](crate::Poll), `from_std`, `into_std`) are refused with
//! [`Unsupported`](std::io::ErrorKind::Unsupported). Closures given to [`work::run`](crate::work::run) are called on
//! this thread, when their time has come. Threads that a program makes are threads, and no seed orders them.

mod check;
mod files;
mod link;
mod program;
mod timeline;

use std::{
    cell::RefCell, collections::BTreeMap, fmt, marker::PhantomData, net::IpAddr, panic::Location, rc::Rc,
    time::Duration,
};

pub use check::check;
pub use files::Files;
pub use link::Link;
pub use timeline::Timeline;

pub use crate::backend::sim::FileOp;

use self::program::{Program, Running};
use crate::{
    Loop, Options,
    backend::{self, sim},
    error::{Error, Result},
    time::{Nanos, nanos},
};

/// A host of a world, whose program has a state of type `S`. A plain copy, like the ids of handles.
pub struct Host<S> {
    number: usize,
    state: PhantomData<fn() -> S>,
}

impl<S> Clone for Host<S> {
    fn clone(&self) -> Host<S> {
        *self
    }
}

impl<S> Copy for Host<S> {}

impl<S> fmt::Debug for Host<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Host({})", self.number)
    }
}

/// A host of a world, whatever its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnyHost(usize);

impl<S> From<Host<S>> for AnyHost {
    fn from(host: Host<S>) -> AnyHost {
        AnyHost(host.number)
    }
}

/// Something that a test does at its time.
type Script = Box<dyn FnOnce(&mut World) -> Result>;

/// What a host runs.
struct Post {
    /// None while its turn runs, and once it was killed.
    program: Option<Box<dyn Program>>,
    /// It stands still, as by SIGSTOP.
    stopped: bool,
}

/// A world in memory. See the [module's page](self).
///
/// It may be moved, but not sent to another thread. Loops that were made in it keep it alive.
pub struct World {
    shared: sim::Shared,
    seed: u64,
    options: Options,
    posts: Vec<Post>,
    /// Whose program has failed last.
    failed: Option<usize>,
    scripts: BTreeMap<(Nanos, u64), Script>,
    scripted: u64,
}

impl World {
    /// A world with no hosts, at the beginning of time.
    pub fn new(seed: u64) -> World {
        World {
            shared: Rc::new(RefCell::new(sim::World::new(seed))),
            seed,
            options: Options::new(),
            posts: Vec::new(),
            failed: None,
            scripts: BTreeMap::new(),
            scripted: 0,
        }
    }

    /// The seed that it was made with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How long it has existed, by its own clock.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.borrow().now)
    }

    /// A number less than `limit`, drawn from the seed: for what a test does at random.
    pub fn random(&mut self, limit: u64) -> u64 {
        self.shared.borrow_mut().random.below(limit)
    }

    // ---- hosts

    /// Adds a host with an address of its own (10.0.0.1, 10.0.0.2, …), and starts its program: `start` is given the
    /// loop, as `main` would have made it.
    ///
    /// The program has ended when its loop has nothing left to wait for, or was stopped. Its state is there until the world is
    /// dropped.
    ///
    /// # Errors
    ///
    /// What `start` returns.
    pub fn host<S: 'static>(
        &mut self,
        name: &str,
        state: S,
        start: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result<Host<S>> {
        self.add_host(name, None, state, start)
    }

    /// The same at a given address.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if another host has it; what `start` returns.
    pub fn host_at<S: 'static>(
        &mut self,
        addr: impl Into<IpAddr>,
        name: &str,
        state: S,
        start: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result<Host<S>> {
        let addr = addr.into();
        if self.shared.borrow().machines.iter().any(|machine| machine.addr == addr) {
            return Err(Error::invalid("add a host", format!("{addr} is another's")));
        }
        self.add_host(name, Some(addr), state, start)
    }

    fn add_host<S: 'static>(
        &mut self,
        name: &str,
        addr: Option<IpAddr>,
        state: S,
        start: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result<Host<S>> {
        let number = self.shared.borrow_mut().add(name, addr);
        self.posts.push(Post { program: None, stopped: false });
        let host = Host { number, state: PhantomData };
        self.start(host, state, start)?;
        Ok(host)
    }

    fn start<S: 'static>(
        &mut self,
        host: Host<S>,
        mut state: S,
        start: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result {
        let mut lp = self.make_loop(host.number)?;
        start(&mut lp, &mut state)?;
        self.posts[host.number].program = Some(Box::new(Running { lp, state, stopped: false }));
        Ok(())
    }

    fn make_loop<S>(&self, number: usize) -> Result<Loop<S>> {
        let options = self.options;
        let backend = sim::Host::new(&self.shared, number, options.workers);
        let backend = backend.map_err(|error| Error::system("make a loop", error))?;
        Ok(options.build_on(backend::Backend::World(backend)))
    }

    /// A loop of the caller's own, on a host of its own: for one program that is run with [`Loop::run`]. Time goes on
    /// while it waits; the programs of other hosts do not.
    ///
    /// A loop that would wait for ever, because nothing can ever happen again, ends with an error.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if the system has no descriptors left.
    pub fn new_loop<S>(&mut self, name: &str) -> Result<Loop<S>> {
        let number = self.shared.borrow_mut().add(name, None);
        self.posts.push(Post { program: None, stopped: false });
        self.make_loop(number)
    }

    /// What the loops of hosts are made with, from now on. There is nothing to poll for here, so that option is without
    /// effect.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// The address of a host.
    pub fn addr(&self, host: impl Into<AnyHost>) -> IpAddr {
        self.shared.borrow().machines[host.into().0].addr
    }

    /// Whether the program of a host runs, and has something to wait for.
    pub fn is_alive(&self, host: impl Into<AnyHost>) -> bool {
        self.posts[host.into().0].program.as_ref().is_some_and(|program| program.is_alive())
    }

    /// The state of a program. Panics if it was killed: a test that asks would not know what it sees.
    #[track_caller]
    pub fn state<S: 'static>(&self, host: Host<S>) -> &S {
        let Some(program) = &self.posts[host.number].program else { self.panic_without_program(host.number) };
        &program.as_any().downcast_ref::<Running<S>>().expect("the program's state is of this type").state
    }

    /// The loop and the state of a program, to look at or to act upon between turns. Panics if it was killed.
    #[track_caller]
    pub fn with<S: 'static, T>(&mut self, host: Host<S>, op: impl FnOnce(&mut Loop<S>, &mut S) -> T) -> T {
        let Some(program) = &mut self.posts[host.number].program else {
            self.panic_without_program(host.number)
        };
        let running = program.as_any_mut().downcast_mut::<Running<S>>();
        let Running { lp, state, .. } = running.expect("the program's state is of this type");
        op(lp, state)
    }

    #[track_caller]
    fn panic_without_program(&self, number: usize) -> ! {
        let name = &self.shared.borrow().machines[number].name;
        panic!(
            "{name} has no program and no state: it was killed, or has crashed, and was not started again"
        );
    }

    // ---- running

    /// Does the next thing: one turn of one host, after letting time go on to when there is one. Says whether there
    /// was anything to do: if not, nothing will ever happen again.
    ///
    /// # Errors
    ///
    /// What ended the turn: the first [`Failure`](crate::Failure) of a program that has no `on_failure`. It has ended with
    /// that, as one does whose `main` returns what [`Loop::run`] did. What a script returned.
    pub fn step(&mut self) -> Result<bool> {
        self.step_until(Nanos::MAX)
    }

    /// The same, but time goes no further than `limit`.
    fn step_until(&mut self, limit: Nanos) -> Result<bool> {
        loop {
            let now = self.shared.borrow().now;
            if let Some(entry) = self.scripts.first_entry().filter(|entry| entry.key().0 <= now) {
                entry.remove()(self)?;
                continue;
            }
            self.shared.borrow_mut().go_on(now);
            let ready: Vec<usize> = (0..self.posts.len()).filter(|&number| self.is_ready(number)).collect();
            if !ready.is_empty() {
                let chosen = self.shared.borrow_mut().random.below(ready.len() as u64);
                return self.turn(ready[chosen as usize]).map(|()| true);
            }
            let next = self.next().filter(|&next| next <= limit);
            let Some(next) = next else { return Ok(false) };
            self.shared.borrow_mut().go_on(next);
        }
    }

    /// When the next thing happens that time brings.
    fn next(&mut self) -> Option<Nanos> {
        let now = self.shared.borrow().now;
        let event = self.shared.borrow().next();
        let script = self.scripts.first_key_value().map(|(&(at, _), _)| at);
        let running = self.posts.iter_mut().filter(|post| !post.stopped);
        let programs = running.filter_map(|post| post.program.as_mut()).filter(|program| program.is_alive());
        let deadline = programs.filter_map(|program| program.timeout()).map(|after| now + nanos(after)).min();
        [event, script, deadline].into_iter().flatten().min()
    }

    fn is_ready(&mut self, number: usize) -> bool {
        let Post { program: Some(program), stopped: false } = &mut self.posts[number] else { return false };
        program.is_alive()
            && (program.timeout() == Some(Duration::ZERO) || self.shared.borrow().is_ready(number))
    }

    fn turn(&mut self, number: usize) -> Result {
        let Some(program) = &mut self.posts[number].program else { return Ok(()) };
        let turn = program.turn();
        if turn.is_err() {
            self.failed = Some(number);
        }
        turn
    }

    /// Runs until nothing happens any more: every program has ended, or waits for what will never come. With a timer that
    /// repeats, or a client that tries again and again, that is never: then [`run_for`](Self::run_for) or
    /// [`run_until`](Self::run_until) is what is wanted.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn run(&mut self) -> Result {
        while self.step()? {}
        Ok(())
    }

    /// Runs for this long by the world's clock.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn run_for(&mut self, duration: Duration) -> Result {
        let end = self.shared.borrow().now.saturating_add(nanos(duration));
        while self.shared.borrow().now < end && self.step_until(end)? {}
        self.shared.borrow_mut().go_on(end);
        Ok(())
    }

    /// Runs until `condition` holds: it is asked after each step.
    ///
    /// # Errors
    ///
    /// [`Error::Other`], with the place of this call, if it does not hold within `limit` by the world's clock; otherwise
    /// as [`step`](Self::step).
    #[track_caller]
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&mut World) -> bool) -> Result {
        let place = Location::caller();
        let end = self.shared.borrow().now.saturating_add(nanos(limit));
        while !condition(self) {
            if self.shared.borrow().now >= end || !self.step_until(end)? {
                if condition(self) {
                    break;
                }
                return Err(Error::other(format!("run_until at {place}: it was not so within {limit:?}")));
            }
        }
        Ok(())
    }

    /// Does something when the world's clock shows `at`: between two turns, before anything else that happens then. At once
    /// if that time has passed.
    pub fn schedule(&mut self, at: Duration, script: impl FnOnce(&mut World) -> Result + 'static) {
        self.scripted += 1;
        self.scripts.insert((nanos(at), self.scripted), Box::new(script));
    }

    /// Panics unless the invariants of every loop, and of the world, hold.
    pub fn verify(&self) {
        for program in self.posts.iter().filter_map(|post| post.program.as_ref()) {
            program.verify();
        }
    }

    // ---- the network

    /// What lies between any two hosts from now on, unless another link was set between them. Connections that there
    /// are keep their buffers.
    pub fn set_link(&mut self, link: Link) {
        self.shared.borrow_mut().net.link = link.0;
    }

    /// What lies between two hosts, or between a host and itself.
    pub fn set_link_between(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>, link: Link) {
        let (one, other) = (one.into().0, other.into().0);
        self.shared.borrow_mut().net.links.insert((one.min(other), one.max(other)), link.0);
    }

    /// Cuts the link between two hosts, both ways. What is on its way waits.
    pub fn partition(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>) {
        let (one, other) = (one.into(), other.into());
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Undoes [`partition`](Self::partition): what waited arrives.
    pub fn heal(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>) {
        let (one, other) = (one.into().0, other.into().0);
        let mut shared = self.shared.borrow_mut();
        shared.set_cut(one, other, false);
        shared.set_cut(other, one, false);
    }

    /// Cuts the link one way only: what `from` sends does not arrive, what it is sent does.
    pub fn cut(&mut self, from: impl Into<AnyHost>, to: impl Into<AnyHost>) {
        self.shared.borrow_mut().set_cut(from.into().0, to.into().0, true);
    }

    /// Resets every connection between two hosts, now.
    pub fn reset(&mut self, one: impl Into<AnyHost>, other: impl Into<AnyHost>) {
        self.shared.borrow_mut().reset_between(one.into().0, other.into().0);
    }

    /// How many connections and listeners a host has, those included that wait to be accepted: for finding leaks.
    pub fn sockets(&self, host: impl Into<AnyHost>) -> usize {
        self.shared.borrow().ends_of(host.into().0)
    }

    // ---- hosts that fail

    /// Kills the program of a host, as `kill -9` does: the system closes its connections. Written files stay.
    pub fn kill(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.fault(number, "kill", sim::What::Killed);
        self.posts[number].program = None;
        self.shared.borrow_mut().bury(number);
    }

    fn fault(&mut self, number: usize, name: &'static str, what: sim::What) {
        let mut shared = self.shared.borrow_mut();
        shared.random.count_fault(name);
        shared.note(number, what);
    }

    /// The power of a host fails. Nobody is told: to its peers it is silent, until it is started again and resets what
    /// they send. Of its files only what was synced is left.
    pub fn crash(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.fault(number, "crash", sim::What::Crashed);
        {
            let mut shared = self.shared.borrow_mut();
            shared.crash_network(number);
            shared.machines[number].up = false;
        }
        self.posts[number].program = None;
        let mut shared = self.shared.borrow_mut();
        shared.bury(number);
        let sim::World { machines, random, .. } = &mut *shared;
        machines[number].files.crash(random);
    }

    /// Starts a program on a host whose program was killed, or that has crashed. A program that still runs there is killed
    /// first.
    ///
    /// # Errors
    ///
    /// What `start` returns.
    pub fn restart<S: 'static>(
        &mut self,
        host: Host<S>,
        state: S,
        start: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result {
        if self.posts[host.number].program.is_some() {
            self.kill(host);
        }
        self.posts[host.number].stopped = false;
        {
            let mut shared = self.shared.borrow_mut();
            shared.machines[host.number].up = true;
            shared.note(host.number, sim::What::Up);
            shared.release_stalled();
        }
        self.start(host, state, start)
    }

    /// The program of a host stands still, as by SIGSTOP; its system goes on.
    pub fn pause(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.posts[number].stopped = true;
        self.fault(number, "stop", sim::What::Stopped);
    }

    /// It goes on.
    pub fn resume(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.posts[number].stopped = false;
        self.shared.borrow_mut().note(number, sim::What::Continued);
    }

    /// Sends a signal to the program of a host. Says whether it watches for it; if not, nothing happens.
    pub fn signal(&mut self, host: impl Into<AnyHost>, signum: i32) -> bool {
        self.shared.borrow_mut().signal(host.into().0, signum)
    }

    /// How many descriptors the program of a host may have: sockets and open files. Beyond, it gets EMFILE.
    pub fn set_fd_limit(&mut self, host: impl Into<AnyHost>, most: usize) {
        self.shared.borrow_mut().machines[host.into().0].descriptors_max = most;
    }

    /// The files of a host.
    pub fn files(&self, host: impl Into<AnyHost>) -> Files<'_> {
        Files { shared: &self.shared, host: host.into().0 }
    }

    // ---- what else is open

    /// How long a turn takes, at most.
    pub fn set_turn_time(&mut self, most: Duration) {
        self.shared.borrow_mut().turn_max = nanos(most).max(2);
    }

    /// How long jobs take: file operations, and closures on workers.
    pub fn set_job_time(&mut self, least: Duration, most: Duration) {
        let mut shared = self.shared.borrow_mut();
        (shared.jobs.least, shared.jobs.most) = (nanos(least), nanos(most));
    }

    /// How often a file operation is done at once, as what the system has in memory is: one in so many, zero for never.
    pub fn set_cached_one_in(&mut self, times: u32) {
        self.shared.borrow_mut().jobs.at_once_one_in = times;
    }

    /// How often a wait tells of something that is not so, as systems do now and then: one in so many.
    pub fn set_spurious_one_in(&mut self, times: u32) {
        self.shared.borrow_mut().spurious_one_in = times;
    }

    // ---- what happened

    /// One number for all that happened: the same seed and the same program give the same, everywhere.
    pub fn trace_hash(&self) -> u64 {
        self.shared.borrow().trace.hash()
    }

    /// What has gone wrong so far, by chance and on request, and how often: a test that asks for faults can see whether it
    /// got any.
    ///
    /// Of the network "short read", "short write", "segment in pieces", "reset" (each connection once), "refused", "cut" (each
    /// way once), "given up"; of files "file operation", "disk full"; of hosts "kill", "crash", "stop"; and "no descriptor",
    /// "readiness that is not so".
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.shared.borrow().random.faults().clone()
    }

    /// What happened, for people: the last two hundred thousand things.
    pub fn timeline(&self) -> Timeline {
        let shared = self.shared.borrow();
        let notes: Vec<_> = shared.trace.notes().copied().collect();
        Timeline {
            names: shared.machines.iter().map(|machine| machine.name.clone()).collect(),
            forgotten: shared.trace.count() - notes.len() as u64,
            notes,
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("World")
            .field("seed", &self.seed)
            .field("now", &self.now())
            .field("hosts", &self.posts.len())
            .finish_non_exhaustive()
    }
}
