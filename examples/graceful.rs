//! A graceful end: a server that is told to stop finishes what it owes first.
//!
//!     cargo run --release --example graceful 127.0.0.1:7002 2000
//!     nc 127.0.0.1 7002
//!
//! Lines come back 200 ms later. On Ctrl-C it takes no more of them, answers those it has, and ends when
//! everybody has hung up: after 2000 ms at the latest, or at the next Ctrl-C.

use std::{collections::BTreeMap, io::Write, time::Duration};

use ringback::{Loop, Result, Signal, Timer, net, net::Event, net::TcpStream, signal};

#[derive(Default)]
struct Server {
    /// How many answers each client is owed, and whether it has ended its side.
    clients: BTreeMap<TcpStream, (usize, bool)>,
    ending: bool,
}

impl Server {
    /// Answers after a while.
    fn owe(&mut self, lp: &mut Loop<Server>, conn: TcpStream, answer: Vec<u8>) -> Result {
        let Some((owed, _)) = self.clients.get_mut(&conn) else { return Ok(()) };
        *owed += 1;
        if *owed == 16 {
            conn.stop(lp)?; // Who asks and asks is read no further.
        }
        Timer::after(lp, Duration::from_millis(200), move |lp, server: &mut Server| {
            // It may have hung up meanwhile.
            let Some((owed, _)) = server.clients.get_mut(&conn) else { return Ok(()) };
            *owed -= 1;
            conn.write(lp, answer)?;
            conn.resume(lp)?;
            server.settle(lp, conn)
        })
        .map(drop)
    }

    /// Ends a connection in good order, once nothing is owed and nothing more will be asked.
    fn settle(&self, lp: &mut Loop<Server>, conn: TcpStream) -> Result {
        match self.clients.get(&conn) {
            Some(&(0, ended)) if (ended || self.ending) && conn.is_open(lp) => conn.finish(lp),
            _ => Ok(()),
        }
    }

    fn hear(&mut self, lp: &mut Loop<Server>, conn: TcpStream, event: Event<'_>) -> Result {
        match event {
            Event::Data(bytes) if !self.ending => return self.owe(lp, conn, bytes.to_vec()),
            Event::End => drop(self.clients.get_mut(&conn).map(|(_, ended)| *ended = true)),
            Event::Closed => drop(self.clients.remove(&conn)),
            _ => {}
        }
        self.settle(lp, conn)
    }
}

fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let addr = arguments.next().unwrap_or_else(|| "127.0.0.1:7002".into());
    let patience = arguments.next().map_or(Ok(2000), |millis| millis.parse()).map(Duration::from_millis)?;
    let mut lp = Loop::new()?;
    lp.on_failure(|_, _, failure| {
        eprintln!("{failure}");
        Ok(())
    });
    let listener = net::TcpListener::bind(&mut lp, addr)?;
    listener.start(&mut lp, |lp, server: &mut Server, conn| {
        server.clients.insert(conn, (0, false));
        conn.start(lp, move |lp, server, event| server.hear(lp, conn, event?))
    })?;
    for signum in [signal::INT, signal::TERM] {
        let watcher = Signal::on(&mut lp, signum, |lp, _, _| {
            lp.stop();
            Ok(())
        })?;
        watcher.unref(&mut lp)?; // To wait for a signal is no reason to go on.
    }
    println!("listening on {}", listener.local_addr(&mut lp)?);
    std::io::stdout().flush()?;
    let mut server = Server::default();
    lp.run(&mut server)?;
    listener.close(&mut lp);
    server.ending = true;
    server.clients.keys().try_for_each(|&conn| server.settle(&mut lp, conn))?;
    // The same loop again, for a limited time. The next signal stops it at once.
    lp.run_for(&mut server, patience)?;
    println!("ended; {} connections were cut off", server.clients.len());
    Ok(())
}
