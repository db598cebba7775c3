//! Three programs in a world that misbehaves, against the contract of `tests/sim/`. There a seed decides what
//! the programs do and what happens to them; here the bytes do.

use std::{collections::BTreeSet, rc::Rc};

use crate::{model, program::Plan, random};

/// The target.
pub fn programs(bytes: &[u8]) {
    let [seed, ops @ ..] = bytes else { return };
    random::feed(ops);
    let plan = Rc::new(Plan::new(u64::from(*seed), BTreeSet::new()));
    let result = model::run(&plan);
    random::feed(&[]);
    if let Err(breach) = result {
        let model::Breach { violation, world } = *breach;
        let timeline = world.map(|world| world.timeline().last(60).to_string()).unwrap_or_default();
        panic!("the contract is broken: {violation}\n\n{}\n{timeline}", plan.carried_out().join("\n"));
    }
}
