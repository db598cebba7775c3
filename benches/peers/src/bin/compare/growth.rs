//! How cost grows with size.

use serde::{Deserialize, Serialize};

use crate::{
    interrupt,
    metric::Peer,
    progress::Progress,
    run::{Attempt, Bench, Failure, Side},
    stats::median,
    suite::{Case, Curve, Scale},
};

/// A measured curve.
#[derive(Clone, Serialize, Deserialize)]
pub struct Grown {
    pub name: String,
    pub title: String,
    /// The labels of the axes.
    pub across: String,
    pub up: String,
    pub unit: String,
    pub series: Vec<Series>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Series {
    pub peer: String,
    pub points: Vec<(f64, f64)>,
}

/// Returns the number of runs. Small sizes are quick and vary more, so they are run more often.
fn repetitions(scale: Scale, case: &Case) -> usize {
    match case.about_seconds {
        seconds if seconds > 3.0 => 1,
        seconds if seconds > 0.3 => scale.pick(3, 1),
        _ => scale.pick(7, 3),
    }
}

pub fn expected_seconds(scale: Scale, curve: &Curve) -> f64 {
    let runs = |case: &Case| case.about_seconds * (repetitions(scale, case) * case.peers.len()) as f64;
    curve.points.iter().map(|(_, case)| runs(case)).sum()
}

/// Measures a curve. Also returns the failures, one line each.
pub fn measure(bench: &Bench, curve: &Curve, scale: Scale, progress: &mut Progress) -> (Grown, Vec<String>) {
    let operation = &curve.points[0].1.operation;
    let mut grown = Grown {
        name: curve.name.to_owned(),
        title: curve.title.clone(),
        across: curve.across.to_owned(),
        up: curve.metric.name(operation),
        unit: curve.metric.unit(operation),
        series: Vec::new(),
    };
    let mut failures = Vec::new();
    for &peer in curve.points[0].1.peers {
        let mut points = Vec::new();
        for (size, case) in &curve.points {
            match measure_point(bench, curve, case, peer, scale, progress) {
                Ok(cost) => points.extend(cost.map(|cost| (*size, cost))),
                Err(Failure::Missing) => {}
                Err(Failure::Failed(_)) if interrupt::requested() => {}
                Err(failure) => failures.push(format!("{} at {}: {failure}", curve.title, case.size)),
            }
        }
        if !points.is_empty() {
            grown.series.push(Series { peer: peer.column().to_owned(), points });
        }
    }
    (grown, failures)
}

fn measure_point(
    bench: &Bench,
    curve: &Curve,
    case: &Case,
    peer: Peer,
    scale: Scale,
    progress: &mut Progress,
) -> Attempt<Option<f64>> {
    let mut costs = Vec::new();
    for _ in 0..repetitions(scale, case) {
        progress.run(&format!("{} {} · {}", case.size, curve.across, peer.program()), case.about_seconds);
        if interrupt::requested() {
            break;
        }
        let sample = bench.measure(case, Side::Peer(peer))?;
        costs.extend(curve.metric.of(&sample, &case.operation));
    }
    Ok(median(&costs))
}
