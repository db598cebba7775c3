//! Introspection: which handles there are, what keeps the loop alive, which callbacks are slow.

use std::{fmt, time::Duration};

use super::Loop;
use crate::handle::Origin;

/// One handle or request of a loop, as [`Loop::handles`] and [`Loop::why_alive`] list them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HandleInfo {
    /// Which handle or request it is.
    pub origin: Origin,
    /// Whether it keeps the loop alive.
    pub keeps_alive: bool,
    /// Whether it is started.
    pub active: bool,
    /// Whether it keeps the loop alive while it is active: `unref` was not called.
    pub referenced: bool,
    /// Whether it is being closed.
    pub closing: bool,
    /// What it is doing or waiting for.
    pub status: String,
}

impl fmt::Display for HandleInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.origin, self.status)?;
        if self.closing {
            write!(out, ", closing")?;
        }
        if !self.referenced {
            write!(out, ", unreferenced")?;
        }
        Ok(())
    }
}

/// Everything that keeps a loop alive. Its `Display` has a line for each. From [`Loop::why_alive`].
#[derive(Clone, Debug)]
pub struct WhyAlive {
    /// The handles and requests that keep it alive.
    pub entries: Vec<HandleInfo>,
    /// The number of [`Remote`](crate::Remote)s that keep it alive, in any thread.
    pub remotes: usize,
    /// The number of posted closures that have not run.
    pub posts: usize,
}

impl WhyAlive {
    /// Returns whether nothing keeps the loop alive, so that `run` returns.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.remotes == 0 && self.posts == 0
    }
}

impl fmt::Display for WhyAlive {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(out, "nothing keeps the loop running");
        }
        for entry in &self.entries {
            writeln!(out, "{entry}")?;
        }
        if self.remotes > 0 {
            writeln!(out, "{} remote(s) that may post from other threads", self.remotes)?;
        }
        if self.posts > 0 {
            writeln!(out, "{} posted closure(s) to run", self.posts)?;
        }
        Ok(())
    }
}

/// A callback that took longer than the limit of [`Loop::on_slow`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlowCallback {
    /// Whose callback it was.
    pub origin: Origin,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for SlowCallback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "slow callback: {} took {:?}", self.origin, self.took)
    }
}

impl<S> Loop<S> {
    /// Lists every handle and every request, whether it keeps the loop alive or not, oldest handles first.
    ///
    /// For diagnosis and tests: it allocates, and takes time in proportion to the handles and requests.
    pub fn handles(&self) -> Vec<HandleInfo> {
        let core = &self.core;
        let mut handles: Vec<_> = core.table.iter().collect();
        handles.sort_by_key(|(handle, _)| *handle);
        let handles = handles.into_iter().map(|(handle, slot)| HandleInfo {
            origin: self.callee(handle).named(core.table.name(handle).map(str::to_owned)),
            keeps_alive: slot.flags().keeps_alive(),
            active: slot.flags().active,
            referenced: !slot.flags().unreferenced,
            closing: slot.flags().closing,
            status: slot.body.status(core, handle),
        });
        let mut requests: Vec<_> = core.requests.iter().collect();
        requests.sort_by_key(|(request, _)| *request);
        let requests = requests.into_iter().map(|(_, pending)| HandleInfo {
            origin: Origin {
                handle: None,
                kind: pending.kind,
                name: pending.owner.and_then(|owner| core.table.name(owner)).map(str::to_owned),
                started_at: pending.started_at,
            },
            keeps_alive: true,
            active: true,
            referenced: true,
            closing: false,
            status: match pending.stage {
                crate::handle::request::Stage::InFlight => format!("{}: in flight", pending.op),
                crate::handle::request::Stage::Queued(_) => format!("{}: with the workers", pending.op),
                crate::handle::request::Stage::Completed => format!("{}: its callback is next", pending.op),
            },
        });
        handles.chain(requests).collect()
    }

    /// Returns what keeps the loop alive: its kind, its name, the line that started it, what it waits for.
    ///
    /// Print it when a program does not end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ringback::{Loop, Timer};
    /// let mut lp = Loop::<()>::new()?;
    /// let timer = Timer::after(&mut lp, Duration::from_secs(3600), |_, _| Ok(()))?;
    /// timer.set_name(&mut lp, "hourly")?;
    /// let why = lp.why_alive();
    /// assert_eq!(why.entries.len(), 1);
    /// assert!(why.to_string().starts_with("timer \"hourly\" started at "));
    /// # Ok::<(), ringback::Error>(())
    /// ```
    pub fn why_alive(&self) -> WhyAlive {
        WhyAlive {
            entries: self.handles().into_iter().filter(|entry| entry.keeps_alive).collect(),
            remotes: self.posts.senders(),
            posts: self.posts.len(),
        }
    }
}
