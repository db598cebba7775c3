//! The plots, as SVG.

mod canvas;
pub mod curves;
mod lines;
pub mod ratios;

pub use canvas::dark_rules;
