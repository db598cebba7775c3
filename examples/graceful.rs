//! Graceful shutdown: a server that sends the replies it owes before it exits.
//!
//!     cargo run --release --example graceful 127.0.0.1:7002 2000
//!     nc 127.0.0.1 7002
//!
//! What you type comes back after 200 ms. At the first Ctrl-C the server accepts no more connections and no
//! more input, sends the replies that are due, and waits until its clients have closed their connections. It
//! exits after 2000 ms at the latest, or at the second Ctrl-C.

mod common;

use std::{collections::BTreeMap, time::Duration};

use ringback::{Error, Loop, Result, Timer, net::Event, net::TcpListener, net::TcpStream};

/// With this many replies due, a client is not read.
const REPLIES_MAX: usize = 16;

#[derive(Default)]
struct Client {
    replies_due: usize,
    /// The client has shut down its side: it will send nothing more.
    has_ended: bool,
}

#[derive(Default)]
struct Server {
    clients: BTreeMap<TcpStream, Client>,
    is_stopping: bool,
}

impl Server {
    fn handle(&mut self, lp: &mut Loop<Server>, conn: TcpStream, event: Event<'_>) -> Result {
        let Some(client) = self.clients.get_mut(&conn) else { return Ok(()) };
        match event {
            Event::Data(bytes) if !self.is_stopping => {
                client.replies_due += 1;
                if client.replies_due == REPLIES_MAX {
                    conn.stop(lp)?;
                }
                return reply_later(lp, conn, bytes.to_vec());
            }
            Event::End => client.has_ended = true,
            Event::Closed => drop(self.clients.remove(&conn)),
            _ => {}
        }
        self.finish_if_done(lp, conn)
    }

    /// Closes the connection, after its last byte was sent, if no reply is due and none will be.
    fn finish_if_done(&self, lp: &mut Loop<Server>, conn: TcpStream) -> Result {
        let Some(client) = self.clients.get(&conn) else { return Ok(()) };
        let is_done = client.replies_due == 0 && (client.has_ended || self.is_stopping);
        if is_done && conn.is_open(lp) { conn.finish(lp) } else { Ok(()) }
    }
}

fn reply_later(lp: &mut Loop<Server>, conn: TcpStream, reply: Vec<u8>) -> Result {
    Timer::after(lp, Duration::from_millis(200), move |lp, server: &mut Server| {
        // The connection may be closed by now.
        let Some(client) = server.clients.get_mut(&conn) else { return Ok(()) };
        client.replies_due -= 1;
        conn.write(lp, reply)?;
        conn.resume(lp)?;
        server.finish_if_done(lp, conn)
    })?;
    Ok(())
}

fn main() -> Result {
    let grace: u64 = match std::env::args().nth(2) {
        Some(millis) => millis.parse().map_err(|_| Error::other(format!("{millis}: not a number of ms")))?,
        None => 2000,
    };
    let mut lp = Loop::new()?;
    let listener = TcpListener::bind(&mut lp, common::addr_or("127.0.0.1:7002"))?;
    listener.start(&mut lp, |lp, server: &mut Server, conn| {
        server.clients.insert(conn, Client::default());
        conn.start(lp, move |lp, server, event| server.handle(lp, conn, event?))
    })?;
    let mut server = Server::default();
    common::run_server(&mut lp, &mut server, listener)?;

    listener.close(&mut lp);
    server.is_stopping = true;
    for &conn in server.clients.keys() {
        server.finish_if_done(&mut lp, conn)?;
    }
    // Run again, for a limited time. The loop returns earlier if nothing is left, or at a second signal.
    lp.run_for(&mut server, Duration::from_millis(grace))?;
    println!("stopped; {} connections were cut off", server.clients.len());
    Ok(())
}
