//! Conversations that both sides know beforehand, so that what each side gets does not depend on the order of
//! events.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use ringback::{
    Error, Loop, Result, Timer,
    net::{Event, TcpListener, TcpStream},
};

use super::script::{Story, random};
use crate::program::Random;

const TALKS: u64 = 12;
/// The bytes that a client sends first: the number of the conversation.
const HEADER_LEN: usize = 8;

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Both finish.
    Finish,
    /// The client shuts down, and the server closes.
    ShutDown,
    /// The client closes when it has received everything.
    Close,
    /// The client resets when it has received everything.
    Reset,
    /// The client's callback fails when it has received everything.
    Fail,
    /// The client sends nothing more, until the server's idle timeout.
    Silence,
}

/// What both sides send in each round, before they receive the other's part.
#[derive(Clone, Debug)]
struct Script {
    rounds: Vec<[usize; 2]>,
    /// The way in which each side sends it, a number for each round.
    ways: Vec<[u64; 2]>,
    ending: Ending,
}

impl Script {
    fn new(seed: u64, number: u64) -> Script {
        let mut random = random(seed, 100 + number);
        let count = 1 + random.below(5);
        let size = |random: &mut Random| {
            let most = [1, 100, 5_000, 60_000][random.below(4) as usize];
            1 + random.below(most) as usize
        };
        let mut rounds: Vec<_> = (0..count).map(|_| [size(&mut random), size(&mut random)]).collect();
        // A last byte from the server shows that it has received everything: then the client may end.
        rounds.push([0, 1]);
        let ways = (0..=count).map(|_| [random.below(5), random.below(5)]).collect();
        let endings =
            [Ending::Finish, Ending::ShutDown, Ending::Close, Ending::Reset, Ending::Fail, Ending::Silence];
        Script { rounds, ways, ending: endings[random.below(6) as usize] }
    }
}

/// One side of a conversation.
struct Side {
    script: Script,
    conn: TcpStream,
    actor: String,
    /// 0 for the client, 1 for the server.
    which: usize,
    /// The round that this side has sent its part of, and is receiving.
    round: usize,
    received: usize,
    sent: usize,
    /// Of the server: how many conversations are left, and the listener to close when none is.
    left: Option<(Rc<Cell<u64>>, TcpListener)>,
}

type Shared = Rc<RefCell<Side>>;

fn byte_at(position: usize, which: usize) -> u8 {
    (position * 7 + which * 100) as u8
}

impl Side {
    fn new(seed: u64, number: u64, conn: TcpStream, which: usize) -> Shared {
        let actor = format!("talk {number}/{}", ["client", "server"][which]);
        let script = Script::new(seed, number);
        Rc::new(RefCell::new(Side { script, conn, actor, which, round: 0, received: 0, sent: 0, left: None }))
    }

    /// Returns how much the other side has sent by the end of the round.
    fn due(&self) -> usize {
        self.script.rounds[..=self.round].iter().map(|round| round[1 - self.which]).sum()
    }

    fn next_bytes(&mut self) -> Vec<u8> {
        let count = self.script.rounds[self.round][self.which];
        let bytes = (self.sent..self.sent + count).map(|position| byte_at(position, self.which)).collect();
        self.sent += count;
        bytes
    }
}

/// Sends this side's part of the round, in one of several ways.
fn send(lp: &mut Loop<Story>, side: &Shared) -> Result {
    let (bytes, conn, way, actor) = {
        let mut side = side.borrow_mut();
        let way = side.script.ways[side.round][side.which];
        (side.next_bytes(), side.conn, way, side.actor.clone())
    };
    match way {
        0 => conn.write(lp, bytes),
        1 => conn.write_then(lp, bytes, move |_, story: &mut Story, result| {
            story.record_result(&format!("{actor}/writes"), "write", &result);
            Ok(())
        }),
        2 => {
            let sent = conn.try_write(lp, &bytes)?;
            conn.write(lp, &bytes[sent..])
        }
        3 => bytes.chunks(1 + bytes.len() / 7).try_for_each(|piece| conn.write(lp, piece)),
        _ => {
            // And read nothing for a while.
            conn.write(lp, bytes)?;
            conn.stop(lp)?;
            Timer::after(lp, Duration::from_millis(1), move |lp, _: &mut Story| {
                if conn.is_open(lp) { conn.resume(lp) } else { Ok(()) }
            })
            .map(drop)
        }
    }
}

/// Checks what was received, sends what follows, and ends after the last round.
fn receive(lp: &mut Loop<Story>, story: &mut Story, side: &Shared, bytes: &[u8]) -> Result {
    {
        let mut side = side.borrow_mut();
        let from = side.received;
        side.received += bytes.len();
        let right = bytes.iter().zip(from..).all(|(&byte, at)| byte == byte_at(at, 1 - side.which));
        if !right {
            story.record(&side.actor, "received other bytes than were sent");
        }
    }
    loop {
        let is_last = {
            let mut side = side.borrow_mut();
            if side.received < side.due() {
                return Ok(());
            }
            story.record(&side.actor, format!("received {} by round {}", side.due(), side.round));
            let is_last = side.round + 1 == side.script.rounds.len();
            side.round += usize::from(!is_last);
            is_last
        };
        if is_last {
            return end(lp, story, side);
        }
        send(lp, side)?;
    }
}

fn end(lp: &mut Loop<Story>, story: &mut Story, side: &Shared) -> Result {
    let (conn, actor, which, ending) = {
        let side = side.borrow();
        (side.conn, side.actor.clone(), side.which, side.script.ending)
    };
    if which == 1 {
        return match ending {
            Ending::Silence => conn.set_idle_timeout(lp, Some(Duration::from_millis(30))),
            _ => Ok(()),
        };
    }
    story.record(&actor, format!("{ending:?}"));
    // While reading is stopped, EOF would not be reported.
    conn.resume(lp)?;
    match ending {
        Ending::Finish => conn.finish(lp),
        Ending::ShutDown => {
            conn.shutdown(lp)?;
            story.record_result(&actor, "shut down again", &conn.shutdown(lp));
            story.record_result(&actor, "write", &conn.write(lp, "more"));
            story.record_result(&actor, "try to write", &conn.try_write(lp, b"more"));
            Ok(())
        }
        Ending::Close | Ending::Reset => {
            if ending == Ending::Close {
                conn.close(lp)
            } else {
                conn.close_reset(lp)?
            }
            story.record_result(&actor, "write", &conn.write(lp, "more"));
            story.record_result(&actor, "resume", &conn.resume(lp));
            Ok(())
        }
        Ending::Fail => Err(Error::other("on purpose")),
        Ending::Silence => Ok(()),
    }
}

/// The callback of both sides.
fn on_event(lp: &mut Loop<Story>, story: &mut Story, side: &Shared, event: Result<Event<'_>>) -> Result {
    let (conn, actor, which, ending) = {
        let side = side.borrow();
        (side.conn, side.actor.clone(), side.which, side.script.ending)
    };
    match event {
        Ok(Event::Data(bytes)) => receive(lp, story, side, bytes),
        Ok(Event::End) => {
            story.record(&actor, "EOF");
            match (which, ending) {
                (1, Ending::Finish) => {
                    conn.resume(lp)?;
                    conn.finish(lp)
                }
                (1, _) | (0, Ending::ShutDown | Ending::Silence) => {
                    conn.close(lp);
                    Ok(())
                }
                _ => Ok(()),
            }
        }
        Ok(Event::Closed) => {
            story.record(&actor, "closed");
            if let Some((left, listener)) = side.borrow_mut().left.take() {
                left.set(left.get() - 1);
                if left.get() == 0 {
                    listener.close(lp);
                }
            }
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => {
            if matches!(error, Error::TimedOut { .. }) {
                conn.close(lp);
            }
            story.record_result(&actor, "error", &Err::<(), _>(error));
            Ok(())
        }
    }
}

/// Starts a side. It sends its part of the first round at once.
fn start(lp: &mut Loop<Story>, story: &mut Story, side: &Shared) -> Result {
    let conn = side.borrow().conn;
    story.actors.insert(conn.into(), side.borrow().actor.clone());
    let own = side.clone();
    conn.start(lp, move |lp, story: &mut Story, event| on_event(lp, story, &own, event))?;
    send(lp, side)
}

/// Starts the server. The first bytes of a connection say which conversation it is. It ends when all have.
pub(super) fn serve(lp: &mut Loop<Story>, seed: u64, listen: &str) -> Result<SocketAddr> {
    let listener = TcpListener::bind(lp, listen)?;
    listener.set_max_connections(lp, Some(5))?;
    let left = Rc::new(Cell::new(TALKS));
    listener.start(lp, move |lp, _, conn| {
        let mut header = Vec::new();
        let left = left.clone();
        conn.start(lp, move |lp, story: &mut Story, event| {
            let Event::Data(bytes) = event? else { return Ok(()) };
            let (first, rest) = bytes.split_at(bytes.len().min(HEADER_LEN - header.len()));
            header.extend_from_slice(first);
            let Ok(number) = <[u8; HEADER_LEN]>::try_from(header.as_slice()) else { return Ok(()) };
            let side = Side::new(seed, u64::from_le_bytes(number), conn, 1);
            side.borrow_mut().left = Some((left.clone(), listener));
            start(lp, story, &side)?;
            if rest.is_empty() { Ok(()) } else { receive(lp, story, &side, rest) }
        })
    })?;
    listener.local_addr(lp)
}

/// Starts the clients of all conversations.
pub(super) fn connect_all(lp: &mut Loop<Story>, seed: u64, server: SocketAddr) -> Result {
    for number in 0..TALKS {
        TcpStream::connect(lp, server, move |lp, story: &mut Story, conn| {
            let conn = conn?;
            conn.write(lp, number.to_le_bytes().to_vec())?;
            let side = Side::new(seed, number, conn, 0);
            start(lp, story, &side)
        })?;
    }
    Ok(())
}
