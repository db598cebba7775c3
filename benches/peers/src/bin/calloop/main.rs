//! The workloads on calloop, as far as it has sources for them: timers, pings, channels and generic sources.

mod net;
mod threads;
mod timers;

use std::{error::Error, process::ExitCode};

use ringback_peers::{Arguments, announce_locked_version, main_of, missing};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    main_of(run)
}

fn run(arguments: &Arguments) -> Result {
    match arguments.workload.as_str() {
        "version" => announce_locked_version("calloop"),
        "echo" => net::echo()?,
        "timers" => timers::timers(arguments)?,
        "start_up" => timers::start_up(arguments)?,
        "loop_count" => timers::loop_count(arguments)?,
        "async_pummel" => threads::async_pummel(arguments)?,
        "post" => threads::post(arguments)?,
        other => missing(other),
    }
    Ok(())
}
