//! Echo server: sends every byte back.
//!
//!     cargo run --release --example echo_tcp 127.0.0.1:7000
//!     nc 127.0.0.1 7000
//!
//! A client that sends and does not read cannot fill the server's memory: while 256 KiB are queued for it,
//! the loop reads nothing more from it. Ctrl-C stops the server.

mod common;

use ringback::{
    Loop, Result,
    net::{Event, TcpListener},
};

fn main() -> Result {
    let mut lp = Loop::new()?;
    let listener = TcpListener::bind(&mut lp, common::addr_or("127.0.0.1:7000"))?;
    listener.start(&mut lp, |lp, _, conn| {
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
    common::run_server(&mut lp, &mut (), listener)
}
