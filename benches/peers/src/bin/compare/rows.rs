//! Turns measurements into the rows of the table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    counting::Counts,
    metric::{Against, Bound, Goal, Metric, Peer, ratio},
    rounds::Measured,
    run::{Attempt, Failure, Side},
    stats::Spread,
    suite::Case,
};

/// One metric of one workload in one size: the figure of every peer, and the goal, if it has one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub workload: String,
    pub size: String,
    pub metric: String,
    pub unit: String,
    pub ours: Option<f64>,
    pub libuv: Option<f64>,
    pub raw: Option<f64>,
    pub mio: Option<f64>,
    pub tokio: Option<f64>,
    pub calloop: Option<f64>,
    /// What the ratio is to.
    pub against: Option<String>,
    pub ratio: Option<Spread>,
    /// "≥ 1.5": be at least so many times better. "≤ 1.05": cost at most so many times as much.
    pub goal: Option<String>,
    pub goal_value: Option<f64>,
    pub goal_is_a_limit: bool,
    /// `None` without a goal, or if it could not be measured.
    pub met: Option<bool>,
    /// By column: why there is no figure, or what it consists of.
    pub notes: BTreeMap<String, String>,
    /// The columns of the peers that failed.
    pub failed: Vec<String>,
}

impl Row {
    pub fn figure(&self, peer: Peer) -> Option<f64> {
        match peer {
            Peer::Ringback => self.ours,
            Peer::Libuv => self.libuv,
            Peer::Raw => self.raw,
            Peer::Mio => self.mio,
            Peer::Tokio => self.tokio,
            Peer::Calloop => self.calloop,
        }
    }

    fn figure_mut(&mut self, peer: Peer) -> &mut Option<f64> {
        match peer {
            Peer::Ringback => &mut self.ours,
            Peer::Libuv => &mut self.libuv,
            Peer::Raw => &mut self.raw,
            Peer::Mio => &mut self.mio,
            Peer::Tokio => &mut self.tokio,
            Peer::Calloop => &mut self.calloop,
        }
    }

    pub fn greatest(&self) -> f64 {
        Peer::ALL.iter().filter_map(|&peer| self.figure(peer)).fold(0.0, f64::max)
    }

    fn new(case: &Case, metric: Metric, goal: Option<Goal>) -> Row {
        Row {
            workload: case.workload.to_owned(),
            size: case.size.clone(),
            metric: metric.name(&case.operation),
            unit: metric.unit(&case.operation),
            ours: None,
            libuv: None,
            raw: None,
            mio: None,
            tokio: None,
            calloop: None,
            against: None,
            ratio: None,
            goal: goal.map(|goal| goal.text()),
            goal_value: goal.map(|goal| goal.value()),
            goal_is_a_limit: goal.is_some_and(|goal| matches!(goal.bound, Bound::AtMost(_))),
            met: None,
            notes: BTreeMap::new(),
            failed: Vec::new(),
        }
    }
}

/// The latency quantiles of one case, for each peer.
#[derive(Clone, Serialize, Deserialize)]
pub struct Latencies {
    pub workload: String,
    pub size: String,
    pub series: Vec<LatencySeries>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct LatencySeries {
    pub peer: String,
    /// Each is a quantile and its latency in nanoseconds.
    pub quantiles: Vec<(f64, f64)>,
}

pub type Counted = BTreeMap<Peer, Attempt<Counts>>;

pub fn rows(case: &Case, measured: &Measured, counted: &Counted) -> Vec<Row> {
    let row = |&(metric, goal): &(Metric, Option<Goal>)| {
        if metric.is_counted() {
            counted_row(case, counted, metric)
        } else {
            row(case, measured, metric, goal)
        }
    };
    case.rows.iter().map(row).collect()
}

fn row(case: &Case, measured: &Measured, metric: Metric, goal: Option<Goal>) -> Row {
    let mut row = Row::new(case, metric, goal);
    for &peer in case.peers {
        *row.figure_mut(peer) = measured.median(case, metric, peer);
        if let Some(failure) = measured.failures.get(&Side::Peer(peer)) {
            note(&mut row, peer, failure);
        }
    }
    let against = goal.map_or(Against::Peer(Peer::Libuv), |goal| goal.against);
    row.ratio = measured.ratio(case, metric, goal.map(|goal| goal.bound), against);
    if goal.is_some() || row.ratio.is_some() {
        row.against = Some(name(case, against));
    }
    row.met = goal.zip(row.ratio).map(|(goal, ratio)| goal.met(&ratio));
    row
}

fn name(case: &Case, against: Against) -> String {
    match (against, &case.baseline) {
        (Against::Peer(peer), _) => peer.program().to_owned(),
        (Against::Baseline, Some((_, what))) => format!("ours {what}"),
        (Against::Baseline | Against::Itself, _) => "itself".to_owned(),
    }
}

fn note(row: &mut Row, peer: Peer, failure: &Failure) {
    if let Failure::Failed(reason) = failure {
        row.notes.insert(peer.column().to_owned(), reason.clone());
        row.failed.push(peer.column().to_owned());
    }
}

fn counted_row(case: &Case, counted: &Counted, metric: Metric) -> Row {
    let mut row = Row::new(case, metric, None);
    for (&peer, counts) in counted {
        match counts {
            Ok(counts) => {
                *row.figure_mut(peer) = counts.of(metric);
                if metric == Metric::SystemCalls && !counts.named.is_empty() {
                    row.notes.insert(peer.column().to_owned(), counts.named.clone());
                }
            }
            Err(failure) => note(&mut row, peer, failure),
        }
    }
    // Near zero a ratio means nothing.
    let pair = row.ours.zip(row.libuv).filter(|&(ours, libuv)| ours.min(libuv) >= 0.01);
    row.ratio =
        pair.and_then(|(ours, libuv)| ratio(metric, None, ours, libuv)).and_then(|it| Spread::of(&[it]));
    row.against = row.ratio.map(|_| Peer::Libuv.program().to_owned());
    row
}

pub fn latencies(case: &Case, measured: &Measured) -> Option<Latencies> {
    let series = |&peer: &Peer| {
        let quantiles = measured.quantiles(peer);
        (!quantiles.is_empty()).then(|| LatencySeries { peer: peer.column().to_owned(), quantiles })
    };
    let series: Vec<_> = case.peers.iter().filter_map(series).collect();
    let drawn = case.draws_latencies && !series.is_empty();
    drawn.then(|| Latencies { workload: case.workload.to_owned(), size: case.size.clone(), series })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metric::{Sample, at_most, better},
        run::failed,
        suite::{Scale, cases},
    };

    fn sample(cpu: f64) -> Attempt<Sample> {
        let results = [("ops", 10.0), ("cpu_ns", cpu)].map(|(key, value)| (key.to_owned(), value));
        Ok(Sample { results: results.into(), quantiles: vec![] })
    }

    #[test]
    fn a_row_has_the_ratio_of_its_goal() {
        let mut case = cases(Scale { quick: true }).remove(0);
        let mut measured = Measured::default();
        measured.take(Side::Peer(Peer::Ringback), sample(20.0));
        measured.take(Side::Peer(Peer::Libuv), sample(40.0));
        measured.take(Side::Peer(Peer::Raw), sample(16.0));
        measured.take(Side::Peer(Peer::Mio), Err(failed("it crashed")));
        measured.take(Side::Peer(Peer::Tokio), Err(Failure::Missing));
        case.rows = vec![
            (Metric::Cpu, Some(better(2.0, Peer::Libuv))),
            (Metric::Cpu, Some(at_most(1.05, Against::Peer(Peer::Raw)))),
            (Metric::P50, None),
        ];
        let rows = rows(&case, &measured, &Counted::new());
        assert_eq!((rows[0].ratio.unwrap().median, rows[0].met), (2.0, Some(true)));
        assert_eq!((rows[1].ratio.unwrap().median, rows[1].met), (1.25, Some(false)));
        assert_eq!((rows[2].ratio, rows[2].met), (None, None));
        assert_eq!(rows[0].failed, ["mio"]);
        assert_eq!(rows[0].notes["mio"], "it crashed");
    }
}
