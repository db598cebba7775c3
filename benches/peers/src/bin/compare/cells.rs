//! The cells of a row, as the terminal and the report show them.

use crate::{
    document::Document,
    format::{shown_in, significant, times},
    metric::Peer,
    rows::Row,
};

pub struct Cells {
    pub unit: String,
    /// In the order of the columns.
    pub figures: Vec<Figure>,
    pub ratio: String,
    pub spread: String,
    pub against: String,
    pub goal: String,
    pub met: Met,
}

#[derive(Clone)]
pub enum Figure {
    Value(String),
    Failed(String),
    None,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Met {
    Yes,
    No,
    Unknown,
    NoGoal,
}

impl Met {
    pub fn mark(self) -> &'static str {
        match self {
            Met::Yes => "✓",
            Met::No => "✗",
            Met::Unknown => "?",
            Met::NoGoal => "",
        }
    }
}

/// Returns the peers that have a figure or a failure in any row.
pub fn columns(document: &Document) -> Vec<Peer> {
    let speaks = |peer: &Peer| {
        let column = peer.column();
        document
            .rows
            .iter()
            .any(|row| row.figure(*peer).is_some() || row.failed.iter().any(|it| it == column))
    };
    Peer::ALL.into_iter().filter(speaks).collect()
}

pub fn cells(row: &Row, columns: &[Peer]) -> Cells {
    let (unit, divisor) = shown_in(&row.unit, row.greatest());
    let figure = |&peer: &Peer| match row.figure(peer) {
        Some(value) => Figure::Value(significant(value / divisor)),
        None if row.failed.iter().any(|column| column == peer.column()) => {
            Figure::Failed(row.notes.get(peer.column()).cloned().unwrap_or_default())
        }
        None => Figure::None,
    };
    let ratio = row.ratio.as_ref();
    let varies = ratio.filter(|ratio| ratio.low < ratio.high);
    let times = |ratio: f64| times(ratio, row.goal_is_a_limit);
    Cells {
        unit,
        figures: columns.iter().map(figure).collect(),
        ratio: ratio.map_or(String::new(), |ratio| times(ratio.median)),
        spread: varies.map_or(String::new(), |ratio| format!("{} – {}", times(ratio.low), times(ratio.high))),
        against: row.against.clone().unwrap_or_default(),
        goal: row.goal.clone().unwrap_or_default(),
        met: match (&row.goal, row.met) {
            (None, _) => Met::NoGoal,
            (_, Some(true)) => Met::Yes,
            (_, Some(false)) => Met::No,
            (_, None) => Met::Unknown,
        },
    }
}
