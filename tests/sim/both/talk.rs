//! Conversations: both sides know beforehand what is said, and what each is told of it is the same in any order of events.

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
/// So much names the conversation, before anything else is said.
const HEADER: usize = 8;

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Both finish.
    Finish,
    /// The client ends its side, the server answers by closing.
    ShutDown,
    /// The client closes, once it has heard everything.
    Close,
    /// The client resets, once it has heard everything.
    Reset,
    /// The client's callback fails, once it has heard everything.
    Fail,
    /// The client says nothing more, until the server has had enough.
    Silence,
}

/// Who says how much in each round, before hearing what the other says in it.
#[derive(Clone, Debug)]
struct Script {
    rounds: Vec<[usize; 2]>,
    /// By which way each side says it, a number for each round.
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
        // By then the server has heard everything: it says so, and the client may end as it likes.
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
    who: String,
    /// 0 for the client, 1 for the server.
    which: usize,
    /// The round whose words were said, and are being waited for.
    round: usize,
    heard: usize,
    said: usize,
    /// How many conversations are left, and who need not listen when none is.
    left: Option<(Rc<Cell<u64>>, TcpListener)>,
}

type Shared = Rc<RefCell<Side>>;

fn byte_at(position: usize, which: usize) -> u8 {
    (position * 7 + which * 100) as u8
}

impl Side {
    fn begin(seed: u64, number: u64, conn: TcpStream, which: usize) -> Shared {
        let who = format!("talk {number}/{}", ["client", "server"][which]);
        let script = Script::new(seed, number);
        Rc::new(RefCell::new(Side { script, conn, who, which, round: 0, heard: 0, said: 0, left: None }))
    }

    /// What the other has said by the end of the round.
    fn due(&self) -> usize {
        self.script.rounds[..=self.round].iter().map(|round| round[1 - self.which]).sum()
    }

    fn next_words(&mut self) -> Vec<u8> {
        let count = self.script.rounds[self.round][self.which];
        let words = (self.said..self.said + count).map(|position| byte_at(position, self.which)).collect();
        self.said += count;
        words
    }
}

/// Says what is to be said in this round, in one of the ways that there are.
fn say(lp: &mut Loop<Story>, side: &Shared) -> Result {
    let (words, conn, way, who) = {
        let mut side = side.borrow_mut();
        let way = side.script.ways[side.round][side.which];
        (side.next_words(), side.conn, way, side.who.clone())
    };
    match way {
        0 => conn.write(lp, words),
        1 => conn.write_then(lp, words, move |_, story: &mut Story, result| {
            story.tell_result(&format!("{who}/writes"), "write", &result);
            Ok(())
        }),
        2 => {
            let sent = conn.try_write(lp, &words)?;
            conn.write(lp, &words[sent..])
        }
        3 => words.chunks(1 + words.len() / 7).try_for_each(|piece| conn.write(lp, piece)),
        _ => {
            // And deaf for a while.
            conn.write(lp, words)?;
            conn.stop(lp)?;
            Timer::after(lp, Duration::from_millis(1), move |lp, _: &mut Story| {
                if conn.is_open(lp) { conn.resume(lp) } else { Ok(()) }
            })
            .map(drop)
        }
    }
}

/// Something was heard. Says what there is to say after it, and ends after the last words.
fn hear(lp: &mut Loop<Story>, story: &mut Story, side: &Shared, bytes: &[u8]) -> Result {
    {
        let mut side = side.borrow_mut();
        let from = side.heard;
        side.heard += bytes.len();
        let right = bytes.iter().zip(from..).all(|(&byte, at)| byte == byte_at(at, 1 - side.which));
        if !right {
            story.tell(&side.who, "hears something else than was said");
        }
    }
    loop {
        let is_last = {
            let mut side = side.borrow_mut();
            if side.heard < side.due() {
                return Ok(());
            }
            story.tell(&side.who, format!("has heard {} in round {}", side.due(), side.round));
            let is_last = side.round + 1 == side.script.rounds.len();
            side.round += usize::from(!is_last);
            is_last
        };
        if is_last {
            return end(lp, story, side);
        }
        say(lp, side)?;
    }
}

fn end(lp: &mut Loop<Story>, story: &mut Story, side: &Shared) -> Result {
    let (conn, who, which, ending) = {
        let side = side.borrow();
        (side.conn, side.who.clone(), side.which, side.script.ending)
    };
    if which == 1 {
        return match ending {
            Ending::Silence => conn.set_idle_timeout(lp, Some(Duration::from_millis(30))),
            _ => Ok(()),
        };
    }
    story.tell(&who, format!("{ending:?}"));
    // Whoever is still deaf would not hear the end.
    conn.resume(lp)?;
    match ending {
        Ending::Finish => conn.finish(lp),
        Ending::ShutDown => {
            conn.shutdown(lp)?;
            story.tell_result(&who, "shut down again", &conn.shutdown(lp));
            story.tell_result(&who, "write", &conn.write(lp, "more"));
            story.tell_result(&who, "try to write", &conn.try_write(lp, b"more"));
            Ok(())
        }
        Ending::Close | Ending::Reset => {
            if ending == Ending::Close {
                conn.close(lp)
            } else {
                conn.close_reset(lp)?
            }
            story.tell_result(&who, "write", &conn.write(lp, "more"));
            story.tell_result(&who, "resume", &conn.resume(lp));
            Ok(())
        }
        Ending::Fail => Err(Error::other("on purpose")),
        Ending::Silence => Ok(()),
    }
}

/// What both sides do with what they are told.
fn follow(lp: &mut Loop<Story>, story: &mut Story, side: &Shared, event: Result<Event<'_>>) -> Result {
    let (conn, who, which, ending) = {
        let side = side.borrow();
        (side.conn, side.who.clone(), side.which, side.script.ending)
    };
    match event {
        Ok(Event::Data(bytes)) => hear(lp, story, side, bytes),
        Ok(Event::End) => {
            story.tell(&who, "end");
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
            story.tell(&who, "closed");
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
            story.tell_result(&who, "told", &Err::<(), _>(error));
            Ok(())
        }
    }
}

/// Starts a side, whose first words are said at once.
fn start(lp: &mut Loop<Story>, story: &mut Story, side: &Shared) -> Result {
    let conn = side.borrow().conn;
    story.parts.insert(conn.into(), side.borrow().who.clone());
    let own = side.clone();
    conn.start(lp, move |lp, story: &mut Story, event| follow(lp, story, &own, event))?;
    say(lp, side)
}

/// The server: whom it talks with, it hears first. It ends when all conversations have.
pub(super) fn serve(lp: &mut Loop<Story>, seed: u64, listen: &str) -> Result<SocketAddr> {
    let listener = TcpListener::bind(lp, listen)?;
    listener.set_max_connections(lp, Some(5))?;
    let left = Rc::new(Cell::new(TALKS));
    listener.start(lp, move |lp, _, conn| {
        let mut header = Vec::new();
        let left = left.clone();
        conn.start(lp, move |lp, story: &mut Story, event| {
            let Event::Data(bytes) = event? else { return Ok(()) };
            let (first, rest) = bytes.split_at(bytes.len().min(HEADER - header.len()));
            header.extend_from_slice(first);
            let Ok(number) = <[u8; HEADER]>::try_from(header.as_slice()) else { return Ok(()) };
            let side = Side::begin(seed, u64::from_le_bytes(number), conn, 1);
            side.borrow_mut().left = Some((left.clone(), listener));
            start(lp, story, &side)?;
            if rest.is_empty() { Ok(()) } else { hear(lp, story, &side, rest) }
        })
    })?;
    listener.local_addr(lp)
}

/// The clients of all conversations.
pub(super) fn call(lp: &mut Loop<Story>, seed: u64, server: SocketAddr) -> Result {
    for number in 0..TALKS {
        TcpStream::connect(lp, server, move |lp, story: &mut Story, conn| {
            let conn = conn?;
            conn.write(lp, number.to_le_bytes().to_vec())?;
            let side = Side::begin(seed, number, conn, 0);
            start(lp, story, &side)
        })?;
    }
    Ok(())
}
