//! Echo server on a Unix socket: sends every byte back.
//!
//!     cargo run --release --example echo_unix /tmp/echo.sock
//!     nc -U /tmp/echo.sock
//!
//! The server creates the socket file, and removes it when it stops. A file that a killed server left behind
//! is replaced. For each client it prints the user and the process. Ctrl-C stops the server.

mod common;

use ringback::{
    Loop, Result,
    net::{Event, UnixListener},
};

fn main() -> Result {
    let mut lp = Loop::new()?;
    let path = common::addr_or("/tmp/echo.sock");
    let listener = UnixListener::bind(&mut lp, &path)?;
    listener.start(&mut lp, |lp, _, conn| {
        let peer = conn.peer_credentials(lp)?;
        match peer.pid {
            Some(pid) => println!("user {}, process {pid}", peer.uid),
            None => println!("user {}", peer.uid),
        }
        conn.start(lp, move |lp, _, event| {
            match event? {
                Event::Data(bytes) => conn.write(lp, bytes)?,
                // The client sends no more. Send what is queued, then close.
                Event::End => conn.finish(lp)?,
                _ => {}
            }
            Ok(())
        })
    })?;
    common::run_server(&mut lp, &mut (), path)
}
