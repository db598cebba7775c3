//! The workloads on tokio, on its runtime of one thread: a task for each connection and each timer, as its
//! documentation recommends.

mod clients;
mod files;
mod servers;
mod threads;
mod timers;
mod weigh;

use std::{error::Error, process::ExitCode};

use ringback_peers::{Arguments, announce_locked_version, main_of, missing};
use tokio::runtime::{Builder, Runtime};

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    main_of(run)
}

fn run(arguments: &Arguments) -> Result {
    if arguments.workload == "start_up" {
        return timers::start_up(arguments);
    }
    new_runtime()?.block_on(run_inside(arguments))
}

fn new_runtime() -> std::io::Result<Runtime> {
    // As many threads for jobs and files as the other loops have. By default tokio starts one for each job in
    // flight.
    Builder::new_current_thread().enable_all().max_blocking_threads(4).build()
}

async fn run_inside(arguments: &Arguments) -> Result {
    match arguments.workload.as_str() {
        "version" => announce_locked_version("tokio"),
        "echo" => servers::echo().await?,
        "pipelined" => servers::pipelined().await?,
        "broadcast" => servers::broadcast().await?,
        "pound" => servers::pound().await?,
        "write_batch" => clients::write_batch(arguments).await?,
        "pump" => clients::pump(arguments).await?,
        "connect" => clients::connect(arguments).await?,
        "timers" => timers::timers(arguments).await?,
        "timer_churn" => timers::churn(arguments).await?,
        "loop_count" => timers::loop_count(arguments).await?,
        "post" => threads::post(arguments).await?,
        "async_pummel" => threads::async_pummel(arguments).await?,
        "queue_work" => threads::queue_work(arguments).await?,
        "read_files" => files::read_files(arguments).await?,
        "fs_stat" => files::stat(arguments).await?,
        "read_big" => files::read_big(arguments).await?,
        "write_big" => files::write_big(arguments).await?,
        "weigh_conns" => weigh::conns().await?,
        "weigh_timers" => weigh::timers(arguments).await?,
        other => missing(other),
    }
    Ok(())
}
