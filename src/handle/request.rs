//! Requests: things with one answer.
//!
//! Each is answered exactly once (done, failed or cancelled), never inside the call that asked, and
//! before the close callback of its handle. A request holds the loop alive, whatever its handle says.

use std::{fmt, num::NonZeroU64, panic::Location};

use slab::Slab;

use super::{Handle, Kind};

/// The id of a request that is on its way: a file operation, work on the pool, a deferred closure.
///
/// A plain copy, like a [`Handle`]. Use it to [`cancel`](Request::cancel); drop it otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    pub(crate) lp: u32,
    pub(crate) serial: NonZeroU64,
    pub(crate) index: u32,
}

impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Request({}.{}@{})", self.lp, self.serial, self.index)
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody has begun it, or it cannot be told.
    InFlight,
    /// It was given to the pool under this ticket.
    Queued(u64),
    /// Its answer is queued.
    Completed,
}

#[derive(Debug)]
pub(crate) struct RequestState {
    pub(crate) serial: NonZeroU64,
    pub(crate) owner: Option<Handle>,
    pub(crate) kind: Kind,
    pub(crate) op: &'static str,
    pub(crate) started: &'static Location<'static>,
    pub(crate) stage: Stage,
    /// Taken back after it was listed to be called: its callback is dropped.
    pub(crate) canceled: bool,
    /// The loop's own: it has no callback.
    pub(crate) internal: bool,
}

/// Every request of one loop that is not answered yet.
#[derive(Debug)]
pub(crate) struct Requests {
    lp: u32,
    slots: Slab<RequestState>,
    serials: u64,
}

impl Requests {
    pub(crate) fn new(lp: u32) -> Requests {
        Requests { lp, slots: Slab::new(), serials: 0 }
    }

    pub(crate) fn insert(
        &mut self,
        owner: Option<Handle>,
        kind: Kind,
        op: &'static str,
        started: &'static Location<'static>,
    ) -> Request {
        self.serials += 1;
        let serial = NonZeroU64::new(self.serials).expect("serials start at one");
        let index =
            self.slots.insert(RequestState { serial, owner, kind, op, started, stage: Stage::InFlight });
        Request { lp: self.lp, serial, index: u32::try_from(index).expect("fewer requests than 2³²") }
    }

    pub(crate) fn get(&self, request: Request) -> Option<&RequestState> {
        let pending = self.slots.get(request.index as usize)?;
        (pending.serial == request.serial && request.lp == self.lp).then_some(pending)
    }

    pub(crate) fn get_mut(&mut self, request: Request) -> Option<&mut RequestState> {
        let pending = self.slots.get_mut(request.index as usize)?;
        (pending.serial == request.serial && request.lp == self.lp).then_some(pending)
    }

    /// The answer to the request in a slot is about to be queued, if its serial ends like this.
    pub(crate) fn answered(&mut self, index: u32, serial: u32) -> Option<Request> {
        let pending = self.slots.get_mut(index as usize)?;
        (pending.serial.get() as u32 == serial).then(|| {
            pending.stage = Stage::Completed;
            Request { lp: self.lp, serial: pending.serial, index }
        })
    }

    pub(crate) fn remove(&mut self, request: Request) -> Option<RequestState> {
        self.get_mut(request)?;
        Some(self.slots.remove(request.index as usize))
    }

    /// After a crowd has left, gives its room back. Says how many slots there are now, if there were more.
    pub(crate) fn shrink(&mut self) -> Option<usize> {
        super::table::shrink(&mut self.slots)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Request, &RequestState)> {
        let lp = self.lp;
        self.slots.iter().map(move |(index, pending)| {
            (Request { lp, serial: pending.serial, index: index as u32 }, pending)
        })
    }
}

impl Request {
    /// Takes the request back, if nobody has begun it: its callback then gets
    /// [`Error::Canceled`](crate::Error::Canceled), in the next deferred phase.
    ///
    /// Answers [`Error::AlreadyStarted`](crate::Error::AlreadyStarted) if it has begun or its answer is on its way: the
    /// callback then gets the real result. Answers [`Error::Closed`](crate::Error::Closed) if it was
    /// answered. May be called from any callback.
    pub fn cancel<S>(self, lp: &mut crate::Loop<S>) -> crate::Result {
        lp.cancel(self)
    }
}
