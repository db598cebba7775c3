//! The world that all hosts share: its clock, its events, and its machines.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
};

use super::{
    errno::errno,
    fs::Tree,
    jobs::{JobTiming, Jobs},
    net::{EndId, Net, Packet},
    random::Random,
    trace::Trace,
    trace::TraceEvent,
};
use crate::{backend::Readiness, handle::Key, time::Nanos};

/// The world, as each host refers to it.
pub(crate) type Shared = Rc<RefCell<World>>;

/// What happens at a time of its own.
pub(crate) enum Event {
    /// A packet arrives, or is sent once more.
    Packet(Packet),
    /// Data of this end has been on its way since `since`, or was delivered meanwhile.
    ConnectionTimeout { end: EndId, since: Nanos },
    /// A worker completes a job.
    JobDone { host: usize, ticket: u64 },
}

/// A machine, whether a loop runs on it or not.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) addr: IpAddr,
    /// False from a crash until the machine is started again.
    pub(crate) up: bool,
    /// Ends that may be ready. Each wait looks at these alone.
    pub(super) maybe_ready: BTreeSet<EndId>,
    pub(crate) files: Tree,
    /// The machine whose Unix sockets and their files its program sees: itself, unless its loop runs beside
    /// another's.
    pub(crate) home: usize,
    pub(super) jobs: Jobs,
    pub(super) watched_signals: BTreeSet<i32>,
    pub(super) signals: Vec<i32>,
    /// The number of descriptors that its sockets have.
    pub(super) sockets: usize,
    /// The most descriptors that its sockets and files may have.
    pub(crate) fd_limit: usize,
    pub(super) next_port: u16,
    /// Its program is being killed: it does nothing more, not even clean up.
    pub(crate) killed: bool,
}

/// A network of machines, and everything that will happen to them.
///
/// 1. No entry of `events` is earlier than `now`.
/// 2. An end that is ready is in `maybe_ready` of its machine.
pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) random: Random,
    /// By time; equal times in the order of scheduling.
    events: BTreeMap<(Nanos, u64), Event>,
    events_scheduled: u64,
    pub(crate) machines: Vec<Machine>,
    pub(crate) net: Net,
    pub(crate) trace: Trace,
    /// A turn takes less than this.
    pub(crate) turn_max: Nanos,
    /// One wait in so many reports an end that is not ready.
    pub(crate) spurious_one_in: u32,
    pub(crate) job_timing: JobTiming,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World {
            now: 0,
            random: Random::new(seed),
            events: BTreeMap::new(),
            events_scheduled: 0,
            machines: Vec::new(),
            net: Net::default(),
            trace: Trace::new(seed),
            turn_max: 20_000,
            spurious_one_in: 0,
            job_timing: JobTiming::default(),
        }
    }

    /// Adds a machine at `addr`, or at the next address of 10.0.0.0/8. Returns its index.
    pub(crate) fn add(&mut self, name: &str, addr: Option<IpAddr>) -> usize {
        let host = self.machines.len();
        let next = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + host as u32);
        self.machines.push(Machine {
            name: name.to_owned(),
            addr: addr.unwrap_or(next.into()),
            up: true,
            maybe_ready: BTreeSet::new(),
            files: Tree::default(),
            home: host,
            jobs: Jobs::default(),
            watched_signals: BTreeSet::new(),
            signals: Vec::new(),
            sockets: 0,
            fd_limit: usize::MAX,
            next_port: 32_768,
            killed: false,
        });
        self.record(host, TraceEvent::Started);
        host
    }

    pub(crate) fn record(&mut self, host: usize, event: TraceEvent) {
        self.trace.record(self.now, host, event);
    }

    // ---- time

    pub(super) fn schedule(&mut self, time: Nanos, event: Event) {
        self.events_scheduled += 1;
        self.events.insert((time.max(self.now), self.events_scheduled), event);
    }

    /// Returns the time of the next event.
    pub(crate) fn next_event(&self) -> Option<Nanos> {
        self.events.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Advances the clock to `time`, event by event.
    pub(crate) fn advance_to(&mut self, time: Nanos) {
        while let Some(entry) = self.events.first_entry() {
            let at = entry.key().0;
            if at > time {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(at);
            match event {
                Event::Packet(packet) => self.deliver(packet),
                Event::ConnectionTimeout { end, since } => self.time_out(end, since),
                Event::JobDone { host, ticket } => self.complete_job(host, ticket),
            }
        }
        self.now = self.now.max(time);
    }

    // ---- readiness

    /// Returns whether a wait on this machine would report something.
    pub(crate) fn is_ready(&self, host: usize) -> bool {
        let machine = &self.machines[host];
        !machine.signals.is_empty() || machine.jobs.has_notifications || self.has_ready_end(host)
    }

    /// Reports what is ready on a machine, in random order. Returns whether anything is.
    pub(super) fn report_ready(&mut self, host: usize, report: &mut impl FnMut(Key, Readiness)) -> bool {
        let mut ready = self.ready_ends(host);
        if !self.machines[host].signals.is_empty() {
            ready.push((Key::SIGNALS, Readiness::READ));
        }
        self.random.shuffle(&mut ready);
        let any = !ready.is_empty();
        ready.into_iter().for_each(|(key, readiness)| report(key, readiness));
        any
    }

    // ---- machines

    /// Fails with `EMFILE` if the machine has no descriptor left.
    pub(super) fn check_fd_limit(&mut self, host: usize) -> io::Result<()> {
        let machine = &self.machines[host];
        if machine.sockets + machine.files.open_count() < machine.fd_limit {
            return Ok(());
        }
        self.random.count_fault("no descriptor");
        Err(errno(libc::EMFILE))
    }

    /// Sends a signal to the program of a machine. Returns whether the program watches for it.
    pub(crate) fn signal(&mut self, host: usize, signum: i32) -> bool {
        self.record(host, TraceEvent::Signal(signum));
        let machine = &mut self.machines[host];
        let watched = machine.watched_signals.contains(&signum);
        // As in a kernel, a signal that is pending already is not queued twice.
        if watched && !machine.signals.contains(&signum) {
            machine.signals.push(signum);
        }
        watched
    }

    /// Releases the jobs and watches of a program that is gone. Its sockets were closed when it was dropped.
    pub(crate) fn reap(&mut self, host: usize) {
        let machine = &mut self.machines[host];
        machine.jobs.clear();
        machine.watched_signals.clear();
        machine.signals.clear();
        machine.maybe_ready.clear();
    }
}
