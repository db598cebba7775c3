//! The canvas, the colours and the font of all plots.

use plotters::{
    coord::Shift,
    prelude::{DrawingArea, IntoDrawingArea, IntoFont, PathElement, RGBColor, Rectangle, SVGBackend},
    style::{
        Color, FontStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::metric::Peer;

pub const FAMILY: &str = "Inter, system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif";

/// The scale of the drawing. The backend draws on whole pixels only, so plots are drawn larger than shown.
pub const FINE: f64 = 4.0;
/// Line height per font size. The backend takes the height of a line, and writes the size of the font.
const LINE_HEIGHT: f64 = 1.24;

/// A colour on a light page, and on a dark one.
#[derive(Clone, Copy, PartialEq)]
pub struct Ink {
    pub light: u32,
    pub dark: u32,
}

pub const TEXT: Ink = Ink { light: 0x1B1F24, dark: 0xE6E8EB };
pub const MUTED: Ink = Ink { light: 0x68707C, dark: 0x99A1AC };
pub const FAINT: Ink = Ink { light: 0x9CA3AF, dark: 0x6B7480 };
pub const GRID: Ink = Ink { light: 0xE8EAED, dark: 0x2B3037 };
pub const BAND: Ink = Ink { light: 0xF6F7F9, dark: 0x1C2127 };
pub const PAGE: Ink = Ink { light: 0xFFFFFE, dark: 0x14181D };
pub const GOOD: Ink = Ink { light: 0x2E9E74, dark: 0x3FBF8E };
pub const BAD: Ink = Ink { light: 0xD9534F, dark: 0xF0736E };
const OURS: Ink = Ink { light: 0x2457D6, dark: 0x6E9BFF };
const LIBUV: Ink = Ink { light: 0xE07A1F, dark: 0xF59B4C };
const RAW: Ink = Ink { light: 0x59616C, dark: 0xB4BBC5 };
const MIO: Ink = Ink { light: 0x9B5DE5, dark: 0xB98AF2 };
const TOKIO: Ink = Ink { light: 0x0E9AA7, dark: 0x3CC4D0 };
const CALLOOP: Ink = Ink { light: 0xC2478F, dark: 0xE37FB8 };

const ALL: [Ink; 14] =
    [TEXT, MUTED, FAINT, GRID, BAND, PAGE, GOOD, BAD, OURS, LIBUV, RAW, MIO, TOKIO, CALLOOP];

pub fn ink_of(column: &str) -> Ink {
    let peer = Peer::ALL.into_iter().find(|peer| peer.column() == column);
    match peer {
        Some(Peer::Ringback) => OURS,
        Some(Peer::Libuv) => LIBUV,
        Some(Peer::Raw) | None => RAW,
        Some(Peer::Mio) => MIO,
        Some(Peer::Tokio) => TOKIO,
        Some(Peer::Calloop) => CALLOOP,
    }
}

/// Returns the style rules for dark pages.
pub fn dark_rules() -> String {
    let rule = |ink: Ink| {
        let Ink { light, dark } = ink;
        format!("[fill=\"#{light:06X}\"]{{fill:#{dark:06X}}}[stroke=\"#{light:06X}\"]{{stroke:#{dark:06X}}}")
    };
    ALL.map(rule).concat()
}

impl Ink {
    pub fn color(self) -> RGBColor {
        let [_, red, green, blue] = self.light.to_be_bytes();
        RGBColor(red, green, blue)
    }
}

#[derive(Clone, Copy)]
pub enum Align {
    Left,
    Middle,
    Right,
}

/// A drawing area with coordinates in fractions of pixels.
pub struct Canvas<'a> {
    pub area: DrawingArea<SVGBackend<'a>, Shift>,
}

impl Canvas<'_> {
    /// Returns the SVG of a drawing. Its size is the one passed, whatever the scale.
    pub fn draw(width: f64, height: f64, draw: impl FnOnce(&Canvas)) -> String {
        let mut text = String::new();
        let (wide, high) = (fine(width) as u32, fine(height) as u32);
        {
            let area = SVGBackend::with_string(&mut text, (wide, high)).into_drawing_area();
            draw(&Canvas { area });
        }
        let written = format!("width=\"{wide}\" height=\"{high}\"");
        text.replacen(&written, &format!("width=\"{width}\" height=\"{height}\""), 1)
    }

    pub fn text(&self, text: &str, at: (f64, f64), size: f64, ink: Ink, align: Align) {
        self.styled(text, at, size, ink, align, FontStyle::Normal);
    }

    pub fn bold(&self, text: &str, at: (f64, f64), size: f64, ink: Ink, align: Align) {
        self.styled(text, at, size, ink, align, FontStyle::Bold);
    }

    fn styled(&self, text: &str, at: (f64, f64), size: f64, ink: Ink, align: Align, style: FontStyle) {
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let font = (FAMILY, size * FINE * LINE_HEIGHT).into_font().style(style);
        let color = ink.color();
        let style = TextStyle::from(font).color(&color).pos(Pos::new(horizontal, VPos::Center));
        written(self.area.draw_text(text, &style, point(at)));
    }

    pub fn line(&self, points: &[(f64, f64)], width: f64, ink: Ink, opacity: f64) {
        let points: Vec<(i32, i32)> = points.iter().copied().map(point).collect();
        let style = ink.color().mix(opacity).stroke_width(fine(width) as u32);
        written(self.area.draw(&PathElement::new(points, style)));
    }

    pub fn block(&self, from: (f64, f64), to: (f64, f64), ink: Ink, opacity: f64) {
        let block = Rectangle::new([point(from), point(to)], ink.color().mix(opacity).filled());
        written(self.area.draw(&block));
    }
}

/// Unwraps the result of drawing to a string, which never fails.
pub fn written<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    result.expect("a string takes everything")
}

fn fine(length: f64) -> i32 {
    (length * FINE).round() as i32
}

fn point((x, y): (f64, f64)) -> (i32, i32) {
    (fine(x), fine(y))
}
