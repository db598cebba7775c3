//! A world in memory that takes the system's place: hosts, a network between them, files, workers, and a clock
//! that jumps. One seed decides everything that the system leaves open.
//!
//! Each loop in it has a [`Host`] as its backend. Nothing happens by itself: `wait` with a timeout lets time go on to the
//! next event, and `wait` without one tells what is ready now, so that `crate::sim::World` can have several
//! loops take turns.

mod fs;
mod jobs;
mod net;
mod random;
mod trace;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
};

pub use fs::FileOp;
pub(crate) use fs::{OpenFile, Tree};
pub(crate) use net::{Link, Socket};
pub(crate) use random::Random;
pub(crate) use trace::{Note, What};

use self::{jobs::Jobs, net::Net, trace::Trace};
use super::{
    ListenConfig, Notifier, Readiness,
    job::{Done, Job, Submitted},
    native::{Arc, NotifyQueue, WakeFd},
};
use crate::{handle::Key, time::Nanos};

/// What all hosts share.
pub(crate) type Shared = Rc<RefCell<World>>;

/// Something that comes to pass at its time.
pub(crate) enum Happening {
    Network(net::Passage),
    JobDone { host: usize, ticket: u64 },
}

/// What a machine has, whether a loop runs on it or not.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) addr: IpAddr,
    /// Not after a crash, until it is started again.
    pub(crate) up: bool,
    /// Ends of which something may be told: looked at by each wait.
    hot: BTreeSet<u64>,
    pub(crate) files: Tree,
    jobs: Jobs,
    watched_signals: BTreeSet<i32>,
    signals: Vec<i32>,
    /// How many descriptors its sockets have, and how many all may have.
    sockets: usize,
    pub(crate) descriptors_max: usize,
    next_port: u16,
}

/// 1. `events` are not before `now`.
/// 2. An end that may be ready is in the `hot` of its machine.
pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) random: Random,
    events: BTreeMap<(Nanos, u64), Happening>,
    arrivals: u64,
    pub(crate) machines: Vec<Machine>,
    pub(crate) net: Net,
    pub(crate) trace: Trace,
    /// A turn takes up to so long.
    pub(crate) turn_max: Nanos,
    /// A wait tells of something that is not so, once in so many times.
    pub(crate) spurious_one_in: u32,
    pub(crate) jobs: jobs::Pace,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World {
            now: 0,
            random: Random::new(seed),
            events: BTreeMap::new(),
            arrivals: 0,
            machines: Vec::new(),
            net: Net::default(),
            trace: Trace::new(seed),
            turn_max: 20_000,
            spurious_one_in: 0,
            jobs: jobs::Pace::default(),
        }
    }

    /// A machine at `addr`, or at an address of its own.
    pub(crate) fn add(&mut self, name: &str, addr: Option<IpAddr>) -> usize {
        let number = self.machines.len();
        let own = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + number as u32);
        self.machines.push(Machine {
            name: name.to_owned(),
            addr: addr.unwrap_or(own.into()),
            up: true,
            hot: BTreeSet::new(),
            files: Tree::default(),
            jobs: Jobs::default(),
            watched_signals: BTreeSet::new(),
            signals: Vec::new(),
            sockets: 0,
            descriptors_max: usize::MAX,
            next_port: 32_768,
        });
        self.note(number, What::Up);
        number
    }

    pub(crate) fn note(&mut self, host: usize, what: What) {
        self.trace.note(self.now, host, what);
    }

    fn at(&mut self, time: Nanos, happening: Happening) {
        self.arrivals += 1;
        self.events.insert((time.max(self.now), self.arrivals), happening);
    }

    /// When the next event is.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.events.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Lets time go on to `time`, event by event.
    pub(crate) fn go_on(&mut self, time: Nanos) {
        while let Some(entry) = self.events.first_entry() {
            let at = entry.key().0;
            if at > time {
                break;
            }
            let happening = entry.remove();
            self.now = self.now.max(at);
            match happening {
                Happening::Network(passage) => self.pass(passage),
                Happening::JobDone { host, ticket } => self.finish_job(host, ticket),
            }
        }
        self.now = self.now.max(time);
    }

    /// Whether there is a descriptor for one more.
    fn claim_descriptor(&mut self, host: usize) -> io::Result<()> {
        let machine = &self.machines[host];
        if machine.sockets + machine.files.open_count() < machine.descriptors_max {
            return Ok(());
        }
        self.random.count_fault("no descriptor");
        Err(errno(libc::EMFILE))
    }

    /// A signal for the program on a machine. Says whether it watches for it.
    pub(crate) fn signal(&mut self, host: usize, signum: i32) -> bool {
        self.note(host, What::Signal(signum));
        let machine = &mut self.machines[host];
        let watched = machine.watched_signals.contains(&signum);
        // As the system has them: those that come before anybody looks are one.
        if watched && !machine.signals.contains(&signum) {
            machine.signals.push(signum);
        }
        watched
    }

    /// The program of a machine is gone: its jobs, its watches. Its sockets were closed when it was dropped.
    pub(crate) fn bury(&mut self, host: usize) {
        let machine = &mut self.machines[host];
        machine.jobs.forget_all();
        machine.watched_signals.clear();
        machine.signals.clear();
        machine.hot.clear();
    }
}

/// What the system says by this number.
fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// A loop's backend in a world.
pub(crate) struct Host {
    world: Shared,
    number: usize,
    /// Its descriptor stands for the loop's, and never becomes readable by what happens in the world.
    notify_queue: Arc<NotifyQueue>,
}

impl Host {
    pub(crate) fn new(world: &Shared, number: usize, workers: usize) -> io::Result<Host> {
        let notify_queue = Arc::new(NotifyQueue::new(WakeFd::new()?));
        world.borrow_mut().machines[number].jobs.workers = workers;
        Ok(Host { world: world.clone(), number, notify_queue })
    }

    pub(crate) fn now(&self) -> Nanos {
        self.world.borrow().now
    }

    // ---- sockets

    pub(crate) fn listen(&mut self, addr: SocketAddr, config: ListenConfig) -> io::Result<Socket> {
        let backlog = usize::try_from(config.backlog).unwrap_or(0);
        let end = self.world.borrow_mut().listen(self.number, addr, backlog)?;
        Ok(Socket::new(&self.world, end))
    }

    pub(crate) fn connect(&mut self, addr: SocketAddr) -> io::Result<Socket> {
        let end = self.world.borrow_mut().connect(self.number, addr)?;
        Ok(Socket::new(&self.world, end))
    }

    // ---- waiting

    pub(crate) fn wait(
        &mut self,
        timeout: Option<Nanos>,
        mut ready: impl FnMut(Key, Readiness),
    ) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let most = world.turn_max;
        let took = world.random.below(most);
        let begun = world.now + took;
        world.go_on(begun);
        let end = timeout.map(|timeout| begun.saturating_add(timeout));
        loop {
            let came = world.tell_ready(self.number, &mut ready);
            if came || world.now >= end.unwrap_or(Nanos::MAX) || self.notify_queue.has_pending() {
                return Ok(());
            }
            if world.machines[self.number].jobs.has_notifications {
                return Ok(());
            }
            let next = match (world.next(), end) {
                (Some(next), Some(end)) => next.min(end),
                (Some(next), None) | (None, Some(next)) => next,
                (None, None) => {
                    let message = "nothing will ever happen in this world again";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
            };
            world.go_on(next);
        }
    }

    pub(crate) fn detach(&mut self) {}

    pub(crate) fn apply_registrations(&mut self) {}

    pub(crate) fn pop_failed_registration(&mut self) -> Option<(Key, io::Error)> {
        None
    }

    pub(crate) fn has_failed_registrations(&self) -> bool {
        false
    }

    // ---- other threads

    pub(crate) fn notifier(&self, key: Key) -> Notifier {
        Notifier::new(self.notify_queue.clone(), key)
    }

    pub(crate) fn has_notifications(&self) -> bool {
        self.notify_queue.has_pending() || self.world.borrow().machines[self.number].jobs.has_notifications
    }

    pub(crate) fn drain_notifications(&mut self, keys: &mut Vec<Key>) {
        self.notify_queue.drain(keys);
        let jobs = &mut self.world.borrow_mut().machines[self.number].jobs;
        if std::mem::take(&mut jobs.has_notifications) {
            keys.push(Key::JOBS);
        }
    }

    // ---- jobs

    pub(crate) fn set_workers(&mut self, limit: usize) {
        self.world.borrow_mut().set_workers(self.number, limit);
    }

    pub(crate) fn submit(&mut self, token: u64, job: Job, _waiting: usize) -> io::Result<Submitted> {
        Ok(self.world.borrow_mut().submit(self.number, token, job))
    }

    pub(crate) fn cancel(&mut self, ticket: u64) -> bool {
        self.world.borrow_mut().machines[self.number].jobs.cancel(ticket)
    }

    pub(crate) fn drain_completions(&mut self, each: impl FnMut(Done)) {
        let done = std::mem::take(&mut self.world.borrow_mut().machines[self.number].jobs.done);
        done.into_iter().for_each(each);
    }

    // ---- signals

    pub(crate) fn watch_signal(&mut self, signum: i32) -> io::Result<()> {
        if !(1..=64).contains(&signum) || signum == libc::SIGKILL || signum == libc::SIGSTOP {
            return Err(errno(libc::EINVAL));
        }
        self.world.borrow_mut().machines[self.number].watched_signals.insert(signum);
        Ok(())
    }

    pub(crate) fn forget_signal(&mut self, signum: i32) {
        self.world.borrow_mut().machines[self.number].watched_signals.remove(&signum);
    }

    pub(crate) fn take_signals(&mut self, delivered: impl FnMut(i32)) {
        let signals = std::mem::take(&mut self.world.borrow_mut().machines[self.number].signals);
        signals.into_iter().for_each(delivered);
    }

    /// A callback is about to be called.
    pub(crate) fn note_call(&self, what: What) {
        self.world.borrow_mut().note(self.number, what);
    }

    pub(crate) fn verify(&self) {
        self.world.borrow().verify_network(self.number);
    }
}

impl AsFd for Host {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notify_queue.wake_fd().as_fd()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.notify_queue.close();
    }
}

impl World {
    /// Whether a wait on this machine would tell of something.
    pub(crate) fn is_ready(&self, host: usize) -> bool {
        let machine = &self.machines[host];
        !machine.signals.is_empty() || machine.jobs.has_notifications || self.has_ready_end(host)
    }

    /// Tells what is ready on a machine, in an order that nobody may rely on. Says whether anything is.
    fn tell_ready(&mut self, host: usize, ready: &mut impl FnMut(Key, Readiness)) -> bool {
        let mut told = self.ready_ends(host);
        if !self.machines[host].signals.is_empty() {
            told.push((Key::SIGNALS, Readiness::READ));
        }
        self.random.shuffle(&mut told);
        let came = !told.is_empty();
        told.into_iter().for_each(|(key, readiness)| ready(key, readiness));
        came
    }
}
