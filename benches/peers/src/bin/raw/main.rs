//! The floor: for each workload the least that a correct program can do on this kernel, on raw epoll. A
//! yardstick, not a library: when the kernel does not take all bytes of a send, it closes the connection.

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
