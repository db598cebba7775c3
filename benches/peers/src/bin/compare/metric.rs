//! Peers, metrics and goals.

use std::collections::BTreeMap;

use crate::stats::Spread;

/// A program that is measured. The order is that of the columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Peer {
    Ringback,
    Libuv,
    Raw,
    Mio,
    Tokio,
    Calloop,
}

impl Peer {
    pub const ALL: [Peer; 6] =
        [Peer::Ringback, Peer::Libuv, Peer::Raw, Peer::Mio, Peer::Tokio, Peer::Calloop];
    /// ringback, and the peers that goals are stated against.
    pub const MAIN: [Peer; 3] = [Peer::Ringback, Peer::Libuv, Peer::Raw];

    pub fn program(self) -> &'static str {
        match self {
            Peer::Ringback => "ringback",
            Peer::Libuv => "libuv",
            Peer::Raw => "raw",
            Peer::Mio => "mio",
            Peer::Tokio => "tokio",
            Peer::Calloop => "calloop",
        }
    }

    /// The name of its column in the table and in the JSON.
    pub fn column(self) -> &'static str {
        if self == Peer::Ringback { "ours" } else { self.program() }
    }
}

/// One operation of a workload. `size` of the operations that a peer counts are one of these.
#[derive(Clone, Copy)]
pub struct Operation {
    pub one: &'static str,
    pub many: &'static str,
    pub size: f64,
}

impl Operation {
    pub const fn new(one: &'static str, many: &'static str) -> Operation {
        Operation { one, many, size: 1.0 }
    }

    pub const MEBIBYTE: Operation = Operation { one: "MiB", many: "MiB", size: (1 << 20) as f64 };
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Metric {
    /// CPU time of the measured process, all threads.
    Cpu,
    /// Wall-clock time.
    Time,
    Throughput,
    P50,
    P99,
    P99_9,
    /// Counted in a run of its own.
    SystemCalls,
    /// Counted in a run of its own.
    Allocations,
    HeapBytes,
    /// Heap bytes after the operations, divided by heap bytes before them.
    HeapGrowth,
}

impl Metric {
    pub const LATENCIES: [Metric; 3] = [Metric::P50, Metric::P99, Metric::P99_9];

    pub fn name(self, operation: &Operation) -> String {
        let one = operation.one;
        match self {
            Metric::Cpu => format!("CPU per {one}"),
            Metric::Time => format!("time per {one}"),
            Metric::Throughput => "throughput".to_owned(),
            Metric::P50 => "latency p50".to_owned(),
            Metric::P99 => "latency p99".to_owned(),
            Metric::P99_9 => "latency p99.9".to_owned(),
            Metric::SystemCalls => format!("system calls per {one}"),
            Metric::Allocations => format!("allocations per {one}"),
            Metric::HeapBytes => format!("heap per {one}"),
            Metric::HeapGrowth => "heap after ÷ before".to_owned(),
        }
    }

    pub fn unit(self, operation: &Operation) -> String {
        match self {
            Metric::Cpu | Metric::Time | Metric::P50 | Metric::P99 | Metric::P99_9 => "ns".to_owned(),
            Metric::Throughput => format!("{}/s", operation.many),
            Metric::HeapBytes => "bytes".to_owned(),
            Metric::SystemCalls | Metric::Allocations | Metric::HeapGrowth => String::new(),
        }
    }

    pub fn less_is_better(self) -> bool {
        self != Metric::Throughput
    }

    /// Returns whether a run of its own counts it, and not the paired runs.
    pub fn is_counted(self) -> bool {
        matches!(self, Metric::SystemCalls | Metric::Allocations)
    }

    /// Returns the figure of a paired run, if the run has it.
    pub fn of(self, sample: &Sample, operation: &Operation) -> Option<f64> {
        let figure = |key: &str| sample.results.get(key).copied();
        let per_operation = |key: &str| Some(figure(key)? / (figure("ops")? / operation.size));
        let value = match self {
            Metric::Cpu => per_operation("cpu_ns"),
            Metric::Time => per_operation("wall_ns"),
            Metric::Throughput => Some(figure("ops")? / operation.size / (figure("wall_ns")? / 1e9)),
            Metric::P50 => figure("p50_ns"),
            Metric::P99 => figure("p99_ns"),
            Metric::P99_9 => figure("p99_9_ns"),
            Metric::SystemCalls | Metric::Allocations => None,
            Metric::HeapBytes => per_operation("heap_bytes"),
            Metric::HeapGrowth => Some(figure("heap_bytes_after")? / figure("heap_bytes_before")?),
        };
        value.filter(|value| value.is_finite())
    }
}

/// The results that one run printed.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub results: BTreeMap<String, f64>,
    /// Each is a quantile and its latency in nanoseconds.
    pub quantiles: Vec<(f64, f64)>,
}

impl Sample {
    pub fn take(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(key), Some(value)) = (words.next(), words.next(), words.next()) else { return };
        let Ok(value) = value.parse::<f64>() else { return };
        match kind {
            "result" => {
                self.results.insert(key.to_owned(), value);
            }
            "quantile" => {
                if let Ok(part) = key.parse() {
                    self.quantiles.push((part, value));
                }
            }
            _ => {}
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Against {
    Peer(Peer),
    /// ringback itself, in the case's baseline run.
    Baseline,
    /// Nothing: the figure is a ratio already.
    Itself,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// At least so many times better.
    AtLeast(f64),
    /// At most so many times the cost.
    AtMost(f64),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Goal {
    pub bound: Bound,
    pub against: Against,
}

/// A goal to be `times` times better than a peer.
pub const fn better(times: f64, peer: Peer) -> Goal {
    Goal { bound: Bound::AtLeast(times), against: Against::Peer(peer) }
}

/// A goal to cost at most `times` times as much as the other.
pub const fn at_most(times: f64, against: Against) -> Goal {
    Goal { bound: Bound::AtMost(times), against }
}

impl Goal {
    pub fn text(&self) -> String {
        match self.bound {
            Bound::AtLeast(times) => format!("≥ {times}"),
            Bound::AtMost(times) => format!("≤ {times}"),
        }
    }

    pub fn value(&self) -> f64 {
        match self.bound {
            Bound::AtLeast(times) | Bound::AtMost(times) => times,
        }
    }

    pub fn met(&self, ratio: &Spread) -> bool {
        match self.bound {
            Bound::AtLeast(times) => ratio.median >= times,
            Bound::AtMost(times) => ratio.median <= times,
        }
    }
}

/// Returns the ratio that a bound is about. `AtLeast` counts how many times ours is better, `AtMost` how many
/// times the other's figure ours is. Baseline a bound, returns how many times ours is better.
pub fn ratio(metric: Metric, bound: Option<Bound>, ours: f64, other: f64) -> Option<f64> {
    let wants_less = matches!(bound, Some(Bound::AtMost(_)));
    let ratio = if wants_less == metric.less_is_better() { ours / other } else { other / ours };
    (ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread { median, low: median, high: median }
    }

    #[test]
    fn at_least_counts_how_many_times_better() {
        let bound = Some(Bound::AtLeast(1.5));
        assert_eq!(ratio(Metric::Cpu, bound, 2.0, 6.0), Some(3.0));
        assert_eq!(ratio(Metric::Throughput, bound, 6.0, 2.0), Some(3.0));
        assert_eq!(ratio(Metric::Cpu, None, 2.0, 6.0), Some(3.0));
    }

    #[test]
    fn at_most_counts_how_many_times_the_cost() {
        let bound = Some(Bound::AtMost(1.05));
        assert_eq!(ratio(Metric::P50, bound, 21.0, 20.0), Some(1.05));
        assert_eq!(ratio(Metric::Throughput, bound, 20.0, 21.0), Some(1.05));
    }

    #[test]
    fn a_ratio_to_zero_is_none() {
        assert_eq!(ratio(Metric::Cpu, None, 0.0, 1.0), None);
        assert_eq!(ratio(Metric::Cpu, None, 1.0, 0.0), None);
        assert_eq!(ratio(Metric::Cpu, None, 0.0, 0.0), None);
    }

    #[test]
    fn a_goal_is_met_at_its_bound() {
        let goal = better(1.5, Peer::Libuv);
        assert!(goal.met(&spread(1.5)) && goal.met(&spread(2.0)) && !goal.met(&spread(1.499)));
        let goal = at_most(1.05, Against::Peer(Peer::Raw));
        assert!(goal.met(&spread(1.05)) && goal.met(&spread(0.9)) && !goal.met(&spread(1.0501)));
        assert_eq!(goal.text(), "≤ 1.05");
    }

    #[test]
    fn a_sample_ignores_lines_it_does_not_know() {
        let mut sample = Sample::default();
        for line in ["ready", "result ops 12", "result cpu_ns 3.5", "quantile 0.99 120", "other words here"] {
            sample.take(line);
        }
        assert_eq!(sample.results["ops"], 12.0);
        assert_eq!(sample.results["cpu_ns"], 3.5);
        assert_eq!(sample.quantiles, [(0.99, 120.0)]);
    }

    #[test]
    fn figures_are_per_operation() {
        let results = [("ops", 2_097_152.0), ("wall_ns", 1e9), ("cpu_ns", 5e8)];
        let results = results.map(|(key, value)| (key.to_owned(), value)).into();
        let sample = Sample { results, quantiles: vec![] };
        assert_eq!(Metric::Cpu.of(&sample, &Operation::MEBIBYTE), Some(2.5e8));
        assert_eq!(Metric::Throughput.of(&sample, &Operation::MEBIBYTE), Some(2.0));
        assert_eq!(Metric::P50.of(&sample, &Operation::MEBIBYTE), None);
    }
}
