//! Timeouts: of connecting, and of a connection on which no byte is moved.

use std::time::Duration;

use super::{drive::finish_connect, read::deliver, state::State};
use crate::{
    Loop,
    error::{Error, Result},
    event_loop::Core,
    handle::Handle,
    time::nanos,
};

pub(crate) fn set_idle_limit(core: &mut Core, handle: Handle, limit: Option<Duration>) -> Result {
    let op = "set an idle timeout";
    let limit = match limit.map(nanos) {
        Some(0) => return Err(Error::invalid(op, "a limit of zero leaves no time for anything")),
        limit => limit.unwrap_or(0),
    };
    let state = core.require::<State>(handle, op)?;
    if limit > 0 || state.existing_cold().is_some() {
        state.cold().idle_limit = limit;
    }
    touch(core, handle);
    arm_idle(core, handle);
    Ok(())
}

pub(super) fn touch(core: &mut Core, handle: Handle) {
    let now = core.deadline_after(Duration::ZERO);
    if let Some(state) = core.get::<State>(handle) {
        state.touch(now);
    }
}

/// Sets the deadline of the idle timeout. Bytes that are moved do not postpone it, which would cost more than
/// moving them. Instead, when it passes, it is set to where it should be by then.
pub(super) fn arm_idle(core: &mut Core, handle: Handle) {
    let Some(cold) = core.get::<State>(handle).and_then(|state| state.existing_cold()) else { return };
    if cold.connecting.is_some() {
        return;
    }
    match cold.idle_limit {
        0 => core.clear_deadline(handle),
        limit => {
            let due = cold.last_activity.saturating_add(limit);
            core.set_deadline(handle, due);
        }
    }
}

pub(super) fn on_deadline<S>(lp: &mut Loop<S>, state: &mut S, handle: Handle) -> Result {
    let now = lp.core.now();
    let Some(cold) = lp.core.get::<State>(handle).and_then(|stream| stream.existing_cold()) else {
        return Ok(());
    };
    if cold.connecting.is_some() {
        let limit = Duration::from_nanos(cold.connect_limit);
        finish_connect(&mut lp.core, handle, Err(Error::TimedOut { op: "connect", limit }));
        return Ok(());
    }
    if now < cold.last_activity.saturating_add(cold.idle_limit) {
        arm_idle(&mut lp.core, handle);
        return Ok(());
    }
    let error = Error::TimedOut { op: "idle", limit: Duration::from_nanos(cold.idle_limit) };
    if !lp.has_callback(handle) {
        return lp.fail(state, handle, error);
    }
    // Before the callback, which may set another limit.
    touch(&mut lp.core, handle);
    arm_idle(&mut lp.core, handle);
    deliver(lp, state, handle, Err(Box::new(error)))
}
