//! What happened in a world: for people to read, and as one number to compare.

use std::{collections::VecDeque, fmt, net::SocketAddr, panic::Location};

use crate::{
    handle::{Handle, Kind},
    time::Nanos,
};

/// How many entries are kept. The hash is of all that ever were.
const KEPT: usize = 200_000;

/// How many bytes of a piece are shown.
const GLIMPSE: usize = 24;

/// The first bytes of a piece, for people to know which it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glimpse {
    bytes: [u8; GLIMPSE],
    len: usize,
}

impl Glimpse {
    pub(crate) fn of(piece: &[u8]) -> Glimpse {
        let mut bytes = [0; GLIMPSE];
        let shown = piece.len().min(GLIMPSE);
        bytes[..shown].copy_from_slice(&piece[..shown]);
        Glimpse { bytes, len: piece.len() }
    }
}

impl fmt::Display for Glimpse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes[..self.len.min(GLIMPSE)].escape_ascii();
        write!(out, "\"{shown}\"{}", if self.len > GLIMPSE { "…" } else { "" })
    }
}

/// What came of a job: zero if it went well, the number of the system's error, or below zero for any other.
fn outcome(errno: i32) -> String {
    match errno {
        0 => String::new(),
        ..0 => ", which fails".to_owned(),
        errno => format!(", which fails: {}", std::io::Error::from_raw_os_error(errno)),
    }
}

/// Something that happened. Numbers only, so that to note it costs next to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A callback is about to be called. Where it was started is not hashed: paths differ between machines.
    Called {
        handle: Option<Handle>,
        kind: Kind,
        started: &'static Location<'static>,
    },
    Listening(SocketAddr),
    Connecting(SocketAddr),
    Connected(SocketAddr),
    Accepted(SocketAddr),
    Sent(SocketAddr, Glimpse),
    Received(SocketAddr, Glimpse),
    Ended(SocketAddr),
    Reset(SocketAddr),
    Failed(SocketAddr, i32),
    Closed(SocketAddr),
    JobBegun(u64, &'static str),
    JobDone(u64, &'static str, i32),
    /// Without a worker.
    DoneAtOnce(&'static str, i32),
    Signal(i32),
    Up,
    Killed,
    Crashed,
    Stopped,
    Continued,
    Cut(usize),
    Healed(usize),
}

impl What {
    /// What goes into the hash.
    fn words(self) -> [u64; 3] {
        let end = |addr: SocketAddr| match addr {
            SocketAddr::V4(addr) => u64::from(addr.ip().to_bits()) << 16 | u64::from(addr.port()),
            SocketAddr::V6(addr) => (addr.ip().to_bits() as u64) << 16 | u64::from(addr.port()),
        };
        match self {
            What::Called { handle, kind, .. } => {
                [1, handle.map_or(0, |handle| handle.serial.get()), kind as u64]
            }
            What::Listening(addr) => [2, end(addr), 0],
            What::Connecting(addr) => [3, end(addr), 0],
            What::Connected(addr) => [4, end(addr), 0],
            What::Accepted(addr) => [5, end(addr), 0],
            What::Sent(addr, glimpse) => [6, glimpse.len as u64, end(addr)],
            What::Received(addr, glimpse) => [7, glimpse.len as u64, end(addr)],
            What::Ended(addr) => [8, end(addr), 0],
            What::Reset(addr) => [9, end(addr), 0],
            What::Failed(addr, errno) => [10, end(addr), errno as u64],
            What::Closed(addr) => [11, end(addr), 0],
            What::JobBegun(ticket, _) => [12, ticket, 0],
            What::JobDone(ticket, _, errno) => [13, ticket, errno as u64],
            What::DoneAtOnce(_, errno) => [22, errno as u64, 0],
            What::Signal(signum) => [14, signum as u64, 0],
            What::Up => [15, 0, 0],
            What::Killed => [16, 0, 0],
            What::Crashed => [17, 0, 0],
            What::Stopped => [18, 0, 0],
            What::Continued => [19, 0, 0],
            What::Cut(other) => [20, other as u64, 0],
            What::Healed(other) => [21, other as u64, 0],
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            What::Called { handle, kind, started } => {
                write!(out, "calls {kind}")?;
                if let Some(handle) = handle {
                    write!(out, " {}", handle.serial)?;
                }
                write!(out, ", started at {}:{}", started.file(), started.line())
            }
            What::Listening(addr) => write!(out, "listens on {addr}"),
            What::Connecting(addr) => write!(out, "connects to {addr}"),
            What::Connected(addr) => write!(out, "is connected to {addr}"),
            What::Accepted(addr) => write!(out, "accepts {addr}"),
            What::Sent(addr, glimpse) => write!(out, "sends {} bytes to {addr}: {glimpse}", glimpse.len),
            What::Received(addr, glimpse) => {
                write!(out, "receives {} bytes from {addr}: {glimpse}", glimpse.len)
            }
            What::Ended(addr) => write!(out, "sees the end of {addr}"),
            What::Reset(addr) => write!(out, "is reset by {addr}"),
            What::Failed(addr, errno) => {
                write!(out, "fails with {addr}: {}", std::io::Error::from_raw_os_error(errno))
            }
            What::Closed(addr) => write!(out, "closes {addr}"),
            What::JobBegun(ticket, op) => write!(out, "begins job {ticket}: {op}"),
            What::JobDone(ticket, op, errno) => {
                write!(out, "has done job {ticket}: {op}{}", outcome(errno))
            }
            What::DoneAtOnce(op, errno) => write!(out, "does at once: {op}{}", outcome(errno)),
            What::Signal(signum) => write!(out, "gets signal {signum}"),
            What::Up => out.write_str("starts"),
            What::Killed => out.write_str("is killed"),
            What::Crashed => out.write_str("crashes"),
            What::Stopped => out.write_str("is stopped"),
            What::Continued => out.write_str("goes on"),
            What::Cut(other) => write!(out, "is cut off from host {other}"),
            What::Healed(other) => write!(out, "reaches host {other} again"),
        }
    }
}

/// One thing that happened, when, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) at: Nanos,
    pub(crate) host: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) struct Trace {
    notes: VecDeque<Note>,
    hash: u64,
    count: u64,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Trace {
        Trace { notes: VecDeque::new(), hash: seed, count: 0 }
    }

    pub(crate) fn note(&mut self, at: Nanos, host: usize, what: What) {
        let [code, first, second] = what.words();
        for word in [at, host as u64, code, first, second] {
            // A step of xxHash's: every bit of what was before, and of the word, matters.
            self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b1_85eb_ca87).rotate_left(31);
        }
        self.count += 1;
        if self.notes.len() == KEPT {
            self.notes.pop_front();
        }
        self.notes.push_back(Note { at, host, what });
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }
}
