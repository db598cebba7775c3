//! Random programs: callbacks that do something random to anything, and sometimes fail or panic.
//!
//! Each op is drawn from the plan's seed and the op's ordinal, so leaving one op out does not change the
//! others. Most ops work in a simulated world and on the system; `system` has those that only the system
//! supports.

mod files;
mod handles;
mod plan;
mod streams;
mod system;
mod the_loop;
mod threads;
mod unix;

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, path::PathBuf, rc::Rc};

use ringback::{
    Error, Handle, Loop, Poll, Request, Result, Signal, Wake, Waker,
    channel::Sender,
    fs::File,
    net::{ListenOptions, Stream, TcpListener, TcpStream, UnixListener, UnixStream},
    signal,
};

use self::handles::{Hook, StartedTimer};
pub(crate) use self::{
    plan::{Plan, Random},
    streams::Server,
    system::{System, Toy, play_with_toys},
};
use crate::contract::{Contract, Wire};

/// What a program's panic says if it was intended.
pub(crate) const ON_PURPOSE: &str = "on purpose";
/// What `on_failure` says when it ends the run.
pub(crate) const ENDS_THE_RUN: &str = "ends the run";

/// Where programs run.
#[derive(Clone)]
pub(crate) struct Site {
    /// The address that each program listens on.
    pub(crate) listen: &'static str,
    /// Where to connect to: complete when the last program has started.
    pub(crate) servers: Rc<RefCell<Vec<Server>>>,
    /// An address that refuses connections.
    pub(crate) refusing: SocketAddr,
    pub(crate) dir: PathBuf,
    /// Delays are shorter than in the plan by this factor.
    pub(crate) speedup: u32,
    /// What was sent through each connection, from all programs.
    pub(crate) wire: Wire,
    /// Streams of all programs, with the number of their program.
    pub(crate) everyones: Rc<RefCell<Vec<(usize, Stream)>>>,
    /// What only the system has, unless this is a world.
    pub(crate) system: Option<System>,
}

/// The state of a program.
pub(crate) struct App {
    /// Distinguishes the programs of a site.
    number: usize,
    plan: Rc<Plan>,
    site: Site,
    pub(crate) contract: Contract,
    listeners: Vec<TcpListener>,
    unix_listeners: Vec<UnixListener>,
    streams: Vec<Stream>,
    /// Those of the streams whose type has more methods.
    tcp: BTreeMap<Stream, TcpStream>,
    unix: BTreeMap<Stream, UnixStream>,
    timers: Vec<StartedTimer>,
    hooks: Vec<Hook>,
    signals: Vec<Signal>,
    polls: Vec<Poll>,
    handles: Vec<Handle>,
    requests: Vec<Request>,
    wakers: Vec<(Wake, Waker)>,
    /// With the value to send next.
    senders: Vec<(Handle, Sender<u64>, u64)>,
    files: Vec<File>,
    /// An op may call `run`, to see it refused.
    in_callback: bool,
    /// Callbacks do nothing any more.
    resting: bool,
}

impl App {
    pub(crate) fn new(number: usize, plan: Rc<Plan>, site: Site) -> App {
        App {
            number,
            plan,
            contract: Contract::new(site.wire.clone()),
            site,
            listeners: vec![],
            unix_listeners: vec![],
            streams: vec![],
            tcp: BTreeMap::new(),
            unix: BTreeMap::new(),
            timers: vec![],
            hooks: vec![],
            signals: vec![],
            polls: vec![],
            handles: vec![],
            requests: vec![],
            wakers: vec![],
            senders: vec![],
            files: vec![],
            in_callback: false,
            resting: false,
        }
    }

    /// A turn is over, or was interrupted by a panic or an error.
    pub(crate) fn turn_over(&mut self, lp: &Loop<App>, whole: bool) {
        self.in_callback = false;
        self.contract.turn_over(lp.now(), whole);
    }

    /// From now on callbacks do nothing but take what comes.
    pub(crate) fn rest(&mut self, lp: &mut Loop<App>) {
        self.resting = true;
        lp.on_failure(count_failure);
        // A loop that nothing keeps alive would not take what comes.
        for stream in &self.streams {
            let _ = stream.re_ref(lp);
        }
    }

    /// Closes everything.
    pub(crate) fn end(&mut self, lp: &mut Loop<App>) {
        self.wakers.clear();
        self.senders.clear();
        for handle in lp.handles().into_iter().filter_map(|info| info.origin.handle) {
            self.contract.closing(lp, handle);
            self.contract.forget_timer(handle);
            lp.close(handle);
        }
    }

    /// Returns what is left when everything was closed, as an error.
    pub(crate) fn nothing_is_left(&self, lp: &Loop<App>, alive: bool) -> Result<(), String> {
        let handles: Vec<_> = lp.handles().iter().map(ToString::to_string).collect();
        let requests: Vec<_> = self.contract.outstanding.values().collect();
        if alive || !handles.is_empty() || !requests.is_empty() {
            return Err(format!(
                "left at the end, alive {alive}: handles {handles:?}, completions of {requests:?}"
            ));
        }
        self.contract.all_streams_closed()
    }

    /// Picks a stream: mostly an open one.
    fn any_stream(&self, lp: &Loop<App>, random: &mut Random) -> Option<Stream> {
        if random.one_in(8) {
            return random.pick(&self.streams);
        }
        let open: Vec<_> = self.streams.iter().copied().filter(|conn| conn.is_open(lp)).collect();
        random.pick(&open)
    }
}

fn count_failure(_: &mut Loop<App>, app: &mut App, _: ringback::Failure) -> Result {
    app.contract.callback("failure");
    Ok(())
}

/// Starts a program: it listens, watches for a signal, and carries out its first ops.
pub(crate) fn start(lp: &mut Loop<App>, app: &mut App) -> Result {
    lp.on_failure(count_failure);
    streams::listen(lp, app, ListenOptions::new())?;
    let usr1 = Signal::on(lp, signal::USR1, |lp, app: &mut App, _| {
        app.contract.callback("signal");
        after_callback(lp, app, None)
    })?;
    app.handles.push(usr1.into());
    (0..app.plan.ops_at_start()).for_each(|_| op(lp, app));
    Ok(())
}

/// What every callback ends with: some ops, and sometimes an error or a panic. Either closes `me`.
fn after_callback(lp: &mut Loop<App>, app: &mut App, me: Option<Handle>) -> Result {
    if app.resting {
        return Ok(());
    }
    let ordinal = app.plan.next();
    if !app.plan.allows(ordinal) {
        return Ok(());
    }
    let mut random = app.plan.random_of(ordinal, 31, 20);
    app.in_callback = true;
    for _ in 0..random.below(3) {
        op(lp, app);
    }
    app.in_callback = false;
    let fate = random.below(60);
    if fate < 2 {
        app.plan.record(ordinal, if fate == 0 { "panic" } else { "fail" });
        if let Some(me) = me {
            app.contract.closing(lp, me);
        }
        if fate == 0 {
            std::panic::panic_any(ON_PURPOSE);
        }
        return Err(Error::other(ON_PURPOSE));
    }
    Ok(())
}

/// Returns the callback of a request whose result does not matter. An error that it returns closes `owner`.
fn completion<T>(
    number: u64,
    what: &'static str,
    owner: Option<Handle>,
) -> impl FnOnce(&mut Loop<App>, &mut App, Result<T>) -> Result + 'static {
    move |lp, app, _| {
        app.contract.completed(number, what);
        after_callback(lp, app, owner)
    }
}

/// Carries out one of several ops. Returns its name, or None if it could not be done.
type Op = fn(&mut Loop<App>, &mut App, &mut Random) -> Option<&'static str>;

/// Groups of ops, and how often each is chosen: those that cause callbacks more often, or programs would come
/// to rest.
const OPS: &[(u64, Op)] = &[
    (6, handles::on_timers),
    (7, handles::on_hooks),
    (4, handles::on_handles),
    (16, streams::on_streams),
    (1, streams::on_listeners),
    (4, unix::on_unix),
    (6, files::on_jobs),
    (5, files::on_files),
    (6, threads::on_threads),
    (1, the_loop::on_signals),
    (1, the_loop::on_loop),
];

const SYSTEM_OPS: &[(u64, Op)] = &[(8, system::on_system)];

fn choose(on_system: &[(u64, Op)], random: &mut Random) -> Op {
    let groups = || OPS.iter().chain(on_system);
    let mut left = random.below(groups().map(|(weight, _)| weight).sum());
    for &(weight, group) in groups() {
        if left < weight {
            return group;
        }
        left -= weight;
    }
    unreachable!("one of the groups was chosen")
}

/// Carries out the next op of the plan.
pub(crate) fn op(lp: &mut Loop<App>, app: &mut App) {
    let ordinal = app.plan.next();
    if app.resting || !app.plan.allows(ordinal) {
        return;
    }
    app.forget_closed_listeners(lp);
    let mut random = app.plan.random_of(ordinal + 1, 0x9e37_79b9, 17);
    let on_system = if app.site.system.is_some() { SYSTEM_OPS } else { &[] };
    let group = choose(on_system, &mut random);
    app.contract.inside = true;
    let done = group(lp, app, &mut random);
    app.contract.inside = false;
    if let Some(what) = done {
        app.plan.record(ordinal, what);
    }
}

/// The names of all ops that a world supports.
pub(crate) const KNOWN_OPS: &[&str] = &[
    "timer after",
    "timer every",
    "timer start",
    "timer stop",
    "timer again",
    "timer due in",
    "defer",
    "idle",
    "prepare",
    "check",
    "hook stop",
    "hook start",
    "connect",
    "connect timeout",
    "write",
    "write then",
    "try write",
    "shutdown",
    "finish",
    "reset",
    "stop reading",
    "resume",
    "start stream",
    "flush",
    "watermarks",
    "auto pause",
    "limits",
    "wrong loop",
    "listen",
    "unix listen",
    "unix connect",
    "unix pair",
    "unix listener stop",
    "unix listener resume",
    "listener stop",
    "listener resume",
    "max connections",
    "close",
    "close then",
    "cancel",
    "name",
    "unref",
    "re ref",
    "work",
    "read file",
    "write file",
    "file metadata",
    "open file",
    "create file",
    "open to append",
    "read at",
    "write at",
    "append",
    "set len",
    "sync",
    "metadata",
    "close file",
    "wake new",
    "wake",
    "channel",
    "send",
    "post",
    "signal new",
    "signal stop",
    "verify",
    "report",
    "update time",
    "set workers",
    "broadcast",
    "run in a callback",
    "fail",
    "panic",
];

/// The names of the ops that only the system supports.
pub(crate) const KNOWN_SYSTEM_OPS: &[&str] = &[
    "poll",
    "poll stop",
    "stream into std",
    "file into std",
    "raise",
    "stop the loop",
    "failures end the run",
    "give a waker",
    "give a sender",
    "give a remote",
];
