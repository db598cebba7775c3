//! What drives the servers that are measured, the same for all of them: one thread on epoll, which costs less
//! a message than any server. The workloads are those that the crate's documentation names for `client`. It
//! ends with status 1 when a server ends, falls silent for ten seconds, or answers wrongly.

mod broadcast;
mod exchange;
mod measuring;
mod pound;
mod sockets;

use std::{error::Error, process::ExitCode};

use ringback_peers::{Arguments, main_of, missing};

use crate::{broadcast::Broadcast, exchange::Exchange, measuring::measure, pound::Pound};

fn main() -> ExitCode {
    main_of(run)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    match arguments.workload.as_str() {
        "echo" => measure(arguments, &mut Exchange::echo(arguments)?),
        "pipelined" => measure(arguments, &mut Exchange::pipelined(arguments)?),
        "broadcast" => measure(arguments, &mut Broadcast::new(arguments)?),
        "pound" => measure(arguments, &mut Pound::new(arguments)?),
        other => missing(other),
    }
}
