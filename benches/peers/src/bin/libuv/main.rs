//! The workloads on libuv, through its raw bindings, as a C program would be. A workload with the name of a
//! libuv benchmark does what that one does. Each message is a `uv_write` of its own. Rust's runtime ignores
//! SIGPIPE, as libuv requires.

mod base;
mod clients;
mod files;
mod hooks;
mod servers;
mod threads;
mod timers;
mod weigh;

use std::{error::Error, ffi::CStr, process::ExitCode};

use libuv_sys2::uv_version_string;
use ringback_peers::{Arguments, announce, main_of, missing};

fn main() -> ExitCode {
    main_of(run)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    match arguments.workload.as_str() {
        "version" => version(),
        "echo" => servers::echo(arguments),
        "pipelined" => servers::pipelined(),
        "broadcast" => servers::broadcast(arguments),
        "pound" => servers::pound(),
        "sink" => servers::sink(),
        "write_batch" => clients::write_batch(arguments),
        "pump" => clients::pump(arguments),
        "connect" => clients::connect(arguments),
        "timers" => timers::timers(arguments),
        "timer_churn" => timers::churn(arguments),
        "start_up" => timers::start_up(arguments),
        "loop_count" => hooks::loop_count(arguments),
        "hooks" => hooks::hooks(arguments),
        "handles" => hooks::handles(arguments),
        "async_pummel" => threads::async_pummel(arguments),
        "million_async" => threads::million_async(arguments),
        "post" => threads::post(arguments),
        "queue_work" => threads::queue_work(arguments),
        "read_files" => files::read_files(arguments)?,
        "fs_stat" => files::fs_stat(arguments),
        "read_big" => files::read_big(arguments)?,
        "write_big" => files::write_big(arguments)?,
        "weigh_timers" => weigh::timers(arguments),
        "weigh_idles" => weigh::idles(arguments),
        "weigh_conns" => weigh::conns(arguments),
        other => missing(other),
    }
    Ok(())
}

fn version() {
    // SAFETY: the version is a constant of the library.
    let version = unsafe { CStr::from_ptr(uv_version_string()) };
    announce(&format!("version libuv {}", version.to_string_lossy()));
}
