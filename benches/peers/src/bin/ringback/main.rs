//! The workloads on ringback, as its documentation describes it. Nothing here is private to the crate.

mod files;
mod hooks;
mod net;
mod threads;
mod timers;
mod weigh;

use std::process::ExitCode;

use ringback::Result;
use ringback_peers::{Arguments, announce, main_of, missing};

fn main() -> ExitCode {
    main_of(|arguments| Ok(run(arguments)?))
}

fn run(arguments: &Arguments) -> Result {
    match arguments.workload.as_str() {
        "version" => announce(&format!("version ringback {}", own_version())),
        "echo" => net::echo(arguments)?,
        "pipelined" => net::pipelined()?,
        "broadcast" => net::broadcast(arguments)?,
        "pound" => net::pound()?,
        "sink" => net::sink()?,
        "write_batch" => net::write_batch(arguments)?,
        "pump" => net::pump(arguments)?,
        "connect" => net::connect(arguments)?,
        "timers" => timers::timers(arguments)?,
        "timer_churn" => timers::churn(arguments)?,
        "start_up" => timers::start_up(arguments)?,
        "loop_count" => hooks::loop_count(arguments)?,
        "hooks" => hooks::hooks(arguments)?,
        "handles" => hooks::handles(arguments)?,
        "async_pummel" => threads::async_pummel(arguments)?,
        "million_async" => threads::million_async(arguments)?,
        "post" => threads::post(arguments)?,
        "queue_work" => threads::queue_work(arguments)?,
        "read_files" => files::read_files(arguments)?,
        "fs_stat" => files::fs_stat(arguments)?,
        "read_big" => files::read_big(arguments)?,
        "write_big" => files::write_big(arguments)?,
        "weigh_timers" => weigh::timers(arguments)?,
        "weigh_idles" => weigh::idles(arguments)?,
        "weigh_conns" => weigh::conns(arguments)?,
        other => missing(other),
    }
    Ok(())
}

/// Reads the crate's own manifest: a dependency does not export its version.
fn own_version() -> &'static str {
    let manifest = include_str!("../../../../../Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.unwrap_or("of this checkout")
}
