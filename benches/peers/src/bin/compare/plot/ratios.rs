//! One bar for each goal: how many times better than libuv, or the cost relative to the floor; with the
//! spread of the pairs, and a mark at the goal.

use crate::{
    document::Document,
    format::times,
    plot::canvas::{Align, BAD, BAND, Canvas, FAINT, GOOD, GRID, Ink, MUTED, PAGE, TEXT, dark_rules},
    rows::Row,
};

const WIDTH: f64 = 1100.0;
const ROW: f64 = 21.0;
const BAR: f64 = 9.0;
const HEAD: f64 = 58.0;
const BELOW: f64 = 26.0;

/// The positions of the columns.
const SIZE: f64 = 108.0;
const METRIC: f64 = 318.0;
const BARS: (f64, f64) = (496.0, 950.0);
const RATIO: f64 = 1010.0;
const GOAL: f64 = 1066.0;
const MARK: f64 = 1084.0;

const LETTERS: f64 = 11.5;

/// A part of the plot with an axis of its own.
struct Section<'a> {
    title: &'static str,
    /// What it means to be on the left or the right side of 1.
    left: &'static str,
    right: &'static str,
    ticks: &'static [f64],
    /// The least range of the axis.
    reach: (f64, f64),
    rows: Vec<&'a Row>,
}

fn sections(document: &Document) -> Vec<Section<'_>> {
    let rows = |limits: bool| {
        let rows = document.rows.iter();
        rows.filter(|row| row.goal.is_some() && row.goal_is_a_limit == limits).collect::<Vec<_>>()
    };
    let sections = [
        Section {
            title: "Times better than libuv",
            left: "← worse",
            right: "better →",
            ticks: &[0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0],
            reach: (0.7, 12.0),
            rows: rows(false),
        },
        Section {
            title: "Cost relative to the floor (raw epoll)",
            left: "← less",
            right: "more →",
            ticks: &[0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 2.0, 4.0, 8.0],
            reach: (0.5, 1.4),
            rows: rows(true),
        },
    ];
    sections.into_iter().filter(|section| !section.rows.is_empty()).collect()
}

/// Returns the plot for embedding into a page.
pub fn inline(document: &Document) -> String {
    let sections = sections(document);
    let height = sections.iter().map(Section::height).sum::<f64>().max(1.0);
    Canvas::draw(WIDTH, height, |canvas| {
        let mut top = 0.0;
        for section in &sections {
            section.draw(canvas, top);
            top += section.height();
        }
    })
}

/// Returns the plot as a file of its own, with a background, and dark where the page is.
pub fn document(document: &Document) -> String {
    let sections = sections(document);
    let margin = 18.0;
    let height = sections.iter().map(Section::height).sum::<f64>() + margin;
    let svg = Canvas::draw(WIDTH, height, |canvas| {
        canvas.block((0.0, 0.0), (WIDTH, height), PAGE, 1.0);
        let mut top = margin / 2.0;
        for section in &sections {
            section.draw(canvas, top);
            top += section.height();
        }
    });
    let style = format!("<style>@media (prefers-color-scheme:dark){{{}}}</style>\n", dark_rules());
    match svg.find(">\n") {
        Some(end) => format!("{}{style}{}", &svg[..end + 2], &svg[end + 2..]),
        None => svg,
    }
}

/// A logarithmic axis.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn at(&self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(self.from, self.to);
        BARS.0 + (ratio / self.from).ln() / (self.to / self.from).ln() * (BARS.1 - BARS.0)
    }
}

impl Section<'_> {
    fn height(&self) -> f64 {
        HEAD + self.rows.len() as f64 * ROW + BELOW
    }

    /// Covers all medians and goals. A spread that reaches further is cut.
    fn axis(&self) -> Axis {
        let medians = self.rows.iter().filter_map(|row| row.ratio).map(|ratio| ratio.median);
        let goals = self.rows.iter().filter_map(|row| row.goal_value);
        let all: Vec<f64> = medians.chain(goals).collect();
        let from = all.iter().copied().fold(self.reach.0, f64::min);
        let to = all.iter().copied().fold(self.reach.1, f64::max);
        let beyond = (to / from).powf(0.03);
        Axis { from: from / beyond, to: to * beyond }
    }

    fn draw(&self, canvas: &Canvas, top: f64) {
        let axis = self.axis();
        let bottom = top + HEAD + self.rows.len() as f64 * ROW;
        canvas.bold(self.title, (0.0, top + 14.0), 14.0, TEXT, Align::Left);
        self.draw_bands(canvas, top + HEAD);
        self.draw_axis(canvas, &axis, top + HEAD - 8.0, bottom);
        let one = axis.at(1.0);
        canvas.text(self.left, (one - 8.0, top + 24.0), 10.5, MUTED, Align::Right);
        canvas.text(self.right, (one + 8.0, top + 24.0), 10.5, MUTED, Align::Left);
        for (what, at) in [("ratio", RATIO), ("goal", GOAL)] {
            canvas.text(what, (at, top + HEAD - 16.0), 10.5, MUTED, Align::Right);
        }
        for (index, row) in self.rows.iter().enumerate() {
            let before = index.checked_sub(1).map(|index| self.rows[index]);
            draw_row(canvas, &axis, row, before, top + HEAD + (index as f64 + 0.5) * ROW);
        }
    }

    /// Shades every other workload, so that its rows are seen to belong together.
    fn draw_bands(&self, canvas: &Canvas, top: f64) {
        let mut is_shaded = false;
        for (index, row) in self.rows.iter().enumerate() {
            let is_new = index == 0 || self.rows[index - 1].workload != row.workload;
            is_shaded ^= is_new;
            if is_shaded {
                let from = top + index as f64 * ROW;
                canvas.block((0.0, from), (WIDTH, from + ROW), BAND, 1.0);
            }
        }
    }

    fn draw_axis(&self, canvas: &Canvas, axis: &Axis, top: f64, bottom: f64) {
        for &tick in self.ticks.iter().filter(|&&tick| tick >= axis.from && tick <= axis.to) {
            let x = axis.at(tick);
            let (width, ink) = if tick == 1.0 { (1.25, FAINT) } else { (0.75, GRID) };
            canvas.line(&[(x, top), (x, bottom)], width, ink, 1.0);
            canvas.text(&format!("{tick}×"), (x, top - 8.0), 10.5, MUTED, Align::Middle);
        }
    }
}

fn draw_row(canvas: &Canvas, axis: &Axis, row: &Row, before: Option<&Row>, y: f64) {
    let same_workload = before.is_some_and(|before| before.workload == row.workload);
    let same_size = same_workload && before.is_some_and(|before| before.size == row.size);
    if !same_workload {
        canvas.bold(&row.workload, (8.0, y), LETTERS, TEXT, Align::Left);
    }
    if !same_size {
        canvas.text(&row.size, (SIZE, y), LETTERS, TEXT, Align::Left);
    }
    canvas.text(&what(row), (METRIC, y), LETTERS, MUTED, Align::Left);
    let goal = row.goal.as_deref().unwrap_or_default();
    canvas.text(goal, (GOAL, y), LETTERS, MUTED, Align::Right);
    let Some(ratio) = row.ratio else {
        canvas.text("not measured", (axis.at(1.0) + 6.0, y), LETTERS, FAINT, Align::Left);
        return;
    };
    let (ink, mark) = if row.met == Some(true) { (GOOD, "✓") } else { (BAD, "✗") };
    let (one, end) = (axis.at(1.0), axis.at(ratio.median));
    canvas.block((one.min(end), y - BAR / 2.0), (one.max(end), y + BAR / 2.0), ink, 1.0);
    draw_spread(canvas, (axis.at(ratio.low), axis.at(ratio.high)), y);
    if let Some(goal) = row.goal_value {
        let x = axis.at(goal);
        canvas.line(&[(x, y - 7.5), (x, y + 7.5)], 2.0, TEXT, 1.0);
    }
    canvas.bold(&times(ratio.median, row.goal_is_a_limit), (RATIO, y), LETTERS, TEXT, Align::Right);
    canvas.bold(mark, (MARK, y), LETTERS, ink, Align::Middle);
}

fn draw_spread(canvas: &Canvas, (low, high): (f64, f64), y: f64) {
    let ink: Ink = TEXT;
    canvas.line(&[(low, y), (high, y)], 1.0, ink, 0.55);
    for x in [low, high] {
        canvas.line(&[(x, y - 2.5), (x, y + 2.5)], 1.0, ink, 0.55);
    }
}

/// Returns the metric, and what it is compared with unless that is obvious.
fn what(row: &Row) -> String {
    let usual = if row.goal_is_a_limit { "raw" } else { "libuv" };
    match row.against.as_deref() {
        Some(against) if against != usual && against != "itself" => format!("{}, ÷ {against}", row.metric),
        _ => row.metric.clone(),
    }
}
