//! The floor: the least that a correct program for each workload can do on this kernel, written by hand. It
//! is a yardstick, not a library: what the system does not take at once is the end of a connection.

mod clients;
mod files;
mod servers;
mod sockets;
mod timers;
mod wakes;

use std::{error::Error, fs, process::ExitCode};

use ringback_peers::{Arguments, announce, main_of, missing};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    main_of(run)
}

fn run(arguments: &Arguments) -> Result {
    match arguments.workload.as_str() {
        "echo" => servers::echo(),
        "pipelined" => servers::pipelined(),
        "broadcast" => servers::broadcast(),
        "pound" => servers::pound(),
        "sink" => servers::sink(),
        "write_batch" => clients::write_batch(arguments),
        "pump" => clients::pump(arguments),
        "connect" => clients::connect(arguments),
        "loop_count" => wakes::loop_count(arguments),
        "async_pummel" => wakes::async_pummel(arguments),
        "post" => wakes::post(arguments),
        "queue_work" => wakes::queue_work(arguments),
        "start_up" => wakes::start_up(arguments),
        "read_files" => files::read_files(arguments),
        "fs_stat" => files::stat(arguments),
        "read_big" => files::read_big(arguments),
        "write_big" => files::write_big(arguments),
        "timers" => timers::timers(arguments),
        "version" => version(),
        other => missing(other),
    }
}

fn version() -> Result {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    announce(&format!("version linux {}", release.trim()));
    Ok(())
}
