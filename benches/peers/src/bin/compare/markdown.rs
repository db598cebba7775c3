//! The rows that have a goal, as a Markdown table for `benches/README.md`.

use crate::{
    cells::{Cells, Figure, cells},
    document::Document,
    metric::Peer,
};

const COLUMNS: [Peer; 4] = [Peer::Ringback, Peer::Libuv, Peer::Raw, Peer::Tokio];

pub fn markdown(document: &Document) -> String {
    let mut text = String::from(
        "| workload | | what | ringback | libuv | raw | tokio | ratio | goal | |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for row in document.rows.iter().filter(|row| row.goal.is_some()) {
        let Cells { unit, figures, ratio, spread, against, goal, met } = cells(row, &COLUMNS);
        let figures: Vec<String> = figures.iter().map(shown).collect();
        let metric = if unit.is_empty() { row.metric.clone() } else { format!("{}, {unit}", row.metric) };
        let line = format!(
            "| {} | {} | {metric} | {} | **{ratio}** [{spread}] | {goal} × {against} | {} |\n",
            row.workload,
            row.size,
            figures.join(" | "),
            met.mark(),
        );
        text.push_str(&line);
    }
    text
}

fn shown(figure: &Figure) -> String {
    match figure {
        Figure::Value(value) => value.clone(),
        Figure::Failed(_) => "failed".to_owned(),
        Figure::None => "–".to_owned(),
    }
}
