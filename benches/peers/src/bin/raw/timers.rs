//! `timers`: the cost of a general heap of deadlines, without waiting. A timer is a deadline and a number.

use std::{cmp::Reverse, collections::BinaryHeap, hint::black_box};

use ringback_peers::{Arguments, Meter, result};

use crate::Result;

pub fn timers(arguments: &Arguments) -> Result {
    let count: u32 = arguments.get("count");
    let spread = arguments.get_or("spread", 1) != 0;
    let mut fired = 0;
    let mut count_one = |number: u32| fired += u64::from(black_box(number) < count);
    // Opaque to the compiler, as a callback is.
    let callback: &mut dyn FnMut(u32) = black_box(&mut count_one);
    arguments.ready();
    let meter = Meter::start();
    let mut heap = BinaryHeap::new();
    for number in 0..count {
        let deadline = if spread { u64::from(number) / 1000 + 1 } else { 1 };
        heap.push(Reverse((deadline, number)));
    }
    let started = meter.cpu_ns();
    while let Some(Reverse((_, number))) = heap.pop() {
        callback(number);
    }
    let run = meter.cpu_ns();
    drop(heap);
    let freed = meter.cpu_ns();
    meter.report(fired);
    result("start_cpu_ns", started);
    result("run_cpu_ns", run - started);
    result("free_cpu_ns", freed - run);
    Ok(())
}
