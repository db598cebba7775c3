//! A small line chart, with a label at the end of each line.

use plotters::{
    prelude::{ChartBuilder, LineSeries},
    style::Color,
};

use crate::plot::canvas::{Align, Canvas, FINE, GRID, Ink, MUTED, TEXT, written};

pub const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 48.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;
const LETTERS: f64 = 10.5;

/// An axis whose values are on a linear scale, with its ticks and their labels.
pub struct Axis {
    pub from: f64,
    pub to: f64,
    pub ticks: Vec<(f64, String)>,
    pub name: String,
}

pub struct Line {
    pub name: String,
    pub ink: Ink,
    pub width: f64,
    pub points: Vec<(f64, f64)>,
}

pub struct Chart {
    pub title: String,
    pub across: Axis,
    pub up: Axis,
    /// The first line is drawn last, over the others.
    pub lines: Vec<Line>,
}

impl Axis {
    fn position(&self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }
}

pub fn draw(chart: &Chart) -> String {
    Canvas::draw(WIDTH, HEIGHT, |canvas| {
        canvas.bold(&chart.title, (0.0, 9.0), 12.0, TEXT, Align::Left);
        canvas.text(&chart.up.name, (0.0, 26.0), LETTERS, MUTED, Align::Left);
        draw_grid(canvas, chart);
        draw_lines(canvas, chart);
        draw_names(canvas, chart);
    })
}

fn x(chart: &Chart, value: f64) -> f64 {
    LEFT + chart.across.position(value) * (WIDTH - LEFT - RIGHT)
}

fn y(chart: &Chart, value: f64) -> f64 {
    HEIGHT - BOTTOM - chart.up.position(value) * (HEIGHT - TOP - BOTTOM)
}

fn draw_grid(canvas: &Canvas, chart: &Chart) {
    for (tick, text) in &chart.up.ticks {
        let y = y(chart, *tick);
        canvas.line(&[(LEFT, y), (WIDTH - RIGHT, y)], 0.75, GRID, 1.0);
        canvas.text(text, (LEFT - 7.0, y), LETTERS, MUTED, Align::Right);
    }
    for (tick, text) in &chart.across.ticks {
        let x = x(chart, *tick);
        canvas.line(&[(x, TOP), (x, HEIGHT - BOTTOM)], 0.75, GRID, 1.0);
        canvas.text(text, (x, HEIGHT - BOTTOM + 11.0), LETTERS, MUTED, Align::Middle);
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    canvas.text(&chart.across.name, (middle, HEIGHT - BOTTOM + 28.0), LETTERS, MUTED, Align::Middle);
}

fn draw_lines(canvas: &Canvas, chart: &Chart) {
    let fine = |length: f64| (length * FINE) as i32;
    let mut plot = written(
        ChartBuilder::on(&canvas.area)
            .margin_left(fine(LEFT))
            .margin_right(fine(RIGHT))
            .margin_top(fine(TOP))
            .margin_bottom(fine(BOTTOM))
            .build_cartesian_2d(chart.across.from..chart.across.to, chart.up.from..chart.up.to),
    );
    for line in chart.lines.iter().rev() {
        let style = line.ink.color().stroke_width((line.width * FINE) as u32);
        written(plot.draw_series(LineSeries::new(line.points.iter().copied(), style)));
    }
}

/// Draws each label beside the end of its line. Labels that would overlap are moved apart.
fn draw_names(canvas: &Canvas, chart: &Chart) {
    const APART: f64 = 12.0;
    let mut names: Vec<(f64, f64, &Line)> = Vec::new();
    for line in &chart.lines {
        if let Some(&(across, up)) = line.points.last() {
            names.push((y(chart, up), x(chart, across), line));
        }
    }
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    for index in 1..names.len() {
        names[index].0 = names[index].0.max(names[index - 1].0 + APART);
    }
    // Labels that were moved below the chart are moved up again, and those above them, too.
    let mut lowest = HEIGHT - BOTTOM;
    for name in names.iter_mut().rev() {
        name.0 = name.0.min(lowest);
        lowest = name.0 - APART;
    }
    for (at, end, line) in names {
        canvas.bold(&line.name, (end + 6.0, at), LETTERS, line.ink, Align::Left);
    }
}
