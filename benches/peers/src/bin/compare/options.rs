//! The command line.

use std::path::{Path, PathBuf};

use clap::Parser;

/// Returns the directory where the peers are built, for the report and the scratch files.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// Compares ringback with libuv, raw epoll, mio, tokio and calloop.
///
/// Exit status: 0 measured (whether or not the goals are met), 1 a failure, 2 a peer could not be built or
/// started.
#[derive(Parser)]
#[command(name = "benches/compare")]
pub struct Options {
    /// Run the whole suite in about three minutes: fewer pairs, shorter windows, smaller counts
    #[arg(long)]
    pub quick: bool,

    /// Run this workload only (repeatable; --list shows the names)
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,

    /// Write the rows, the growth curves and the latencies to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the report to this file [default: benches/peers/target/report.html]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Write the plot of the ratios to this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,

    /// Write the rows that have a goal to this file, as a table in Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Rounds, in each of which every peer has one run [default: 7; 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub pairs: Option<u16>,

    /// Skip the growth curves
    #[arg(long)]
    pub no_growth: bool,

    /// Measure nothing: show the results of an earlier run from its JSON file
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,

    /// List the workloads
    #[arg(long)]
    pub list: bool,

    /// The directory of the peers' programs [default: that of this program]
    #[arg(long, value_name = "DIRECTORY")]
    pub programs: Option<PathBuf>,
}
