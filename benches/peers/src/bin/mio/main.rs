//! The workloads on mio: sources are registered once, and each event is handled until the system would block,
//! as its documentation requires.

mod servers;
mod wakes;

use std::{error::Error, process::ExitCode};

use ringback_peers::{Arguments, announce_locked_version, main_of, missing};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    main_of(run)
}

fn run(arguments: &Arguments) -> Result {
    match arguments.workload.as_str() {
        "version" => announce_locked_version("mio"),
        "echo" => servers::echo()?,
        "pipelined" => servers::pipelined()?,
        "broadcast" => servers::broadcast()?,
        "pound" => servers::pound()?,
        "async_pummel" => wakes::async_pummel(arguments)?,
        other => missing(other),
    }
    Ok(())
}
