//! Self-checks: walks every structure and asserts every invariant.

use std::collections::BTreeMap;

use super::Loop;

impl<S> Loop<S> {
    /// Panics if an invariant of the loop does not hold. For tests, and to find a bug in the loop.
    ///
    /// Takes time in proportion to the handles and requests. May be called inside a callback.
    pub fn verify(&self) {
        let core = &self.core;
        core.table.verify();
        core.deadlines.verify();
        core.hooks.iter().for_each(crate::queue::rounds::Rounds::verify);
        core.backend.verify();
        core.verify_closing();
        core.shared.verify();

        let mut owned = BTreeMap::new();
        for (_, pending) in core.requests.iter() {
            *owned.entry(pending.owner).or_insert(0_u32) += 1;
        }
        for (handle, slot) in core.table.iter() {
            assert_eq!(
                owned.get(&Some(handle)).copied().unwrap_or(0),
                slot.requests,
                "requests are counted: {handle:?}"
            );
            slot.body.verify(core, handle);
        }
        for (request, pending) in core.requests.iter() {
            let has_completion = self.completions.get(request.index as usize).is_some_and(Option::is_some);
            assert!(has_completion || pending.internal, "a request has a completion: {request:?}");
        }
        for (index, callback) in self.callbacks.iter().enumerate() {
            if callback.is_some() {
                assert!(core.table.at(index as u32).is_some(), "a callback has a handle");
            }
        }
        assert!(core.notified_done <= core.notified.len(), "dispatched notifications are among the notified");
        assert!(core.ready_done <= core.ready.len(), "dispatched events are among the ready");
    }
}
