//! What crosses threads: `async_pummel`, `post`, `queue_work`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use ringback_peers::{Arguments, Meter, result};
use tokio::{
    sync::{Notify, mpsc},
    task::{JoinSet, spawn_blocking},
};

use crate::Result;

const QUEUED_MAX: usize = 100_000;
const RECEIVED_AT_ONCE: usize = 1024;

pub async fn async_pummel(arguments: &Arguments) -> Result {
    let threads: usize = arguments.get("threads");
    let count: u64 = arguments.get("count");
    let notify = Arc::new(Notify::new());
    arguments.ready();
    let meter = Meter::start();
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (notify, over) = (notify.clone(), over.clone());
            thread::spawn(move || {
                let mut sends = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    notify.notify_one();
                    sends += 1;
                }
                sends
            })
        })
        .collect();
    for _ in 0..count {
        notify.notified().await;
    }
    over.store(true, Ordering::Relaxed);
    meter.report(count);
    result("sends", threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum::<u64>());
    Ok(())
}

pub async fn post(arguments: &Arguments) -> Result {
    let threads: u64 = arguments.get("threads");
    let count: u64 = arguments.get("count");
    let (sender, mut receiver) = mpsc::channel::<u64>(QUEUED_MAX);
    arguments.ready();
    let meter = Meter::start();
    for number in 0..threads {
        let sender = sender.clone();
        thread::spawn(move || {
            for value in (number..count).step_by(threads as usize) {
                while sender.try_send(value).is_err() {
                    thread::yield_now();
                }
            }
        });
    }
    drop(sender);
    let mut sum = 0;
    let mut batch = Vec::with_capacity(RECEIVED_AT_ONCE);
    while receiver.recv_many(&mut batch, RECEIVED_AT_ONCE).await > 0 {
        sum += batch.drain(..).sum::<u64>();
    }
    meter.report(count);
    assert_eq!(sum, count * (count - 1) / 2);
    Ok(())
}

/// One task for each job in flight.
pub async fn queue_work(arguments: &Arguments) -> Result {
    let depth: u64 = arguments.get("depth");
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    let queued = Arc::new(AtomicU64::new(0));
    let mut chains = JoinSet::new();
    for seed in 0..depth {
        let queued = queued.clone();
        chains.spawn(async move {
            let mut state = seed;
            while queued.fetch_add(1, Ordering::Relaxed) < count {
                state = spawn_blocking(move || step(state)).await.expect("it does not panic");
            }
        });
    }
    chains.join_all().await;
    meter.report(count);
    Ok(())
}

fn step(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}
