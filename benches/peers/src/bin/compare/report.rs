//! The report: one self-contained page of HTML.

use crate::{
    cells::{Cells, Figure, Met, cells, columns},
    document::Document,
    format::{about, times},
    metric::Peer,
    plot::{self, curves, ratios},
    rows::Row,
    suite::WORKLOADS,
};

const STYLE: &str = include_str!("report.css");

pub fn html(document: &Document) -> String {
    let parts = [
        summary(document),
        goals(document),
        latencies(document),
        growth(document),
        full_table(document),
        machine(document),
        method(document),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>ringback beside its peers</title>\n\
         <style>\n{STYLE}@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} \
         }}\n</style>\n</head>\n<body>\n\
         {}</body>\n</html>\n",
        parts.concat(),
        dark = plot::dark_rules(),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn summary(document: &Document) -> String {
    let header = &document.header;
    let score = document.score();
    let peers = header.peers.iter().filter(|(name, _)| name != "ringback" && name != "raw");
    let peers = peers.map(|(name, version)| format!("{name} {version}"));
    let mut tiles = vec![
        tile(&score.met.to_string(), "good", &format!("of {} goals met", score.goals())),
        tile(&score.missed.to_string(), if score.missed > 0 { "bad" } else { "" }, "not met"),
    ];
    if score.unknown > 0 {
        tiles.push(tile(&score.unknown.to_string(), "unknown", "could not be measured"));
    }
    tiles.extend(headlines(document));
    format!(
        "<h1>ringback {} beside its peers</h1>\n<p class=\"muted line\">{} · {} · {} · {}</p>\n\
         <div class=\"tiles\">{}</div>\n{}{}",
        escape(&header.ringback),
        peers.map(|peer| escape(&peer)).collect::<Vec<_>>().join(" · "),
        escape(&header.cpu),
        escape(&header.kernel),
        escape(&header.date),
        tiles.concat(),
        missed(document),
        failures(document),
    )
}

fn tile(figure: &str, class: &str, words: &str) -> String {
    format!(
        "<div class=\"tile\"><b class=\"{class}\">{}</b><span>{}</span></div>",
        escape(figure),
        escape(words)
    )
}

/// The median of all ratios to libuv, and the median of the costs relative to the floor.
fn headlines(document: &Document) -> Vec<String> {
    let middle = |is_limit: bool, against: &str| {
        let rows = document.rows.iter().filter(|row| row.goal.is_some() && row.goal_is_a_limit == is_limit);
        let rows = rows.filter(|row| row.against.as_deref() == Some(against));
        let ratios: Vec<f64> = rows.filter_map(|row| Some(row.ratio?.median)).collect();
        crate::stats::median(&ratios)
    };
    let better = middle(false, "libuv").map(|ratio| {
        tile(&format!("{} ×", times(ratio, false)), "", "better than libuv, median of all goals")
    });
    let cost = middle(true, "raw").map(|ratio| {
        tile(&format!("{} ×", times(ratio, false)), "", "the cost of raw epoll, median of all goals")
    });
    better.into_iter().chain(cost).collect()
}

/// The goals that were not met come first: they are what to look at.
fn missed(document: &Document) -> String {
    let item = |row: &Row| {
        let Cells { ratio, against, goal, met, .. } = cells(row, &[]);
        let class = if met == Met::No { "bad" } else { "unknown" };
        let ratio = if met == Met::No { ratio } else { "not measured".to_owned() };
        format!(
            "<li><b>{} <span class=\"muted\">{}, {}</span></b><span class=\"{class}\">{ratio}</span>\
             <span class=\"muted\">{} × {}</span></li>\n",
            escape(&row.workload),
            escape(&row.size),
            escape(&row.metric),
            escape(&goal),
            escape(&against),
        )
    };
    let rows = document.rows.iter().filter(|row| row.goal.is_some() && row.met != Some(true));
    let items: String = rows.map(item).collect();
    if items.is_empty() { items } else { format!("<h2>Not met</h2>\n<ul class=\"missed\">\n{items}</ul>\n") }
}

fn failures(document: &Document) -> String {
    let items: String = document.failures.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    if items.is_empty() { items } else { format!("<h2>Failed</h2>\n<ul class=\"bad\">\n{items}</ul>\n") }
}

fn goals(document: &Document) -> String {
    if document.score().goals() == 0 {
        return String::new();
    }
    format!(
        "<h2>Against the goals</h2>\n\
         <p>Both axes are logarithmic. A ratio is the median of {} pairs of runs.</p>\n\
         <div class=\"legend\"><span><i class=\"good\"></i>goal met</span>\
         <span><i class=\"bad\"></i>not met</span><span><i class=\"goal\"></i>the goal</span>\
         <span><i class=\"spread\"></i>from the least to the greatest of the pairs</span></div>\n{}",
        document.header.pairs,
        ratios::inline(document),
    )
}

fn latencies(document: &Document) -> String {
    let charts: String = document.latencies.iter().map(curves::latencies).collect();
    if charts.is_empty() {
        return charts;
    }
    format!(
        "<h2>Latency</h2>\n\
         <p>From the send of a message until the whole response has arrived, as the client sees it. The \
         server has a core of its own and is driven at full load: with many connections the latency is their number \
         divided by the throughput.</p>\n\
         <div class=\"charts\">{charts}</div>\n"
    )
}

fn growth(document: &Document) -> String {
    let charts: String =
        document.curves.iter().filter(|curve| !curve.series.is_empty()).map(curves::growth).collect();
    if charts.is_empty() {
        return charts;
    }
    format!(
        "<h2>How cost grows</h2>\n\
         <p>Cost of one operation by size; both axes are logarithmic. A level line is a constant cost. \
         “× 1.1 a decade” is a tenth more where the size is ten times as great, as fitted to all sizes; a \
         linear cost would be × 10.</p>\n\
         <div class=\"charts\">{charts}</div>\n"
    )
}

fn full_table(document: &Document) -> String {
    let columns = columns(document);
    let peers = columns.iter().map(|peer| format!("<th class=\"number\">{}</th>", peer.column()));
    let head = format!(
        "<th>workload</th><th>size</th><th>metric</th><th>unit</th>{}<th class=\"number\">ratio</th>\
         <th>spread</th><th>with</th><th>goal</th><th></th>",
        peers.collect::<String>()
    );
    let mut lines = String::new();
    let mut before: Option<&Row> = None;
    for row in &document.rows {
        lines += &line(row, before, &columns);
        before = Some(row);
    }
    format!(
        "<h2>All rows</h2>\n\
         <p>Medians. Ratio: how many times ours is better; where the goal is a limit (≤), how many times the \
         other's cost ours is. An underlined figure shows details on hover.</p>\n\
         <div class=\"wide\"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n\
         </table></div>\n"
    )
}

fn line(row: &Row, before: Option<&Row>, columns: &[Peer]) -> String {
    let Cells { unit, figures, ratio, spread, against, goal, met } = cells(row, columns);
    let same_workload = before.is_some_and(|before| before.workload == row.workload);
    let same_size = same_workload && before.is_some_and(|before| before.size == row.size);
    let same_metric = same_size && before.is_some_and(|before| before.metric == row.metric);
    let unless = |same: bool, text: &str| if same { String::new() } else { escape(text) };
    let what = WORKLOADS.iter().find(|(name, _)| *name == row.workload).map_or("", |(_, what)| what);
    let classes = [(!same_size, "first"), (met != Met::NoGoal, "goal")];
    let classes: Vec<&str> = classes.into_iter().filter_map(|(has, class)| has.then_some(class)).collect();
    let figures =
        figures.iter().zip(columns).map(|(figure, peer)| figure_cell(figure, row, *peer, same_metric));
    let class = match met {
        Met::Yes => "good",
        Met::No => "bad",
        Met::Unknown | Met::NoGoal => "unknown",
    };
    format!(
        "<tr class=\"{}\"><td class=\"workload\" title=\"{}\">{}</td><td class=\"size\">{}</td><td>{}</td>\
         <td class=\"small\">{}</td>{}<td class=\"number ratio\">{ratio}</td><td \
         class=\"small\">{spread}</td>\
         <td class=\"small with\">{}</td><td>{goal}</td><td class=\"{class}\">{}</td></tr>\n",
        classes.join(" "),
        escape(what),
        unless(same_workload, &row.workload),
        unless(same_size, &row.size),
        unless(same_metric, &row.metric),
        unless(same_metric, &unit),
        figures.collect::<String>(),
        escape(&against),
        met.mark(),
    )
}

fn figure_cell(figure: &Figure, row: &Row, peer: Peer, same_metric: bool) -> String {
    let ours = if peer == Peer::Ringback { " ours" } else { "" };
    match figure {
        _ if same_metric => "<td></td>".to_owned(),
        Figure::Value(value) => match row.notes.get(peer.column()) {
            Some(note) => {
                format!("<td class=\"number{ours}\" title=\"{}\"><u>{value}</u></td>", escape(note))
            }
            None => format!("<td class=\"number{ours}\">{value}</td>"),
        },
        Figure::Failed(reason) => {
            format!("<td class=\"number bad\" title=\"{}\">failed</td>", escape(reason))
        }
        Figure::None => "<td class=\"number none\">–</td>".to_owned(),
    }
}

fn machine(document: &Document) -> String {
    let header = &document.header;
    let peers: Vec<String> = header.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let facts = [
        (
            "measured",
            format!("{}, the {} suite, in {}", header.date, header.mode, about(header.took_seconds)),
        ),
        ("ringback", format!("{}, commit {}", header.ringback, header.commit)),
        ("peers", peers.join(" · ")),
        ("processor", format!("{}, {} cores", header.cpu, header.cores)),
        ("memory", header.memory.clone()),
        ("system", header.kernel.clone()),
        ("compiler", header.compiler.clone()),
        ("profile", header.profile.clone()),
        ("system calls", header.strace.clone()),
    ];
    let facts = facts.map(|(what, fact)| format!("<dt>{what}</dt><dd>{}</dd>\n", escape(&fact)));
    format!("<h2>Machine</h2>\n<dl>\n{}</dl>\n", facts.concat())
}

fn method(document: &Document) -> String {
    let header = &document.header;
    let item = |(name, what): &(&str, &str)| format!("<dt>{name}</dt><dd>{}</dd>\n", escape(what));
    let workloads: String = WORKLOADS.iter().map(item).collect();
    format!(
        "<h2>How it was measured</h2>\n\
         <p>Every peer is a program of its own that does the same work. A server runs on one core, and one \
         client drives all servers from another core. In each of {} rounds every peer has one run. Every \
         other round is in reverse order, so that whatever else the machine does affects all alike. Each \
         round gives one ratio. Shown are the medians, and the least and the greatest of the ratios. A \
         server is driven for {} s a run, after a warm-up. Peers with threads may run on all cores.</p>\n\
         <p>CPU is the processor time of the measured process: all of its threads, and the kernel's work for \
         it. System calls and allocations are counted in runs of their own, by strace and by a preloaded \
         library. Heap is what the C library's allocator reports as in use. “raw” is a program on plain \
         epoll for each workload, without a library's generality: it shows the cost of the kernel alone.</p>\n\
         <dl>\n{workloads}</dl>\n",
        header.pairs, header.window_seconds,
    )
}
