//! Timers and turns: `timers`, `timer_churn`, `start_up`, `loop_count`.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use ringback_peers::{Arguments, Meter, Random, heap_bytes, result};
use tokio::{
    spawn,
    sync::Notify,
    task::{coop::unconstrained, yield_now},
    time::{Instant, Sleep, sleep, sleep_until},
};

use crate::{Result, new_runtime};

const CHURNED_PER_TURN: u64 = 1000;

/// Counts down, and notifies at zero.
pub struct Counter {
    left: AtomicU64,
    all: Notify,
}

impl Counter {
    pub fn new(count: u64) -> Arc<Counter> {
        Arc::new(Counter { left: AtomicU64::new(count), all: Notify::new() })
    }

    pub fn count(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all.notify_one();
        }
    }

    pub async fn all(&self) {
        self.all.notified().await;
    }
}

/// A timer is a task that sleeps. It starts when the task first runs, and is freed when it has fired.
pub async fn timers(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let spread = arguments.get_or("spread", 1) != 0;
    let (started, fired) = (Counter::new(count), Counter::new(count));
    arguments.ready();
    let meter = Meter::start();
    let begun = Instant::now();
    for index in 0..count {
        let due = begun + Duration::from_millis(if spread { index / 1000 + 1 } else { 1 });
        let (started, fired) = (started.clone(), fired.clone());
        spawn(async move {
            started.count();
            sleep_until(due).await;
            fired.count();
        });
    }
    started.all().await;
    let start_cpu = meter.cpu_ns();
    fired.all().await;
    let run_cpu = meter.cpu_ns();
    meter.report(count);
    result("start_cpu_ns", start_cpu);
    result("run_cpu_ns", run_cpu - start_cpu);
    result("free_cpu_ns", 0);
    Ok(())
}

/// Many timers in one task. Each is pinned in a box, as one writes a timeout that is restarted.
pub async fn churn(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let ops: u64 = arguments.get("ops");
    let mut random = Random::new(1);
    let mut timers = Vec::new();
    // `unconstrained` lifts the budget of polls per turn: polling a timer is what starts it.
    unconstrained(poll_fn(|context| {
        timers.extend((0..count).map(|_| start(far(&mut random), context)));
        Poll::Ready(())
    }))
    .await;
    yield_now().await;
    let heap_before = heap_bytes();
    arguments.ready();
    let meter = Meter::start();
    let mut done = 0;
    while done < ops {
        unconstrained(poll_fn(|context| {
            for _ in 0..CHURNED_PER_TURN.min(ops - done) {
                let timer = &mut timers[random.below(count) as usize];
                if random.below(10) < 9 {
                    timer.as_mut().reset(Instant::now() + far(&mut random));
                } else {
                    *timer = start(far(&mut random), context);
                }
            }
            Poll::Ready(())
        }))
        .await;
        done += CHURNED_PER_TURN.min(ops - done);
        yield_now().await;
    }
    meter.report(done);
    result("heap_bytes_before", heap_before);
    result("heap_bytes_after", heap_bytes());
    Ok(())
}

fn far(random: &mut Random) -> Duration {
    Duration::from_millis(30_000 + random.below(30_000))
}

fn start(after: Duration, context: &mut Context) -> Pin<Box<Sleep>> {
    let mut timer = Box::pin(sleep(after));
    let _ = timer.as_mut().poll(context);
    timer
}

/// The shortest sleep lasts until the next tick of tokio's millisecond clock.
pub fn start_up(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        new_runtime()?.block_on(async { sleep(Duration::ZERO).await });
    }
    meter.report(count);
    Ok(())
}

/// tokio polls a task that yields again only after it has polled the system.
pub async fn loop_count(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        yield_now().await;
    }
    meter.report(count);
    Ok(())
}
