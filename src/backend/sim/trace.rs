//! The trace of a world: entries for people to read, and a hash of them to compare runs.

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::Location,
};

use crate::{
    handle::{Handle, Kind},
    time::Nanos,
};

/// The number of entries that are kept. The hash covers all that were ever recorded.
const ENTRIES_MAX: usize = 200_000;

/// The number of bytes that a [`Preview`] shows.
const PREVIEW_LEN: usize = 24;

/// The first bytes of a sent or received piece, and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preview {
    bytes: [u8; PREVIEW_LEN],
    len: usize,
}

impl Preview {
    pub(crate) fn of(piece: &[u8]) -> Preview {
        let mut bytes = [0; PREVIEW_LEN];
        let shown = piece.len().min(PREVIEW_LEN);
        bytes[..shown].copy_from_slice(&piece[..shown]);
        Preview { bytes, len: piece.len() }
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes[..self.len.min(PREVIEW_LEN)].escape_ascii();
        write!(out, "\"{shown}\"{}", if self.len > PREVIEW_LEN { "…" } else { "" })
    }
}

/// The end of a job's line: nothing if `errno` is zero. Below zero it is an error that did not come from the
/// system.
fn job_error(errno: i32) -> String {
    match errno {
        0 => String::new(),
        ..0 => ", which fails".to_owned(),
        errno => format!(", which fails: {}", std::io::Error::from_raw_os_error(errno)),
    }
}

/// Something that happened. Holds numbers only, so recording one allocates and formats nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TraceEvent {
    /// A callback is about to be called. `started` is not hashed: paths differ between machines.
    Called {
        handle: Option<Handle>,
        kind: Kind,
        started: &'static Location<'static>,
    },
    Listening(SocketAddr),
    Connecting(SocketAddr),
    Connected(SocketAddr),
    Accepted(SocketAddr),
    Sent(SocketAddr, Preview),
    Received(SocketAddr, Preview),
    Eof(SocketAddr),
    Reset(SocketAddr),
    Failed(SocketAddr, i32),
    Closed(SocketAddr),
    JobStarted(u64, &'static str),
    JobCompleted(u64, &'static str, i32),
    /// A job that completed within `submit`, without a worker.
    CompletedInline(&'static str, i32),
    Signal(i32),
    Started,
    Killed,
    Crashed,
    Paused,
    Resumed,
    Cut(usize),
    Healed(usize),
}

impl TraceEvent {
    /// Returns what is hashed of this event. The numbers must not change: a seed's hash depends on them.
    fn words(self) -> [u64; 3] {
        let word = |addr: SocketAddr| match addr {
            SocketAddr::V4(addr) => u64::from(addr.ip().to_bits()) << 16 | u64::from(addr.port()),
            SocketAddr::V6(addr) => (addr.ip().to_bits() as u64) << 16 | u64::from(addr.port()),
        };
        match self {
            TraceEvent::Called { handle, kind, .. } => {
                [1, handle.map_or(0, |handle| handle.serial.get()), kind as u64]
            }
            TraceEvent::Listening(addr) => [2, word(addr), 0],
            TraceEvent::Connecting(addr) => [3, word(addr), 0],
            TraceEvent::Connected(addr) => [4, word(addr), 0],
            TraceEvent::Accepted(addr) => [5, word(addr), 0],
            TraceEvent::Sent(addr, preview) => [6, preview.len as u64, word(addr)],
            TraceEvent::Received(addr, preview) => [7, preview.len as u64, word(addr)],
            TraceEvent::Eof(addr) => [8, word(addr), 0],
            TraceEvent::Reset(addr) => [9, word(addr), 0],
            TraceEvent::Failed(addr, errno) => [10, word(addr), errno as u64],
            TraceEvent::Closed(addr) => [11, word(addr), 0],
            TraceEvent::JobStarted(ticket, _) => [12, ticket, 0],
            TraceEvent::JobCompleted(ticket, _, errno) => [13, ticket, errno as u64],
            TraceEvent::CompletedInline(_, errno) => [22, errno as u64, 0],
            TraceEvent::Signal(signum) => [14, signum as u64, 0],
            TraceEvent::Started => [15, 0, 0],
            TraceEvent::Killed => [16, 0, 0],
            TraceEvent::Crashed => [17, 0, 0],
            TraceEvent::Paused => [18, 0, 0],
            TraceEvent::Resumed => [19, 0, 0],
            TraceEvent::Cut(other) => [20, other as u64, 0],
            TraceEvent::Healed(other) => [21, other as u64, 0],
        }
    }
}

/// Stands for the address of a Unix socket.
pub(super) const UNIX: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// An address for people to read.
struct Addr(SocketAddr);

impl fmt::Display for Addr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == UNIX { out.write_str("a unix socket") } else { self.0.fmt(out) }
    }
}

impl fmt::Display for TraceEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TraceEvent::Called { handle, kind, started } => {
                write!(out, "calls {kind}")?;
                if let Some(handle) = handle {
                    write!(out, " {}", handle.serial)?;
                }
                write!(out, ", started at {}:{}", started.file(), started.line())
            }
            TraceEvent::Listening(addr) => write!(out, "listens on {}", Addr(addr)),
            TraceEvent::Connecting(addr) => write!(out, "connects to {}", Addr(addr)),
            TraceEvent::Connected(addr) => write!(out, "is connected to {}", Addr(addr)),
            TraceEvent::Accepted(addr) => write!(out, "accepts {}", Addr(addr)),
            TraceEvent::Sent(addr, preview) => {
                write!(out, "sends {} bytes to {}: {preview}", preview.len, Addr(addr))
            }
            TraceEvent::Received(addr, preview) => {
                write!(out, "receives {} bytes from {}: {preview}", preview.len, Addr(addr))
            }
            TraceEvent::Eof(addr) => write!(out, "sees EOF from {}", Addr(addr)),
            TraceEvent::Reset(addr) => write!(out, "is reset by {}", Addr(addr)),
            TraceEvent::Failed(addr, errno) => {
                write!(out, "loses {}: {}", Addr(addr), std::io::Error::from_raw_os_error(errno))
            }
            TraceEvent::Closed(addr) => write!(out, "closes {}", Addr(addr)),
            TraceEvent::JobStarted(ticket, op) => write!(out, "starts job {ticket}: {op}"),
            TraceEvent::JobCompleted(ticket, op, errno) => {
                write!(out, "completes job {ticket}: {op}{}", job_error(errno))
            }
            TraceEvent::CompletedInline(op, errno) => {
                write!(out, "completes inline: {op}{}", job_error(errno))
            }
            TraceEvent::Signal(signum) => write!(out, "receives signal {signum}"),
            TraceEvent::Started => out.write_str("starts"),
            TraceEvent::Killed => out.write_str("is killed"),
            TraceEvent::Crashed => out.write_str("crashes"),
            TraceEvent::Paused => out.write_str("is paused"),
            TraceEvent::Resumed => out.write_str("resumes"),
            TraceEvent::Cut(other) => write!(out, "is cut off from host {other}"),
            TraceEvent::Healed(other) => write!(out, "reaches host {other} again"),
        }
    }
}

/// A recorded event: what happened, when, and on which host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceEntry {
    pub(crate) at: Nanos,
    pub(crate) host: usize,
    pub(crate) event: TraceEvent,
}

#[derive(Debug)]
pub(crate) struct Trace {
    entries: VecDeque<TraceEntry>,
    hash: u64,
    count: u64,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Trace {
        Trace { entries: VecDeque::new(), hash: seed, count: 0 }
    }

    pub(crate) fn record(&mut self, at: Nanos, host: usize, event: TraceEvent) {
        let [code, first, second] = event.words();
        for word in [at, host as u64, code, first, second] {
            // A round of xxHash64: every bit of the hash so far, and of the word, affects the result.
            self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b1_85eb_ca87).rotate_left(31);
        }
        self.count += 1;
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(TraceEntry { at, host, event });
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Returns the number of entries ever recorded.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &TraceEntry> {
        self.entries.iter()
    }
}
