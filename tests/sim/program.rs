//! A random program: what it does next is drawn from the plan's seed and the number of the act, so that leaving one act out
//! leaves the others what they are.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use ringback::{
    Check, Error, Handle, Idle, Loop, Prepare, Request, Result, Signal, Timer, Wake, Waker,
    channel::{self, Sender},
    fs::{self, File},
    net::{Event, TcpListener, TcpStream},
    signal, work,
};

use crate::{contract::Contract, random};

/// What a program says when it panics on purpose.
pub(crate) const ON_PURPOSE: &str = "on purpose";
/// How many acts all programs of a plan carry out together; and how many in a crowd, which one plan in so many is.
const ACTS: u32 = 400;
const CROWD: u32 = 2000;
const CROWD_ONE_IN: u64 = 128;

/// Chance in the numbers that programs need.
pub(crate) struct Random(random::Random);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(random::Random::new(seed))
    }

    /// Below `limit`; zero if that is zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0.next() % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len() as u64) as usize).copied()
    }

    fn delay(&mut self, haste: u32) -> Duration {
        let most = [1, 1_000, 20_000, 2_000_000][self.below(4) as usize];
        Duration::from_micros(self.below(most)) / haste
    }
}

/// A seed, and which of the acts are left out.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) skipped: BTreeSet<u32>,
    ordinal: Cell<u32>,
    log: RefCell<Vec<(u32, &'static str)>>,
}

impl Plan {
    pub(crate) fn new(seed: u64, skipped: BTreeSet<u32>) -> Plan {
        Plan { seed, skipped, ordinal: Cell::new(0), log: RefCell::default() }
    }

    /// How many acts are carried out before everything comes to its end. Callbacks may then act as often again.
    pub(crate) fn acts(&self) -> u32 {
        if self.is_crowd() { CROWD } else { ACTS }
    }

    fn is_crowd(&self) -> bool {
        self.seed % CROWD_ONE_IN == CROWD_ONE_IN - 1
    }

    /// How many acts a program begins with.
    fn acts_at_first(&self) -> u32 {
        if self.is_crowd() { CROWD / 6 } else { 4 }
    }

    pub(crate) fn rewind(&self) {
        self.ordinal.set(0);
        self.log.borrow_mut().clear();
    }

    pub(crate) fn count(&self) -> u32 {
        self.ordinal.get()
    }

    pub(crate) fn next(&self) -> u32 {
        self.ordinal.replace(self.ordinal.get() + 1)
    }

    pub(crate) fn allows(&self, ordinal: u32) -> bool {
        ordinal < 2 * self.acts() && !self.skipped.contains(&ordinal)
    }

    pub(crate) fn note(&self, ordinal: u32, what: &'static str) {
        self.log.borrow_mut().push((ordinal, what));
    }

    pub(crate) fn carried_out(&self) -> Vec<String> {
        self.log.borrow().iter().map(|(ordinal, what)| format!("{ordinal:>5} {what}")).collect()
    }

    pub(crate) fn tally(&self) -> BTreeMap<&'static str, u32> {
        let mut tally = BTreeMap::new();
        self.log.borrow().iter().for_each(|(_, what)| *tally.entry(*what).or_default() += 1);
        tally
    }
}

/// Where programs run.
#[derive(Clone)]
pub(crate) struct Place {
    /// Where each listens.
    pub(crate) listen: &'static str,
    /// Where each is found: all of them, when the last has begun.
    pub(crate) found: Rc<RefCell<Vec<SocketAddr>>>,
    /// Where nobody is.
    pub(crate) nobody: SocketAddr,
    pub(crate) dir: PathBuf,
    /// By how much delays are shorter than in the plan.
    pub(crate) haste: u32,
}

/// The state of a program.
pub(crate) struct App {
    plan: Rc<Plan>,
    place: Place,
    pub(crate) contract: Contract,
    streams: Vec<TcpStream>,
    timers: Vec<Timer>,
    idles: Vec<Idle>,
    handles: Vec<Handle>,
    requests: Vec<Request>,
    wakers: Vec<(Wake, Waker)>,
    /// With what is to be sent next.
    senders: Vec<(Handle, Sender<u64>, u64)>,
    files: Vec<File>,
    ending: bool,
}

impl App {
    pub(crate) fn new(plan: Rc<Plan>, place: Place) -> App {
        App {
            plan,
            place,
            contract: Contract::default(),
            streams: vec![],
            timers: vec![],
            idles: vec![],
            handles: vec![],
            requests: vec![],
            wakers: vec![],
            senders: vec![],
            files: vec![],
            ending: false,
        }
    }

    /// From now on it only answers.
    pub(crate) fn rest(&mut self) {
        self.ending = true;
    }

    /// Closes everything.
    pub(crate) fn end(&mut self, lp: &mut Loop<App>) {
        self.wakers.clear();
        self.senders.clear();
        for handle in lp.handles().into_iter().filter_map(|entry| entry.origin.handle) {
            self.contract.closes(lp, handle);
            self.contract.takes_back(handle);
            lp.close(handle);
        }
    }

    /// What must hold when everything has come to its end.
    pub(crate) fn nothing_is_left(&self, lp: &Loop<App>, alive: bool) -> Result<(), String> {
        let handles: Vec<_> = lp.handles().iter().map(ToString::to_string).collect();
        let answers: Vec<_> = self.contract.asked.values().collect();
        if alive || !handles.is_empty() || !answers.is_empty() {
            return Err(format!(
                "left at the end, alive {alive}: handles {handles:?}, answers to {answers:?}"
            ));
        }
        Ok(())
    }
}

/// Starts a program: it listens, watches for a signal, and does this and that.
pub(crate) fn begin(lp: &mut Loop<App>, app: &mut App) -> Result {
    lp.on_failure(|_, app: &mut App, _| {
        app.contract.callback("failure");
        Ok(())
    });
    let listener = TcpListener::bind(lp, app.place.listen)?;
    listener.start(lp, move |lp, app: &mut App, conn| {
        app.contract.event(listener.into(), "accepted");
        adopt(lp, app, conn)?;
        go_on(lp, app, Some(conn.into()))
    })?;
    app.handles.push(listener.into());
    let addr = listener.local_addr(lp)?;
    if !addr.ip().is_unspecified() {
        app.place.found.borrow_mut().push(addr);
    }
    let usr1 = Signal::on(lp, signal::USR1, |lp, app: &mut App, _| {
        app.contract.callback("signal");
        go_on(lp, app, None)
    })?;
    app.handles.push(usr1.into());
    (0..app.plan.acts_at_first()).for_each(|_| op(lp, app));
    Ok(())
}

/// A stream that the program has from now on.
fn adopt(lp: &mut Loop<App>, app: &mut App, conn: TcpStream) -> Result {
    app.streams.push(conn);
    app.handles.push(conn.into());
    if let (Ok(own), Ok(peer)) = (conn.local_addr(lp), conn.peer_addr(lp)) {
        app.contract.adopts(conn, (own, peer));
    }
    conn.start(lp, move |lp, app: &mut App, event| {
        match event {
            Ok(Event::Closed) => {
                app.contract.callback("closed");
                return Ok(());
            }
            Ok(Event::Data(bytes)) => {
                app.contract.event(conn.into(), "data");
                app.contract.receives(conn, bytes);
            }
            Ok(Event::End) => {
                app.contract.event(conn.into(), "end");
                app.contract.ends(conn);
            }
            Ok(_) => app.contract.callback("stream event"),
            Err(error) => {
                app.contract.callback("stream error");
                let closes = !matches!(error, Error::TimedOut { .. });
                if closes {
                    app.contract.closes(lp, conn);
                } else if app.ending {
                    conn.set_idle_timeout(lp, None)?;
                }
            }
        }
        go_on(lp, app, Some(conn.into()))
    })
}

/// What a callback does: some acts, and then, now and then, it fails or panics.
fn go_on(lp: &mut Loop<App>, app: &mut App, me: Option<Handle>) -> Result {
    if app.ending {
        return Ok(());
    }
    let ordinal = app.plan.next();
    if !app.plan.allows(ordinal) {
        return Ok(());
    }
    let mut random = Random::new(app.plan.seed.wrapping_mul(31) ^ u64::from(ordinal) << 20);
    for _ in 0..random.below(3) {
        op(lp, app);
    }
    let fate = random.below(60);
    if fate < 2 {
        app.plan.note(ordinal, if fate == 0 { "panic" } else { "fail" });
        if let Some(me) = me {
            app.contract.closes(lp, me);
        }
        if fate == 0 {
            std::panic::panic_any(ON_PURPOSE);
        }
        return Err(Error::other(ON_PURPOSE));
    }
    Ok(())
}

/// A hook is called: after `left` times it closes itself.
fn visited(lp: &mut Loop<App>, app: &mut App, hook: Handle, what: &str, left: &mut u64) {
    app.contract.event(hook, what);
    *left = left.saturating_sub(1);
    if *left == 0 {
        app.contract.closes(lp, hook);
        lp.close(hook);
    }
}

/// An answer to a question of a program.
fn answer<T>(
    number: u64,
    what: &'static str,
) -> impl FnOnce(&mut Loop<App>, &mut App, Result<T>) -> Result + 'static {
    move |lp, app, _| {
        app.contract.answered(number, what);
        go_on(lp, app, None)
    }
}

/// The names of all acts, as the plans log them.
pub(crate) const ACTS_KNOWN: &[&str] = &[
    "timer after",
    "timer every",
    "timer start",
    "timer stop",
    "timer again",
    "defer",
    "idle",
    "idle stop",
    "prepare",
    "check",
    "connect",
    "write",
    "write then",
    "try write",
    "shutdown",
    "finish",
    "reset",
    "stop reading",
    "resume",
    "close",
    "close then",
    "cancel",
    "work",
    "read file",
    "write file",
    "open file",
    "read at",
    "close file",
    "wake new",
    "wake",
    "channel",
    "send",
    "unref",
    "re ref",
    "limits",
    "fail",
    "panic",
];

/// Does one of several things. Says which, if it could be done.
type Act = fn(&mut Loop<App>, &mut App, &mut Random) -> Option<&'static str>;

/// Does the next thing that the plan says.
pub(crate) fn op(lp: &mut Loop<App>, app: &mut App) {
    let ordinal = app.plan.next();
    if app.ending || !app.plan.allows(ordinal) {
        return;
    }
    let mut random = Random::new(app.plan.seed.wrapping_mul(0x9e37_79b9) ^ u64::from(ordinal + 1) << 17);
    let acts: &[Act] =
        &[on_timers, on_hooks, on_streams, on_streams, on_streams, on_any, on_jobs, on_files, on_threads];
    let chosen = acts[random.below(acts.len() as u64) as usize];
    app.contract.inside = true;
    let done = chosen(lp, app, &mut random);
    app.contract.inside = false;
    if let Some(what) = done {
        app.plan.note(ordinal, what);
    }
}

fn on_timers(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let delay = random.delay(app.place.haste);
    match random.below(5) {
        0 => {
            let number = app.contract.number();
            let due = Rc::new(Cell::new(Duration::ZERO));
            let deadline = due.clone();
            let timer = Timer::after(lp, delay, move |lp, app: &mut App| {
                app.contract.answered(number, "timer");
                app.contract.fires(lp.now(), deadline.get(), number);
                go_on(lp, app, None)
            });
            due.set(lp.now() + delay);
            let timer = timer.ok()?;
            // Closing it takes it back, so nobody waits for its answer by name.
            app.contract.asks(number, "timer after");
            app.contract.sets(timer.into(), due.get(), number);
            app.handles.push(timer.into());
            Some("timer after")
        }
        1 => {
            let mut left = random.below(5);
            let me = Rc::new(Cell::new(None));
            let timer = me.clone();
            let made = Timer::every(lp, delay + Duration::from_micros(1), move |lp, app: &mut App| {
                let Some(timer): Option<Timer> = timer.get() else { return Ok(()) };
                app.contract.event(timer.into(), "tick");
                left = left.saturating_sub(1);
                if left == 0 {
                    app.contract.closes(lp, timer);
                    timer.close(lp);
                    return Ok(());
                }
                go_on(lp, app, Some(timer.into()))
            });
            me.set(made.as_ref().ok().copied());
            app.handles.push(made.ok()?.into());
            Some("timer every")
        }
        2 => {
            let timer = Timer::new(lp).ok()?;
            app.handles.push(timer.into());
            app.timers.push(timer);
            timer
                .start(lp, delay, move |lp, app: &mut App| {
                    app.contract.event(timer.into(), "timer");
                    go_on(lp, app, Some(timer.into()))
                })
                .ok()?;
            Some("timer start")
        }
        3 => {
            let timer = random.pick(&app.timers)?;
            timer.stop(lp).ok()?;
            app.contract.stops(timer);
            Some("timer stop")
        }
        _ => {
            let timer = random.pick(&app.timers)?;
            timer.again(lp).ok()?;
            app.contract.starts(timer);
            Some("timer again")
        }
    }
}

fn on_hooks(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let mut left = random.below(20);
    match random.below(5) {
        0 => {
            let number = app.contract.number();
            let request = lp.defer(move |lp, app: &mut App| {
                app.contract.answered(number, "deferred");
                go_on(lp, app, None)
            });
            // One that is cancelled is not called.
            app.contract.asks(number, "defer");
            app.contract.deferred(request, number);
            app.requests.push(request);
            Some("defer")
        }
        1 => {
            let idle = Idle::new(lp).ok()?;
            app.idles.push(idle);
            app.handles.push(idle.into());
            idle.start(lp, move |lp, app: &mut App| {
                visited(lp, app, idle.into(), "idle", &mut left);
                go_on(lp, app, Some(idle.into()))
            })
            .ok()?;
            Some("idle")
        }
        2 => {
            let idle = random.pick(&app.idles)?;
            idle.stop(lp).ok()?;
            app.contract.stops(idle);
            Some("idle stop")
        }
        3 => {
            let hook = Prepare::new(lp).ok()?;
            app.handles.push(hook.into());
            hook.start(lp, move |lp, app: &mut App| {
                visited(lp, app, hook.into(), "prepare", &mut left);
                Ok(())
            })
            .ok()?;
            Some("prepare")
        }
        _ => {
            let hook = Check::new(lp).ok()?;
            app.handles.push(hook.into());
            hook.start(lp, move |lp, app: &mut App| {
                visited(lp, app, hook.into(), "check", &mut left);
                Ok(())
            })
            .ok()?;
            Some("check")
        }
    }
}

fn on_streams(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let which = random.below(13);
    if which < 3 || app.streams.is_empty() {
        return connect(lp, app, random);
    }
    let conn = random.pick(&app.streams)?;
    let most = [10, 3000, 40_000][random.below(3) as usize];
    let count = 1 + random.below(most);
    let text = app.contract.text(conn, count);
    match which {
        3 | 4 => {
            conn.write(lp, text).ok()?;
            app.contract.takes(conn, count, conn.queued(lp));
            app.contract.sends(conn, count);
            Some("write")
        }
        5 | 6 => {
            let number = app.contract.number();
            conn.write_then(lp, text, move |lp, app: &mut App, _| {
                app.contract.answered(number, "write");
                app.contract.wrote(conn, number);
                go_on(lp, app, None)
            })
            .ok()?;
            app.contract.asks(number, "write then");
            app.contract.takes(conn, count, conn.queued(lp));
            app.contract.sends(conn, count);
            Some("write then")
        }
        7 => {
            let sent = conn.try_write(lp, &text).ok()?;
            app.contract.sends(conn, sent as u64);
            Some("try write")
        }
        8 | 9 => {
            let finish = which == 9;
            if finish { conn.finish(lp) } else { conn.shutdown(lp) }.ok()?;
            app.contract.shuts_down(conn);
            Some(if finish { "finish" } else { "shutdown" })
        }
        10 if random.below(3) == 0 => {
            app.contract.closes(lp, conn);
            conn.close_reset(lp).ok().map(|()| "reset")
        }
        10 | 11 => {
            let limit = 1 + random.below(100_000) as usize;
            conn.set_queue_limit(lp, limit).ok()?;
            app.contract.limits(conn, limit);
            let idle = random.delay(app.place.haste) + Duration::from_millis(1);
            conn.set_idle_timeout(lp, Some(idle)).ok()?;
            Some("limits")
        }
        _ if random.below(2) == 0 => {
            conn.stop(lp).ok()?;
            app.contract.stops(conn);
            Some("stop reading")
        }
        _ => {
            conn.resume(lp).ok()?;
            app.contract.starts(conn);
            Some("resume")
        }
    }
}

fn connect(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let hosts = app.place.found.borrow().clone();
    let other = random.below(hosts.len() as u64 + 1) as usize;
    let other = hosts.get(other).copied().unwrap_or(app.place.nobody);
    let number = app.contract.number();
    let conn = TcpStream::connect(lp, other, move |lp, app: &mut App, conn| {
        app.contract.answered(number, "connect");
        if let Ok(conn) = conn {
            if conn.is_open(lp) {
                adopt(lp, app, conn)?;
            }
        }
        go_on(lp, app, None)
    });
    app.handles.push(conn.ok()?.into());
    app.contract.asks(number, "connect");
    Some("connect")
}

fn on_any(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let handle = random.pick(&app.handles)?;
    match random.below(6) {
        0 | 1 => {
            app.contract.closes(lp, handle);
            app.contract.takes_back(handle);
            lp.close(handle);
            Some("close")
        }
        2 => {
            let number = app.contract.number();
            app.contract.closes(lp, handle);
            app.contract.takes_back(handle);
            lp.close_then(handle, move |lp, app: &mut App| {
                app.contract.answered(number, "close");
                go_on(lp, app, None)
            });
            app.contract.asks(number, "close then");
            Some("close then")
        }
        3 => {
            let request = random.pick(&app.requests)?;
            request.cancel(lp).ok()?;
            app.contract.cancels(request);
            Some("cancel")
        }
        4 => {
            random.pick(&app.timers)?.unref(lp).ok()?;
            Some("unref")
        }
        _ => {
            random.pick(&app.timers)?.re_ref(lp).ok()?;
            Some("re ref")
        }
    }
}

fn on_jobs(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let number = app.contract.number();
    let panics = random.below(10) == 0;
    let job = move || {
        if panics {
            std::panic::panic_any(ON_PURPOSE);
        }
    };
    let request = work::run(lp, job, answer(number, "work")).ok()?;
    app.contract.asks(number, "work");
    app.requests.push(request);
    Some("work")
}

fn on_files(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let number = app.contract.number();
    let (request, what) = match random.below(5) {
        0 => (fs::read(lp, app.place.dir.join("data"), answer(number, "read")), "read file"),
        1 => {
            (fs::write(lp, app.place.dir.join("other"), vec![1; 500], answer(number, "write")), "write file")
        }
        2 => {
            let opened = File::create(lp, app.place.dir.join("new"), move |lp, app: &mut App, file| {
                app.contract.answered(number, "open");
                if let Ok(file) = file {
                    app.files.push(file);
                    app.handles.push(file.into());
                    if app.ending {
                        file.close(lp);
                    }
                }
                go_on(lp, app, None)
            });
            (opened, "open file")
        }
        3 => {
            let file = random.pick(&app.files)?;
            (
                file.read_at(lp, random.below(100), Vec::with_capacity(64), answer(number, "read at")),
                "read at",
            )
        }
        _ => {
            let file = random.pick(&app.files)?;
            app.contract.closes(lp, file);
            file.close(lp);
            return Some("close file");
        }
    };
    app.requests.push(request.ok()?);
    app.contract.asks(number, what);
    Some(what)
}

fn on_threads(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    match random.below(4) {
        0 => {
            let me = Rc::new(Cell::new(None));
            let wake = me.clone();
            let made = Wake::new(lp, move |lp, app: &mut App| {
                let Some(wake): Option<Wake> = wake.get() else { return Ok(()) };
                app.contract.event(wake.into(), "wake");
                app.contract.is_woken(wake.into());
                go_on(lp, app, Some(wake.into()))
            });
            let made = made.ok()?;
            me.set(Some(made));
            app.handles.push(made.into());
            app.wakers.push((made, made.waker(lp).ok()?));
            Some("wake new")
        }
        1 => {
            let place = random.below(app.wakers.len() as u64) as usize;
            let (wake, waker) = app.wakers.get(place)?;
            waker.wake().ok()?;
            app.contract.wakes((*wake).into());
            Some("wake")
        }
        2 => {
            let mut next = 0;
            let me = Rc::new(Cell::new(None));
            let channel = me.clone();
            let (made, sender) = channel::bounded(lp, 100, move |lp, app: &mut App, value: u64| {
                let Some(channel): Option<Handle> = channel.get() else { return Ok(()) };
                app.contract.event(channel, "message");
                if let Some(count) = app.contract.on_their_way.get_mut(&channel) {
                    *count -= 1;
                }
                if value != next {
                    app.contract.wrong.push("messages of a channel were lost, doubled or moved".into());
                }
                next = value + 1;
                go_on(lp, app, Some(channel))
            })
            .ok()?;
            me.set(Some(made.into()));
            app.handles.push(made.into());
            app.senders.push((made.into(), sender, 0));
            Some("channel")
        }
        _ => {
            let place = random.below(app.senders.len() as u64) as usize;
            let (channel, sender, next) = app.senders.get_mut(place)?;
            sender.try_send(*next).ok()?;
            *next += 1;
            *app.contract.on_their_way.entry(*channel).or_default() += 1;
            Some("send")
        }
    }
}
