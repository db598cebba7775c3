//! Chat: what one says, all the others read.
//!
//!     cargo run --release --example chat 127.0.0.1:7001
//!     nc 127.0.0.1 7001
//!
//! A line goes to all the others, but for `/nick NAME`, `/who` and `/quit`. Who does not read is dropped.

use std::{collections::BTreeMap, io::Write, time::Duration};

use ringback::net::{Event, TcpListener, TcpStream};
use ringback::{Loop, Options, Result, Signal, Timer, net, signal};

#[derive(Default)]
pub(crate) struct Chat {
    people: BTreeMap<TcpStream, String>,
    guests: u32,
}

impl Chat {
    fn hear(&mut self, lp: &mut Loop<Chat>, who: TcpStream, line: &[u8]) -> Result {
        // No control characters: what one types shall not move another's cursor.
        let line: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
        let nick = &self.people[&who];
        let is_word = |name: &str| (1..=20).contains(&name.len()) && !name.contains(char::is_whitespace);
        let is_taken =
            |name: &str| name.starts_with("guest") || self.people.values().any(|nick| nick == name);
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("", "") => {}
            ("/quit", _) => who.close(lp),
            ("/who", _) => who.write(lp, format!("* here are {:?}\n", self.people.values()))?,
            ("/nick", wanted) if is_word(wanted) && !is_taken(wanted) => {
                net::broadcast(lp, self.people.keys(), format!("* {nick} is now {wanted}\n"));
                self.people.insert(who, wanted.into());
            }
            ("/nick", _) => who.write(lp, "* a nick is one short word, and nobody else's\n")?,
            _ => {
                let others = self.people.keys().filter(|&&other| other != who);
                net::broadcast(lp, others, format!("{nick}: {line}\n"));
            }
        }
        Ok(())
    }
}

pub(crate) fn serve(lp: &mut Loop<Chat>, addr: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(lp, addr)?;
    listener.start(lp, |lp, chat: &mut Chat, conn| {
        let mut pending = Vec::new();
        conn.start(lp, move |lp, chat, event| {
            match event? {
                Event::Data(bytes) => {
                    conn.stop(lp)?; // For a moment: a pasted book drowns nobody.
                    Timer::after(lp, Duration::from_millis(20), move |lp, _| conn.resume(lp).or(Ok(())))?;
                    for &byte in bytes.iter() {
                        pending.push(byte);
                        if conn.is_open(lp) && (byte == b'\n' || pending.len() == 2048) {
                            chat.hear(lp, conn, &pending)?; // One that does not end is cut.
                            pending.clear();
                        }
                    }
                }
                Event::Closed => {
                    let nick = chat.people.remove(&conn).unwrap_or_default();
                    net::broadcast(lp, chat.people.keys(), format!("* {nick} has left\n"));
                }
                Event::End => conn.finish(lp)?,
                _ => {}
            }
            Ok(())
        })?;
        conn.set_queue_limit(lp, 256 << 10)?; // Nobody waits for one with that much to read: he is dropped.
        chat.guests += 1;
        chat.people.insert(conn, format!("guest{}", chat.guests));
        net::broadcast(lp, chat.people.keys(), format!("* guest{} has joined\n", chat.guests));
        conn.write(lp, "* for you, there are /nick NAME, /who and /quit\n")
    })?;
    Ok(listener)
}

fn main() -> Result {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".into());
    let mut lp = Options::new().read_buffer(2048).build()?;
    lp.on_failure(|_, _, failure| {
        eprintln!("{failure}");
        Ok(())
    });
    let listener = serve(&mut lp, &addr)?;
    for signum in [signal::INT, signal::TERM] {
        Signal::on(&mut lp, signum, |lp, _, _| {
            lp.stop();
            Ok(())
        })?;
    }
    println!("listening on {}", listener.local_addr(&mut lp)?);
    std::io::stdout().flush()?;
    lp.run(&mut Chat::default())
}
