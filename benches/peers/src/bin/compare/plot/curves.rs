//! Latency distributions and growth curves: their axes and lines.

use crate::{
    format::short,
    growth::Grown,
    plot::{
        canvas::ink_of,
        lines::{Axis, Chart, Line, draw},
    },
    rows::Latencies,
};

/// The last quantile shown, in nines: a run of one second has no samples beyond it.
const NINES: f64 = 4.0;

pub fn latencies(latencies: &Latencies) -> String {
    let nines = |part: f64| -(1.0 - part).log10();
    let lines = latencies.series.iter().map(|series| {
        let points =
            series.quantiles.iter().filter(|(part, latency)| *part > 0.0 && *part < 1.0 && *latency > 0.0);
        let points = points.map(|&(part, latency)| (nines(part), latency.log10()));
        line(&series.peer, points.filter(|(nines, _)| *nines <= NINES + 1e-9).collect())
    });
    let lines: Vec<Line> = lines.collect();
    let ticks = [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99 %")];
    let across = Axis {
        from: 0.0,
        to: NINES,
        ticks: ticks.map(|(part, text)| (nines(part), text.to_owned())).to_vec(),
        name: "of all messages took no longer".to_owned(),
    };
    draw(&Chart {
        title: format!("{}, {}", latencies.workload, latencies.size),
        across,
        up: Axis { name: "latency".to_owned(), ..logarithmic(&lines, |point| point.1, nanoseconds) },
        lines,
    })
}

pub fn growth(grown: &Grown) -> String {
    let lines = grown.series.iter().map(|series| {
        let points = series.points.iter().filter(|(size, cost)| *size > 0.0 && *cost > 0.0);
        line(&series.peer, points.map(|(size, cost)| (size.log10(), cost.log10())).collect())
    });
    let lines: Vec<Line> = lines.collect();
    let growth = grown
        .series
        .iter()
        .find(|series| series.peer == "ours")
        .and_then(|series| growth_per_decade(&series.points));
    let growth = growth.map_or(String::new(), |growth| format!(" · ours × {growth:.2} a decade"));
    let up = Axis { name: grown.up.clone() + &growth, ..logarithmic(&lines, |point| point.1, nanoseconds) };
    let (from, to) = extent(&lines, |point| point.0);
    let decades = (from.ceil() as i32..=to.floor() as i32).map(|decade| {
        let decade = f64::from(decade);
        (decade, short(10f64.powf(decade)))
    });
    let across = Axis { from, to, ticks: decades.collect(), name: grown.across.clone() };
    draw(&Chart { title: grown.title.clone(), across, up, lines })
}

/// Returns the factor by which the cost grows when the size grows tenfold: the slope of the least-squares
/// line through the logarithms. 1 is constant, 10 is linear.
fn growth_per_decade(points: &[(f64, f64)]) -> Option<f64> {
    let logarithms = || points.iter().map(|(size, cost)| (size.log10(), cost.log10()));
    let count = points.len() as f64;
    let (sizes, costs) = logarithms().fold((0.0, 0.0), |sums, it| (sums.0 + it.0, sums.1 + it.1));
    let (size, cost) = (sizes / count, costs / count);
    let covariance: f64 = logarithms().map(|it| (it.0 - size) * (it.1 - cost)).sum();
    let variance: f64 = logarithms().map(|it| (it.0 - size).powi(2)).sum();
    Some(10f64.powf(covariance / variance)).filter(|growth| growth.is_finite())
}

fn line(column: &str, points: Vec<(f64, f64)>) -> Line {
    let width = if column == "ours" { 2.5 } else { 1.5 };
    Line { name: column.to_owned(), ink: ink_of(column), width, points }
}

fn extent(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = || lines.iter().flat_map(|line| &line.points).map(&of);
    let (from, to) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if from < to { (from, to) } else { (0.0, 1.0) }
}

/// Returns an axis over all points, and over more than a decade in any case, so that a flat curve looks flat.
/// Takes and returns logarithms.
fn logarithmic(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64, name: fn(f64) -> String) -> Axis {
    const LEAST: f64 = 1.3;
    let (low, high) = extent(lines, of);
    let missing = (LEAST - (high - low)).max(0.0);
    let (from, to) = (low - missing / 2.0 - 0.05, high + missing / 2.0 + 0.05);
    let steps: &[f64] = if to - from > 3.2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = from.floor() as i32..=to.ceil() as i32;
    let ticks = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    let ticks = ticks.filter(|tick| (from..=to).contains(&tick.log10()));
    Axis { from, to, ticks: ticks.map(|tick| (tick.log10(), name(tick))).collect(), name: String::new() }
}

fn nanoseconds(value: f64) -> String {
    match value {
        value if value >= 0.999e9 => format!("{} s", short(value / 1e9)),
        value if value >= 0.999e6 => format!("{} ms", short(value / 1e6)),
        value if value >= 0.999e3 => format!("{} µs", short(value / 1e3)),
        value => format!("{} ns", short(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_per_decade() {
        let points = |cost: fn(f64) -> f64| [10.0, 100.0, 1000.0].map(|size| (size, cost(size)));
        assert!((growth_per_decade(&points(|_| 7.0)).unwrap() - 1.0).abs() < 1e-9);
        assert!((growth_per_decade(&points(|size| 3.0 * size)).unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(growth_per_decade(&[(10.0, 3.0)]), None);
    }
}
