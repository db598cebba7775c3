//! Clients whose behaviour is given by bytes, in a simulated world.

use std::{net::IpAddr, time::Duration};

use ringback::{
    Loop, Result, Timer,
    net::{Event, TcpStream},
    sim::{Host, Link, World},
};

/// The time between two pieces.
const PAUSE: Duration = Duration::from_millis(10);
const PIECES_MAX: usize = 64;

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It shuts down, and reads until EOF.
    Shutdown,
    /// It stays until EOF.
    Stays,
    Close,
    /// The world resets the connection.
    Reset,
}

/// What a client does. The first two bytes describe the client and the world; the others are what it sends.
///
/// Two values are special, so that few bytes can be a long text in many pieces: 0xff ends a piece, and 0xfe
/// repeats the piece so far as often as the next byte says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    seed: u64,
    flaky: bool,
    /// It reads nothing before it has sent everything.
    stalled: bool,
    ending: Ending,
    pieces: Vec<Vec<u8>>,
}

impl Script {
    /// Decodes a script whose text has at most `text_max` bytes. Returns None if there are too few bytes.
    pub(crate) fn new(bytes: &[u8], text_max: usize) -> Option<Script> {
        let [seed, manner, text @ ..] = bytes else { return None };
        let mut script = Script {
            seed: u64::from(*seed),
            flaky: manner & 8 != 0,
            stalled: manner & 4 != 0,
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

    /// A well-behaved client.
    pub(crate) fn plain(pieces: Vec<String>, ending: Ending) -> Script {
        let pieces = pieces.into_iter().map(String::into_bytes).collect();
        Script { seed: 0, flaky: false, stalled: false, ending, pieces }
    }

    /// Returns everything that it sends.
    pub(crate) fn text(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    pub(crate) fn stays(&self) -> bool {
        self.ending == Ending::Stays
    }

    /// Returns whether everything that it sends arrives, and everything that it should receive.
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(self.ending, Ending::Shutdown | Ending::Stays)
    }

    pub(crate) fn world(&self) -> World {
        let mut world = World::new(self.seed);
        world.set_link(if self.flaky { Link::flaky() } else { Link::new() });
        world
    }

    /// Adds the client of this script, and schedules its reset if it has one.
    pub(crate) fn join<S: 'static>(&self, world: &mut World, server: Host<S>, port: u16) -> Host<Received> {
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

    /// Returns how long it takes to send everything.
    pub(crate) fn duration(&self) -> Duration {
        PAUSE * (self.pieces.len() as u32 + 1)
    }
}

/// What a client has received.
#[derive(Default, Debug)]
pub(crate) struct Received {
    pub(crate) text: Vec<u8>,
    pub(crate) closed: bool,
}

/// Adds a client that does as the script says, and then reads until EOF.
fn client(world: &mut World, server: (IpAddr, u16), script: &Script) -> Result<Host<Received>> {
    let Script { stalled, ending, pieces, .. } = script.clone();
    world.host("client", Received::default(), move |lp, _| {
        // Its connection may be closed, or reset, at any time.
        lp.on_failure(|_, _, _| Ok(()));
        TcpStream::connect(lp, server, move |lp, _, conn| {
            let conn = conn?;
            conn.start(lp, move |lp, received: &mut Received, event| {
                match event? {
                    Event::Data(bytes) => received.text.extend_from_slice(bytes),
                    Event::End => conn.close(lp),
                    Event::Closed => received.closed = true,
                    _ => {}
                }
                Ok(())
            })?;
            // It sends everything, even while it reads nothing.
            conn.set_auto_pause(lp, false)?;
            if stalled {
                conn.stop(lp)?;
            }
            let then = move |lp: &mut Loop<Received>| {
                match ending {
                    Ending::Shutdown => conn.shutdown(lp)?,
                    Ending::Close => conn.close(lp),
                    Ending::Stays | Ending::Reset => {}
                }
                if stalled && conn.is_open(lp) { conn.resume(lp) } else { Ok(()) }
            };
            send(lp, conn, pieces.into_iter(), Box::new(then))
        })
        .map(drop)
    })
}

type Then = Box<dyn FnOnce(&mut Loop<Received>) -> Result>;

/// Sends the remaining pieces, one after the other, unless the connection is closed; then calls `then`.
fn send(
    lp: &mut Loop<Received>,
    conn: TcpStream,
    mut pieces: std::vec::IntoIter<Vec<u8>>,
    then: Then,
) -> Result {
    if !conn.is_open(lp) {
        return Ok(());
    }
    let Some(piece) = pieces.next() else { return then(lp) };
    conn.write(lp, piece)?;
    Timer::after(lp, PAUSE, move |lp, _| send(lp, conn, pieces, then)).map(drop)
}
