//! Requests: operations that complete once.
//!
//! Each one completes exactly once: it succeeds, fails or is cancelled. That never happens inside the call
//! that made it, and always before the close callback of its handle. A request keeps the loop alive, whether
//! its handle is referenced or not.

use std::{fmt, num::NonZeroU64, panic::Location};

use super::{Handle, Kind};
use crate::queue::slots::{Numbered, SlotId, Slots};

/// The id of a request in flight: a file operation, work on the pool, a deferred closure.
///
/// A plain copy, like a [`Handle`]. Needed only to [`cancel`](Request::cancel) the request; dropping it does
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    pub(crate) lp: u32,
    pub(crate) serial: NonZeroU64,
    pub(crate) index: u32,
}

impl From<SlotId> for Request {
    #[inline]
    fn from(SlotId { container: lp, serial, index }: SlotId) -> Request {
        Request { lp, serial, index }
    }
}

impl From<Request> for SlotId {
    #[inline]
    fn from(Request { lp: container, serial, index }: Request) -> SlotId {
        SlotId { container, serial, index }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Request({}.{}@{})", self.lp, self.serial, self.index)
    }
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not completed, and not in the pool's queue.
    InFlight,
    /// Submitted to the pool, under this ticket. A worker may have started it.
    Queued(u64),
    /// Its result is queued for the callback.
    Completed,
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct RequestState {
    serial: NonZeroU64,
    pub(crate) owner: Option<Handle>,
    pub(crate) kind: Kind,
    pub(crate) op: &'static str,
    pub(crate) started_at: &'static Location<'static>,
    pub(crate) stage: Stage,
    /// Cancelled after it was completed: its callback is dropped.
    pub(crate) canceled: bool,
    /// The loop's own: it has no callback.
    pub(crate) internal: bool,
}

impl Numbered for RequestState {
    #[inline]
    fn serial(&self) -> NonZeroU64 {
        self.serial
    }
}

/// Every request of one loop whose callback has not been called yet.
#[derive(Debug)]
pub(crate) struct Requests {
    slots: Slots<RequestState>,
}

impl Requests {
    pub(crate) fn new(lp: u32) -> Requests {
        Requests { slots: Slots::new(lp) }
    }

    pub(crate) fn insert(
        &mut self,
        owner: Option<Handle>,
        kind: Kind,
        op: &'static str,
        started_at: &'static Location<'static>,
    ) -> Request {
        let state = |id: SlotId| RequestState {
            serial: id.serial,
            owner,
            kind,
            op,
            started_at,
            stage: Stage::InFlight,
            canceled: false,
            internal: false,
        };
        self.slots.insert_with(state).into()
    }

    pub(crate) fn get(&self, request: Request) -> Option<&RequestState> {
        self.slots.get(request.into())
    }

    pub(crate) fn get_mut(&mut self, request: Request) -> Option<&mut RequestState> {
        self.slots.get_mut(request.into())
    }

    /// Marks the request in a slot as completed, if the low half of its serial number is this one.
    pub(crate) fn complete(&mut self, index: u32, serial: u32) -> Option<Request> {
        let (id, state) = self.slots.at_mut(index)?;
        (id.serial.get() as u32 == serial).then(|| {
            state.stage = Stage::Completed;
            id.into()
        })
    }

    pub(crate) fn remove(&mut self, request: Request) -> Option<RequestState> {
        self.slots.remove(request.into())
    }

    /// Releases unused slots at the end after a burst. Returns the new capacity if it shrank.
    pub(crate) fn shrink(&mut self) -> Option<usize> {
        self.slots.shrink()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Request, &RequestState)> {
        self.slots.iter().map(|(id, state)| (id.into(), state))
    }
}
