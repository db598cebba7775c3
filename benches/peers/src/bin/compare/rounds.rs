//! Paired runs: the peers take turns, so that whatever else the machine does affects all of them alike.

use std::collections::BTreeMap;

use crate::{
    interrupt,
    metric::{Against, Bound, Metric, Peer, Sample, ratio},
    progress::Progress,
    run::{Bench, Failure, Side},
    stats::{Spread, median},
    suite::{Case, Scale},
};

/// The results of all rounds of a case. A side that failed once is not run again.
#[derive(Default)]
pub struct Measured {
    samples: BTreeMap<Side, Vec<Sample>>,
    pub failures: BTreeMap<Side, Failure>,
}

/// Runs every side of a case once a round: A B C, C B A, A B C …
pub fn measure(bench: &Bench, case: &Case, scale: Scale, pairs: usize, progress: &mut Progress) -> Measured {
    let mut measured = Measured::default();
    for round in 0..pairs {
        let mut sides = sides(case);
        if round % 2 == 1 {
            sides.reverse();
        }
        for side in sides {
            if round >= scale.rounds_of(side.peer(), pairs) {
                continue;
            }
            progress.run(&format!("pair {}/{pairs} · {}", round + 1, name(case, side)), case.about_seconds);
            if !measured.failures.contains_key(&side) && !interrupt::requested() {
                measured.take(side, bench.measure(case, side));
            }
        }
    }
    measured
}

pub fn sides(case: &Case) -> Vec<Side> {
    let mut sides: Vec<Side> = case.peers.iter().copied().map(Side::Peer).collect();
    if case.baseline.is_some() {
        sides.insert(1, Side::Baseline);
    }
    sides
}

fn name(case: &Case, side: Side) -> String {
    match (side, &case.baseline) {
        (Side::Baseline, Some((_, what))) => format!("{} {what}", side.peer().program()),
        _ => side.peer().program().to_owned(),
    }
}

impl Measured {
    pub fn take(&mut self, side: Side, attempt: Result<Sample, Failure>) {
        match attempt {
            Ok(sample) => self.samples.entry(side).or_default().push(sample),
            Err(failure) => {
                self.failures.insert(side, failure);
            }
        }
    }

    /// Returns a side's figures, one for each round. Empty if it failed in any round.
    fn figures(&self, case: &Case, metric: Metric, side: Side) -> Vec<f64> {
        if self.failures.contains_key(&side) {
            return Vec::new();
        }
        let samples = self.samples.get(&side).into_iter().flatten();
        samples.filter_map(|sample| metric.of(sample, &case.operation)).collect()
    }

    pub fn median(&self, case: &Case, metric: Metric, peer: Peer) -> Option<f64> {
        median(&self.figures(case, metric, Side::Peer(peer)))
    }

    /// Returns the spread of the ratios of ours to another, round by round.
    pub fn ratio(
        &self,
        case: &Case,
        metric: Metric,
        bound: Option<Bound>,
        against: Against,
    ) -> Option<Spread> {
        let ours = self.figures(case, metric, Side::Peer(Peer::Ringback));
        let others = match against {
            Against::Peer(peer) => self.figures(case, metric, Side::Peer(peer)),
            Against::Baseline => self.figures(case, metric, Side::Baseline),
            Against::Itself => vec![1.0; ours.len()],
        };
        let pairs = ours.into_iter().zip(others);
        let ratios: Vec<f64> = pairs.filter_map(|(ours, other)| ratio(metric, bound, ours, other)).collect();
        Spread::of(&ratios)
    }

    /// Returns a peer's latency quantiles: for each quantile, the median of the rounds.
    pub fn quantiles(&self, peer: Peer) -> Vec<(f64, f64)> {
        let mut latencies: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for sample in self.samples.get(&Side::Peer(peer)).into_iter().flatten() {
            for (part, latency) in &sample.quantiles {
                // Quantiles are from 0 to 1, where floats and their bits have the same order.
                latencies.entry(part.to_bits()).or_default().push(*latency);
            }
        }
        let medians =
            latencies.into_iter().map(|(part, values)| Some((f64::from_bits(part), median(&values)?)));
        medians.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{run::failed, suite};

    fn sample(cpu: f64) -> Sample {
        let results = [("ops", 10.0), ("cpu_ns", cpu)].map(|(key, value)| (key.to_owned(), value));
        Sample { results: results.into(), quantiles: vec![(0.5, cpu), (0.99, 2.0 * cpu)] }
    }

    fn measured() -> (Case, Measured) {
        let mut measured = Measured::default();
        for (ours, libuv) in [(10.0, 20.0), (20.0, 60.0), (10.0, 100.0)] {
            measured.take(Side::Peer(Peer::Ringback), Ok(sample(ours)));
            measured.take(Side::Peer(Peer::Libuv), Ok(sample(libuv)));
        }
        (suite::cases(Scale { quick: true }).remove(0), measured)
    }

    #[test]
    fn ratios_are_taken_pair_by_pair() {
        let (case, measured) = measured();
        let ratio = measured.ratio(&case, Metric::Cpu, None, Against::Peer(Peer::Libuv));
        assert_eq!(ratio, Some(Spread { median: 3.0, low: 2.0, high: 10.0 }));
        assert_eq!(measured.ratio(&case, Metric::Cpu, None, Against::Peer(Peer::Raw)), None);
        assert_eq!(measured.median(&case, Metric::Cpu, Peer::Ringback), Some(1.0));
        assert_eq!(measured.quantiles(Peer::Libuv), [(0.5, 60.0), (0.99, 120.0)]);
    }

    #[test]
    fn a_side_that_failed_once_has_no_figures() {
        let (case, mut measured) = measured();
        measured.take(Side::Peer(Peer::Libuv), Err(failed("it crashed")));
        assert_eq!(measured.median(&case, Metric::Cpu, Peer::Libuv), None);
        assert_eq!(measured.ratio(&case, Metric::Cpu, None, Against::Peer(Peer::Libuv)), None);
    }
}
