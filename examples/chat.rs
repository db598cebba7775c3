//! Chat server: each line that a client sends goes to all the others.
//!
//!     cargo run --release --example chat 127.0.0.1:7001
//!     nc 127.0.0.1 7001
//!
//! `/nick NAME` changes a name, `/who` lists the names, `/quit` leaves. A client that does not read is
//! disconnected once 256 KiB are queued for it, so the others never wait for it.

mod common;

use std::{collections::BTreeMap, time::Duration};

use ringback::{Loop, Options, Result, Timer, net, net::Event, net::TcpListener, net::TcpStream};

const LINE_MAX: usize = 2048; // Bytes. A longer line is delivered in pieces.

#[derive(Default)]
pub(crate) struct Chat {
    nicks: BTreeMap<TcpStream, String>,
    guests: u32,
}

impl Chat {
    fn join(&mut self, lp: &mut Loop<Chat>, client: TcpStream) -> Result {
        client.set_queue_limit(lp, 256 << 10)?;
        self.guests += 1;
        let nick = format!("guest{}", self.guests);
        self.nicks.insert(client, nick.clone());
        net::broadcast(lp, self.nicks.keys(), format!("* {nick} has joined\n"));
        client.write(lp, "* commands: /nick NAME, /who, /quit\n")
    }

    fn leave(&mut self, lp: &mut Loop<Chat>, client: TcpStream) {
        let nick = self.nicks.remove(&client).unwrap_or_default();
        net::broadcast(lp, self.nicks.keys(), format!("* {nick} has left\n"));
    }

    fn receive(&mut self, lp: &mut Loop<Chat>, client: TcpStream, line: &[u8]) -> Result {
        // Control characters could move the cursor on another client's terminal.
        let line: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
        let nick = &self.nicks[&client];
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("", "") => {}
            ("/quit", _) => client.close(lp),
            ("/who", _) => client.write(lp, format!("* here are {:?}\n", self.nicks.values()))?,
            ("/nick", wanted) if self.is_available(wanted) => {
                net::broadcast(lp, self.nicks.keys(), format!("* {nick} is now {wanted}\n"));
                self.nicks.insert(client, wanted.to_owned());
            }
            ("/nick", _) => client.write(lp, "* a nick is one short word that is not taken\n")?,
            _ => {
                let others = self.nicks.keys().filter(|&&other| other != client);
                net::broadcast(lp, others, format!("{nick}: {line}\n"));
            }
        }
        Ok(())
    }

    fn is_available(&self, nick: &str) -> bool {
        let is_word = (1..=20).contains(&nick.len()) && !nick.contains(char::is_whitespace);
        is_word && !nick.starts_with("guest") && self.nicks.values().all(|other| other != nick)
    }
}

pub(crate) fn serve(lp: &mut Loop<Chat>, addr: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(lp, addr)?;
    listener.start(lp, |lp, chat: &mut Chat, client| {
        let mut line = Vec::new();
        client.start(lp, move |lp, chat, event| {
            match event? {
                Event::Data(bytes) => {
                    // A client that pastes a book must not flood the others: pause it after each read.
                    client.stop(lp)?;
                    Timer::after(lp, Duration::from_millis(20), move |lp, _| {
                        if client.is_open(lp) { client.resume(lp) } else { Ok(()) }
                    })?;
                    for &byte in bytes.iter() {
                        line.push(byte);
                        if client.is_open(lp) && (byte == b'\n' || line.len() == LINE_MAX) {
                            chat.receive(lp, client, &line)?;
                            line.clear();
                        }
                    }
                }
                Event::End => client.finish(lp)?,
                Event::Closed => chat.leave(lp, client),
                _ => {}
            }
            Ok(())
        })?;
        chat.join(lp, client)
    })?;
    Ok(listener)
}

fn main() -> Result {
    let mut lp = Options::new().read_buffer(LINE_MAX).build()?;
    let listener = serve(&mut lp, &common::addr_or("127.0.0.1:7001"))?;
    common::run_server(&mut lp, &mut Chat::default(), listener)
}
