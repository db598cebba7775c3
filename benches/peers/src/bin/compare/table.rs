//! The table on the terminal.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle};

use crate::{
    cells::{Cells, Figure, Met, cells, columns},
    document::Document,
    metric::Peer,
    rows::Row,
};

/// Lines under the head and at the bottom. Empty rows separate the workloads.
const STYLE: TableStyle = TableStyle::new()
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// The columns of text before those of the peers, which are numbers, as the ratio is.
const WORDS: usize = 4;

pub fn table(document: &Document) -> Table {
    let columns = columns(document);
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head(&columns));
    let mut before: Option<&Row> = None;
    for row in &document.rows {
        if before.is_some_and(|before| before.workload != row.workload) {
            table.add_row(vec![""]);
        }
        table.add_row(line(row, before, &columns));
        before = Some(row);
    }
    for column in WORDS..=WORDS + columns.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn head(columns: &[Peer]) -> Vec<Cell> {
    let words = ["workload", "size", "metric", "unit"].into_iter();
    let peers = columns.iter().map(|peer| peer.column());
    let words = words.chain(peers).chain(["ratio", "[spread]", "with", "goal", ""]);
    words.map(|word| Cell::new(word).add_attribute(Attribute::Dim)).collect()
}

/// Builds a line. Cells that repeat the row before are left empty.
fn line(row: &Row, before: Option<&Row>, columns: &[Peer]) -> Vec<Cell> {
    let Cells { unit, figures, ratio, spread, against, goal, met } = cells(row, columns);
    let same_workload = before.is_some_and(|before| before.workload == row.workload);
    let same_size = same_workload && before.is_some_and(|before| before.size == row.size);
    let same_metric = same_size && before.is_some_and(|before| before.metric == row.metric);
    let unless = |same: bool, text: &str| Cell::new(if same { "" } else { text });
    let spread = if spread.is_empty() { spread } else { format!("[{spread}]") };
    let color = match met {
        Met::Yes => Color::Green,
        Met::No => Color::Red,
        Met::Unknown | Met::NoGoal => Color::Yellow,
    };
    let mut line = vec![
        unless(same_workload, &row.workload).add_attribute(Attribute::Bold),
        unless(same_size, &row.size),
        unless(same_metric, &row.metric),
        unless(same_metric, &unit),
    ];
    line.extend(figures.iter().map(|figure| match figure {
        _ if same_metric => Cell::new(""),
        Figure::Value(value) => Cell::new(value),
        Figure::Failed(_) => Cell::new("failed").fg(Color::Red),
        Figure::None => Cell::new("–").add_attribute(Attribute::Dim),
    }));
    line.extend([
        Cell::new(ratio).add_attribute(Attribute::Bold),
        Cell::new(spread).add_attribute(Attribute::Dim),
        Cell::new(against),
        Cell::new(goal),
        Cell::new(met.mark()).fg(color),
    ]);
    line
}
