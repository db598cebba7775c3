//! Three programs in a world that misbehaves, and the contract that the loop has with them: what `tests/sim/` does with
//! seeds, but it is the bytes that say what the programs do, and what happens to them.

use std::{collections::BTreeSet, rc::Rc};

use crate::{model, program::Plan, random};

/// The target.
pub fn programs(bytes: &[u8]) {
    let [seed, acts @ ..] = bytes else { return };
    random::feed(acts);
    let plan = Rc::new(Plan::new(u64::from(*seed), BTreeSet::new()));
    let result = model::run(&plan);
    random::feed(&[]);
    if let Err(broken) = result {
        let model::Broken { wrong, world } = *broken;
        let timeline = world.map(|world| world.timeline().last(60).to_string()).unwrap_or_default();
        panic!("the contract is broken: {wrong}\n\n{}\n{timeline}", plan.carried_out().join("\n"));
    }
}
