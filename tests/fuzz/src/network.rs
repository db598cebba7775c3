//! Bytes as what a client does, and clients that do it, in a simulated world.

use std::{net::IpAddr, time::Duration};

use ringback::{
    Loop, Result, Timer,
    net::{Event, TcpStream},
    sim::{Host, Link, World},
};

/// Between two pieces.
const PAUSE: Duration = Duration::from_millis(10);
const PIECES_MAX: usize = 64;

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ends its side, and listens until the other has ended.
    Shutdown,
    /// It stays until the other ends.
    Stays,
    Close,
    /// The connection is reset from without.
    Reset,
}

/// What a client does: the first two bytes say what for a client and in what a world, the others are what it sends.
/// Two of those mean something else, so that a few bytes can be long texts in many pieces: 0xff ends a piece, and 0xfe
/// repeats what the piece has so far as often as the next byte says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    seed: u64,
    flaky: bool,
    /// It reads nothing before it has said everything.
    deaf: bool,
    ending: Ending,
    pieces: Vec<Vec<u8>>,
}

impl Script {
    /// Of a text that is not longer than this.
    pub(crate) fn new(bytes: &[u8], text_max: usize) -> Option<Script> {
        let [seed, manner, text @ ..] = bytes else { return None };
        let mut script = Script {
            seed: u64::from(*seed),
            flaky: manner & 8 != 0,
            deaf: manner & 4 != 0,
            ending: [Ending::Shutdown, Ending::Stays, Ending::Close, Ending::Reset][usize::from(manner % 4)],
            pieces: vec![vec![]],
        };
        let (mut text, mut total) = (text.iter().copied(), 0);
        while let (Some(byte), true) = (text.next(), total < text_max) {
            let count = script.pieces.len();
            let piece = &mut script.pieces[count - 1];
            match byte {
                0xff if count < PIECES_MAX => script.pieces.push(vec![]),
                0xff => {}
                0xfe => {
                    let times = usize::from(text.next().unwrap_or(0));
                    let times = times.min((text_max - total) / piece.len().max(1));
                    total += piece.len() * times;
                    *piece = piece.repeat(times + 1);
                }
                byte => {
                    piece.push(byte);
                    total += 1;
                }
            }
        }
        Some(script)
    }

    /// A client without guile.
    pub(crate) fn plain(pieces: Vec<String>, ending: Ending) -> Script {
        let pieces = pieces.into_iter().map(String::into_bytes).collect();
        Script { seed: 0, flaky: false, deaf: false, ending, pieces }
    }

    /// All that it sends.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    pub(crate) fn stays(&self) -> bool {
        self.ending == Ending::Stays
    }

    /// Whether everything that it sends arrives, and all the answers.
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(self.ending, Ending::Shutdown | Ending::Stays)
    }

    pub(crate) fn world(&self) -> World {
        let mut world = World::new(self.seed);
        world.set_link(if self.flaky { Link::flaky() } else { Link::new() });
        world
    }

    /// The client of this script, of a server; if it is to be reset, it is.
    pub(crate) fn joins<S: 'static>(&self, world: &mut World, server: Host<S>, port: u16) -> Host<Heard> {
        let addr = (world.addr(server), port);
        let one = client(world, addr, self).expect("a client starts");
        if self.ending == Ending::Reset {
            let at = world.now() + self.duration();
            world.schedule(at, move |world| {
                world.reset(one, server);
                Ok(())
            });
        }
        one
    }

    /// Long enough for everything to be said.
    pub(crate) fn duration(&self) -> Duration {
        PAUSE * (self.pieces.len() as u32 + 1)
    }
}

/// What a client has heard.
#[derive(Default, Debug)]
pub(crate) struct Heard {
    pub(crate) text: Vec<u8>,
    pub(crate) closed: bool,
}

/// A client that does as the script says, and then listens until the end.
fn client(world: &mut World, server: (IpAddr, u16), script: &Script) -> Result<Host<Heard>> {
    let Script { deaf, ending, pieces, .. } = script.clone();
    world.host("client", Heard::default(), move |lp, _| {
        // Its connection may be closed, or reset, at any time.
        lp.on_failure(|_, _, _| Ok(()));
        TcpStream::connect(lp, server, move |lp, _, conn| {
            let conn = conn?;
            conn.start(lp, move |lp, heard: &mut Heard, event| {
                match event? {
                    Event::Data(bytes) => heard.text.extend_from_slice(bytes),
                    Event::End => conn.close(lp),
                    Event::Closed => heard.closed = true,
                    _ => {}
                }
                Ok(())
            })?;
            // All of it is sent, however little it listens.
            conn.set_auto_pause(lp, false)?;
            if deaf {
                conn.stop(lp)?;
            }
            let then = move |lp: &mut Loop<Heard>| {
                match ending {
                    Ending::Shutdown => conn.shutdown(lp)?,
                    Ending::Close => conn.close(lp),
                    Ending::Stays | Ending::Reset => {}
                }
                if deaf && conn.is_open(lp) { conn.resume(lp) } else { Ok(()) }
            };
            say(lp, conn, pieces.into_iter(), Box::new(then))
        })
        .map(drop)
    })
}

type Then = Box<dyn FnOnce(&mut Loop<Heard>) -> Result>;

/// Says the next piece, and the others after it, unless the connection is closed meanwhile; then does something else.
fn say(lp: &mut Loop<Heard>, conn: TcpStream, mut pieces: std::vec::IntoIter<Vec<u8>>, then: Then) -> Result {
    if !conn.is_open(lp) {
        return Ok(());
    }
    let Some(piece) = pieces.next() else { return then(lp) };
    conn.write(lp, piece)?;
    Timer::after(lp, PAUSE, move |lp, _| say(lp, conn, pieces, then)).map(drop)
}
