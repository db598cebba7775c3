//! Echo: every byte comes back.
//!
//!     cargo run --release --example echo_tcp 127.0.0.1:7000
//!     nc 127.0.0.1 7000
//!
//! What you type comes back. A peer that sends and never reads is read no further once a quarter of a
//! mebibyte waits for it; one that fails is reported, and the others notice nothing. Ctrl-C ends it.

use std::io::Write;

use ringback::{
    Loop, Result, Signal,
    net::{Event, TcpListener},
    signal,
};

fn main() -> Result {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    let mut lp = Loop::new()?;
    lp.on_failure(|_, _, failure| {
        eprintln!("{failure}");
        Ok(())
    });

    let listener = TcpListener::bind(&mut lp, addr)?;
    listener.start(&mut lp, |lp, _, conn| {
        conn.start(lp, move |lp, _, event| {
            match event? {
                Event::Data(bytes) => conn.write(lp, bytes)?,
                Event::End => conn.finish(lp)?,
                _ => {}
            }
            Ok(())
        })
    })?;
    for signum in [signal::INT, signal::TERM] {
        Signal::on(&mut lp, signum, |lp, _, _| {
            lp.stop();
            Ok(())
        })?;
    }

    println!("listening on {}", listener.local_addr(&mut lp)?);
    std::io::stdout().flush()?;
    lp.run(&mut ())
} // Dropping the loop closes whatever is open.
