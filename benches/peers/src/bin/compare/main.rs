//! Measures ringback beside its peers: started by `benches/compare`, which builds everything first.

mod cells;
mod counting;
mod document;
mod files;
mod format;
mod growth;
mod header;
mod interrupt;
mod markdown;
mod metric;
mod plot;
mod progress;
mod report;
mod rounds;
mod rows;
mod run;
mod session;
mod stats;
mod suite;
mod table;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    document::Document,
    session::Stop,
    suite::{CURVES, WORKLOADS},
};

/// Measures ringback beside libuv, an epoll loop by hand, mio, tokio and calloop.
///
/// Exit status: 0 measured (whether or not the goals are met), 1 something failed, 2 a peer could not be
/// built or started.
#[derive(Parser)]
#[command(name = "benches/compare")]
struct Options {
    /// The whole suite in about three minutes: fewer pairs, shorter windows, smaller counts
    #[arg(long)]
    quick: bool,

    /// Run this workload alone (can be given several times; --list names them)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Write the rows, the growth curves and the latencies to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Where the report goes [default: benches/peers/target/report.html]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Write the plot of the ratios to this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// Write the rows that have a goal to this file, as a table in Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Rounds in which each peer has its turn [default: 7; 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pairs: Option<u16>,

    /// Leave out how cost grows with size
    #[arg(long)]
    no_growth: bool,

    /// Measure nothing: show what this JSON file of an earlier run holds
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Name the workloads
    #[arg(long)]
    list: bool,

    /// Where the programs of the peers are [default: beside this one]
    #[arg(long, value_name = "DIRECTORY")]
    programs: Option<PathBuf>,
}

/// Where the peers are built, which is no place of anybody's work.
fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list {
        list();
        return ExitCode::SUCCESS;
    }
    run(&options).unwrap_or_else(|stop| {
        eprintln!("benches/compare: {}", stop.reason());
        ExitCode::from(stop.status())
    })
}

fn list() {
    let mut out = io::stdout().lock();
    for (name, what) in WORKLOADS.iter().chain(CURVES) {
        // Who reads no further needs no more.
        let _ = writeln!(out, "{name:20} {what}");
    }
}

fn run(options: &Options) -> Result<ExitCode, Stop> {
    let document = match &options.from {
        Some(file) => Document::read(file).map_err(Stop::Failed)?,
        None => session::measure(options)?,
    };
    println!("{}\n\n{}", header_lines(&document), table::table(&document));
    if let Some(file) = &options.json {
        document.write(file).map_err(Stop::Failed)?;
    }
    if let Some(file) = &options.plot {
        document::write(file, &plot::ratios::document(&document)).map_err(Stop::Failed)?;
    }
    if let Some(file) = &options.markdown {
        document::write(file, &markdown::markdown(&document)).map_err(Stop::Failed)?;
    }
    let report = options.report.clone().unwrap_or_else(|| target().join("report.html"));
    document::write(&report, &report::html(&document)).map_err(Stop::Failed)?;
    for failure in &document.failures {
        println!("failed: {failure}");
    }
    println!("{}\nreport: {}", document.score().text(), report.display());
    Ok(if document.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn header_lines(document: &Document) -> String {
    let header = &document.header;
    let peers: Vec<String> = header.peers.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "ringback {} ({}), {}, {} suite, {} pairs\n{}\n{}, {} cores, {}, {}\n{}, {}; {}",
        header.ringback,
        header.commit,
        header.date,
        header.mode,
        header.pairs,
        peers.join(" · "),
        header.cpu,
        header.cores,
        header.memory,
        header.kernel,
        header.compiler,
        header.profile,
        header.strace,
    )
}
