//! The programs that are measured, written with libuv: by its raw bindings, as a C program would be, and
//! where libuv has a benchmark of the same name, as that does it. Every message is a `uv_write` of its own.
//! SIGPIPE is ignored, as libuv wants it: Rust's runtime has seen to that.

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
    // SAFETY: it is a constant of the library.
    let version = unsafe { CStr::from_ptr(uv_version_string()) };
    announce(&format!("version libuv {}", version.to_string_lossy()));
}
