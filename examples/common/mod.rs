//! What every server of these examples needs: an address, a report of failures, and a clean stop.

use std::io::Write;

use ringback::{Loop, Result, Signal, net::TcpListener, signal};

/// Returns the address to listen on: the program's first argument, or `default`.
pub(crate) fn addr_or(default: &str) -> String {
    std::env::args().nth(1).unwrap_or_else(|| default.to_owned())
}

/// Prints where the server listens, and runs it until Ctrl-C (SIGINT) or SIGTERM.
///
/// An error on one connection is printed; it closes that connection, and the others continue. When this
/// returns, the listener and its connections are still open. Dropping the loop closes them.
pub(crate) fn run_server<S>(lp: &mut Loop<S>, state: &mut S, listener: TcpListener) -> Result {
    lp.on_failure(|_, _, failure| {
        eprintln!("{failure}");
        Ok(())
    });
    for signum in [signal::INT, signal::TERM] {
        let watcher = Signal::on(lp, signum, |lp, _, _| {
            lp.stop();
            Ok(())
        })?;
        // A signal that may never come must not keep the loop alive.
        watcher.unref(lp)?;
    }

    // With port 0 the system chooses the port, and this line tells which. Flushed, because a script may
    // wait for it at the other end of a pipe.
    println!("listening on {}", listener.local_addr(lp)?);
    std::io::stdout().flush()?;
    lp.run(state)
}
