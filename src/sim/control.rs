//! What a test does with hosts: adding them, looking at their programs, and making them fail.

use std::{marker::PhantomData, net::IpAddr};

use super::{
    World,
    host::{AnyHost, Host, Slot},
    program::Running,
};
use crate::{
    Loop,
    backend::sim::{self, TraceEvent},
    error::{Error, Result},
};

impl World {
    // ---- adding hosts

    /// Adds a host at the next address (10.0.0.1, 10.0.0.2, …) and starts its program.
    ///
    /// `start` is called at once, with the loop that `main` would have made. The program ends when its loop
    /// has nothing left to wait for or is stopped. Its state stays until the world is dropped or the host is
    /// killed.
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
        let number = self.add_machine(name, None);
        self.start_on(number, state, start)
    }

    /// Adds a host at the address `addr` and starts its program.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if another host has the address; what `start` returns.
    pub fn host_at<S: 'static>(
        &mut self,
        addr: impl Into<IpAddr>,
        name: &str,
        state: S,
        start: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result<Host<S>> {
        let addr = addr.into();
        if self.shared.borrow().machines.iter().any(|machine| machine.addr == addr) {
            return Err(Error::invalid("add a host", format!("another host has the address {addr}")));
        }
        let number = self.add_machine(name, Some(addr));
        self.start_on(number, state, start)
    }

    pub(super) fn add_machine(&mut self, name: &str, addr: Option<IpAddr>) -> usize {
        self.slots.push(Slot { program: None, paused: false });
        self.shared.borrow_mut().add(name, addr)
    }

    fn start_on<S: 'static>(
        &mut self,
        number: usize,
        mut state: S,
        start: impl FnOnce(&mut Loop<S>, &mut S) -> Result,
    ) -> Result<Host<S>> {
        let mut lp = self.make_loop(number)?;
        start(&mut lp, &mut state)?;
        self.slots[number].program = Some(Box::new(Running { lp, state, ended: false }));
        Ok(Host { number, state: PhantomData })
    }

    // ---- looking at hosts

    /// Returns the address of a host.
    pub fn addr(&self, host: impl Into<AnyHost>) -> IpAddr {
        self.shared.borrow().machines[host.into().0].addr
    }

    /// Returns whether the program of a host runs and has something to wait for.
    pub fn is_alive(&self, host: impl Into<AnyHost>) -> bool {
        self.slots[host.into().0].program.as_ref().is_some_and(|program| program.is_alive())
    }

    /// Returns the state of a program.
    ///
    /// # Panics
    ///
    /// If the program was killed, or its host has crashed, and it was not restarted.
    #[track_caller]
    pub fn state<S: 'static>(&self, host: Host<S>) -> &S {
        let Some(program) = &self.slots[host.number].program else { self.panic_without_program(host) };
        &program.as_any().downcast_ref::<Running<S>>().expect("a host's state has the type of its id").state
    }

    /// Calls `op` with the loop and the state of a program, between two turns.
    ///
    /// # Panics
    ///
    /// As [`state`](Self::state).
    #[track_caller]
    pub fn with<S: 'static, T>(&mut self, host: Host<S>, op: impl FnOnce(&mut Loop<S>, &mut S) -> T) -> T {
        let Some(program) = &mut self.slots[host.number].program else { self.panic_without_program(host) };
        let running = program.as_any_mut().downcast_mut::<Running<S>>();
        let Running { lp, state, .. } = running.expect("a host's state has the type of its id");
        op(lp, state)
    }

    #[track_caller]
    fn panic_without_program<S>(&self, host: Host<S>) -> ! {
        panic!(
            "{} has no program and no state: it was killed or has crashed, and was not restarted",
            self.name_of(host)
        );
    }

    // ---- making hosts fail

    /// Kills the program of a host, as `kill -9` does. The system closes its connections; written files stay.
    pub fn kill(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.record_fault(number, "kill", TraceEvent::Killed);
        self.drop_program(number);
        self.shared.borrow_mut().reap(number);
    }

    /// Drops a program that does nothing more, not even clean up.
    fn drop_program(&mut self, number: usize) {
        self.shared.borrow_mut().machines[number].killed = true;
        self.slots[number].program = None;
        self.shared.borrow_mut().machines[number].killed = false;
    }

    fn record_fault(&mut self, number: usize, name: &'static str, event: TraceEvent) {
        let mut shared = self.shared.borrow_mut();
        shared.random.count_fault(name);
        shared.record(number, event);
    }

    /// Crashes a host, as a power failure does. Of its files what was synced is left; of later changes
    /// nothing, all, or a part.
    ///
    /// Its peers are not notified: to them it is silent, until it is restarted and answers their packets with
    /// resets.
    pub fn crash(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.record_fault(number, "crash", TraceEvent::Crashed);
        {
            let mut shared = self.shared.borrow_mut();
            shared.crash_network(number);
            shared.machines[number].up = false;
        }
        self.drop_program(number);
        let mut shared = self.shared.borrow_mut();
        shared.reap(number);
        let sim::World { machines, random, .. } = &mut *shared;
        machines[number].files.crash(random);
    }

    /// Starts a program on a host that was killed or has crashed. A program that still runs there is killed
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
        if self.slots[host.number].program.is_some() {
            self.kill(host);
        }
        self.slots[host.number].paused = false;
        {
            let mut shared = self.shared.borrow_mut();
            shared.machines[host.number].up = true;
            shared.record(host.number, TraceEvent::Started);
            shared.release_stalled();
        }
        self.start_on(host.number, state, start).map(drop)
    }

    /// Pauses the program of a host, as SIGSTOP does. Its system still accepts and receives.
    pub fn pause(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.slots[number].paused = true;
        self.record_fault(number, "pause", TraceEvent::Paused);
    }

    /// Resumes the program of a host, as SIGCONT does.
    pub fn resume(&mut self, host: impl Into<AnyHost>) {
        let number = host.into().0;
        self.slots[number].paused = false;
        self.shared.borrow_mut().record(number, TraceEvent::Resumed);
    }

    /// Sends a signal to the program of a host. Returns whether the program watches for it; if not, nothing
    /// happens.
    pub fn signal(&mut self, host: impl Into<AnyHost>, signum: i32) -> bool {
        self.shared.borrow_mut().signal(host.into().0, signum)
    }

    /// Sets how many descriptors the program of a host may have: sockets and open files. Beyond that it gets
    /// EMFILE.
    pub fn set_fd_limit(&mut self, host: impl Into<AnyHost>, max: usize) {
        self.shared.borrow_mut().machines[host.into().0].fd_limit = max;
    }
}
