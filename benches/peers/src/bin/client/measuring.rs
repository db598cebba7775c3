//! The measurement of any load: how long it lasts, how long each exchange takes, and the CPU time of the
//! server.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use ringback_peers::{Arguments, announce, cpu_of_process, result};

/// Time for the server to block. While a thread runs, the kernel reports its CPU time as of the last tick.
const SETTLE: Duration = Duration::from_millis(5);
/// A longer latency is recorded as this one.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// Denser towards the tail, because the plot's axis is logarithmic there.
const QUANTILES: [f64; 40] = [
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.975, 0.98,
    0.985, 0.99, 0.9925, 0.995, 0.996, 0.997, 0.998, 0.9985, 0.999, 0.9993, 0.9995, 0.9997, 0.9998, 0.9999,
    0.99993, 0.99995, 0.99997, 0.99998, 0.99999, 0.999995, 0.999999, 1.0,
];

/// A kind of exchange with the server.
pub trait Load {
    /// The number of operations that one exchange counts as.
    fn ops_per_exchange(&self) -> u64;

    /// Starts exchanges for as long as `stint` allows. Returns when the last one is complete and none is in
    /// flight.
    fn run(&mut self, stint: &mut Stint) -> Result<(), Box<dyn Error>>;
}

enum Limit {
    Time(Instant),
    /// The number of exchanges that may still start.
    Exchanges(u64),
}

/// One run of a load: its limit, and the latencies.
pub struct Stint {
    limit: Limit,
    latencies: Histogram<u64>,
}

impl Stint {
    fn new(limit: Limit) -> Stint {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("the bounds are constants");
        Stint { limit, latencies }
    }

    /// Returns whether another exchange may start at `now`.
    pub fn may_start(&mut self, now: Instant) -> bool {
        match &mut self.limit {
            Limit::Time(end) => now < *end,
            Limit::Exchanges(0) => false,
            Limit::Exchanges(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// Records a complete exchange.
    pub fn done(&mut self, latency: Duration) {
        self.latencies.saturating_record(latency.as_nanos() as u64);
    }
}

/// Warms the server up, runs the load, and prints the results.
pub fn measure(arguments: &Arguments, load: &mut impl Load) -> Result<(), Box<dyn Error>> {
    let warm = Duration::from_millis(arguments.get_or("warm_ms", 300));
    let server = arguments.text("pid").map(|_| arguments.get::<u32>("pid"));
    let ops = arguments.text("ops").map(|_| arguments.get::<u64>("ops"));

    if !warm.is_zero() {
        load.run(&mut Stint::new(Limit::Time(Instant::now() + warm)))?;
    }
    thread::sleep(SETTLE);
    arguments.ready();
    let cpu_before = server.map(cpu).transpose()?;
    let begun = Instant::now();
    let mut stint = Stint::new(match ops {
        Some(ops) => Limit::Exchanges(ops.div_ceil(load.ops_per_exchange())),
        None => Limit::Time(begun + Duration::from_secs_f64(arguments.get_or("seconds", 1.0))),
    });
    load.run(&mut stint)?;
    let wall = begun.elapsed();
    thread::sleep(SETTLE);
    let cpu_after = server.map(cpu).transpose()?;

    result("ops", stint.latencies.len() * load.ops_per_exchange());
    result("wall_ns", wall.as_nanos());
    if let (Some(before), Some(after)) = (cpu_before, cpu_after) {
        result("cpu_ns", (after - before).as_nanos());
    }
    print_latencies(&stint.latencies);
    Ok(())
}

fn cpu(server: u32) -> Result<Duration, String> {
    cpu_of_process(server).ok_or_else(|| format!("there is no process {server}"))
}

fn print_latencies(latencies: &Histogram<u64>) {
    for (key, quantile) in [("p50_ns", 0.5), ("p99_ns", 0.99), ("p99_9_ns", 0.999)] {
        result(key, latencies.value_at_quantile(quantile));
    }
    result("max_ns", latencies.max());
    for quantile in QUANTILES {
        announce(&format!("quantile {quantile} {}", latencies.value_at_quantile(quantile)));
    }
}
