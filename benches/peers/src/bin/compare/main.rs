//! Compares ringback with its peers. `benches/compare` builds everything and starts this.

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
mod options;
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
    process::ExitCode,
};

use clap::Parser;

use crate::{
    document::Document,
    options::{Options, target},
    session::Stop,
    suite::{CURVES, WORKLOADS},
};

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
        // If the reader is gone, the list does not matter.
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
