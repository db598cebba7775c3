//! The client that drives every server: one thread on epoll, which costs less per message than any server.
//! The crate's documentation lists its workloads. Exits with status 1 if a server exits, is silent for ten
//! seconds, or sends a wrong response.

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
