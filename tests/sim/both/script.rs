//! Programs whose results do not depend on the order of events: some dozens of actors, drawn from a seed, and
//! a log of what each of them gets. So what they observe in a world can be compared with what they observe on
//! the system.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use ringback::{
    Check, Error, Handle, Idle, Loop, Prepare, Result, Timer, Wake, Waker, channel,
    net::{TcpListener, TcpStream},
    work,
};

use super::{filing, paths};
use crate::program::{ON_PURPOSE, Random};

/// What each actor got, in order.
pub(crate) type Log = BTreeMap<String, Vec<String>>;

/// The state of a program.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) log: Log,
    /// Where files are. Not compared.
    pub(crate) dir: PathBuf,
    /// The actor that the failures of a handle belong to.
    pub(crate) actors: BTreeMap<Handle, String>,
}

impl Story {
    pub(crate) fn new(dir: PathBuf) -> Story {
        Story { dir, ..Story::default() }
    }

    pub(crate) fn record(&mut self, actor: &str, what: impl fmt::Display) {
        self.log.entry(actor.to_owned()).or_default().push(what.to_string());
    }

    /// Records a result, without what differs between sites: addresses and directories.
    pub(crate) fn record_result<T: fmt::Debug>(&mut self, actor: &str, what: &str, result: &Result<T>) {
        let text = match result {
            Ok(value) => format!("{what}: {value:?}"),
            Err(error) => format!("{what}: {}", self.normalized(&error.to_string())),
        };
        self.record(actor, text);
    }

    fn normalized(&self, text: &str) -> String {
        let text = text.replace(&format!("{}/", self.dir.display()), "/").replace("//", "/");
        let is_addr = |word: &str| word.trim_end_matches([':', ',']).parse::<SocketAddr>().is_ok();
        text.split(' ').map(|word| if is_addr(word) { "ADDRESS" } else { word }).collect::<Vec<_>>().join(" ")
    }
}

pub(crate) fn random(seed: u64, actor: u64) -> Random {
    Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ actor << 32 ^ 0xac7)
}

/// Draws a delay of some milliseconds, from so few that many are equal.
fn delay(random: &mut Random) -> Duration {
    Duration::from_millis(random.below(6) * 2)
}

/// Starts the actors that need no peer. They start in one callback, and so at one time.
pub(crate) fn start(lp: &mut Loop<Story>, seed: u64) {
    lp.on_failure(|_, story: &mut Story, failure| {
        let text = format!("fails: {}", story.normalized(&failure.error.to_string()));
        let actor = failure.origin.handle.and_then(|handle| story.actors.get(&handle).cloned());
        story.record(&actor.unwrap_or_else(|| format!("failures/{}", failure.origin.kind)), text);
        Ok(())
    });
    lp.defer(move |lp, story| {
        timers(lp, story, &mut random(seed, 1))?;
        hooks(lp, &mut random(seed, 2))?;
        deferred(lp, story, &mut random(seed, 3));
        messages(lp, story, &mut random(seed, 4))?;
        jobs(lp, &mut random(seed, 5))?;
        filing::begin(lp, story, seed)?;
        paths::begin(lp, story, seed)?;
        mistakes(lp, story)
    });
}

/// Timers with few deadlines. Some stop, close or restart one that would fire later.
fn timers(lp: &mut Loop<Story>, story: &mut Story, random: &mut Random) -> Result {
    let count = 12;
    let delays: Vec<Duration> = (0..count).map(|_| delay(random)).collect();
    let timers: Rc<[Cell<Option<Timer>>]> = (0..count).map(|_| Cell::new(None)).collect();
    for (number, &after) in delays.iter().enumerate() {
        let other = random.below(count as u64) as usize;
        let op = random.below(5);
        let is_later = (delays[other], other) > (after, number);
        let timer = Timer::new(lp)?;
        timers[number].set(Some(timer));
        story.actors.insert(timer.into(), "timers".into());
        let timers = timers.clone();
        timer.start(lp, after, move |lp, story: &mut Story| {
            story.record("timers", format!("{number} fires"));
            let Some(other_timer) = timers[other].get().filter(|_| is_later) else {
                timer.close(lp);
                return Ok(());
            };
            match op {
                0 => story.record_result("timers", &format!("stops {other}"), &other_timer.stop(lp)),
                1 => other_timer.close(lp),
                2 => story.record_result(
                    "timers",
                    "again",
                    &other_timer.restart_in(lp, Duration::from_millis(30)),
                ),
                _ => {}
            }
            timer.close(lp);
            if op == 3 { Err(Error::other("on purpose")) } else { Ok(()) }
        })?;
    }
    let mut left = 1 + random.below(4);
    let every = Timer::every(lp, Duration::from_millis(1), move |_, story: &mut Story| {
        story.record("timers/every", "fires");
        left -= 1;
        if left == 0 { Err(Error::other("that is all")) } else { Ok(()) }
    })?;
    story.actors.insert(every.into(), "timers/every".into());
    // Each timer of the chain starts the next, so their order does not depend on other timers.
    chain(lp, random.below(6))
}

fn chain(lp: &mut Loop<Story>, left: u64) -> Result {
    let timer = Timer::after(lp, Duration::from_micros(300 * left), move |lp, story: &mut Story| {
        story.record("timers/chain", left);
        if left > 0 { chain(lp, left - 1) } else { Ok(()) }
    })?;
    // A timer that is closed does not fire.
    Timer::after(lp, Duration::from_micros(1), |_, story: &mut Story| {
        story.record("timers/chain", "fires although it was closed");
        Ok(())
    })?
    .close(lp);
    timer.set_name(lp, "a timer of the chain")
}

fn hooks(lp: &mut Loop<Story>, random: &mut Random) -> Result {
    let mut left = [random.below(4), random.below(4), random.below(4)];
    let visit = Rc::new(RefCell::new(move |phase: usize| {
        let over = left[phase] == 0;
        left[phase] = left[phase].saturating_sub(1);
        over
    }));
    macro_rules! hook {
        ($Kind:ty, $phase:expr, $name:expr) => {{
            let hook = <$Kind>::new(lp)?;
            let visit = visit.clone();
            hook.start(lp, move |lp, story: &mut Story| {
                story.record("hooks", $name);
                if visit.borrow_mut()($phase) {
                    hook.close_then(lp, |_, story: &mut Story| {
                        story.record("hooks/closed", $name);
                        Ok(())
                    });
                }
                Ok(())
            })?;
        }};
    }
    hook!(Check, 2, "check");
    hook!(Prepare, 1, "prepare");
    hook!(Idle, 0, "idle");
    Ok(())
}

fn deferred(lp: &mut Loop<Story>, story: &mut Story, random: &mut Random) {
    let mut requests = Vec::new();
    for number in 0..8 {
        let deeper = random.below(3);
        requests.push(lp.defer(move |lp, story: &mut Story| {
            story.record("deferred", number);
            if deeper == 0 {
                lp.defer(move |_, story: &mut Story| {
                    story.record("deferred", format!("{number} again"));
                    Ok(())
                });
            }
            if deeper == 1 { Err(Error::other("on purpose")) } else { Ok(()) }
        }));
    }
    for _ in 0..3 {
        let number = random.below(8) as usize;
        let cancelled = requests[number].cancel(lp);
        story.record_result("deferred", &format!("cancel {number}"), &cancelled);
    }
}

/// A channel with a small capacity, a wake, and a remote, all used from this thread.
fn messages(lp: &mut Loop<Story>, story: &mut Story, random: &mut Random) -> Result {
    let capacity = 1 + random.below(5) as usize;
    let (messages, sender) = channel::bounded(lp, capacity, |_, story: &mut Story, value: u64| {
        story.record("messages", value);
        Ok(())
    })?;
    for value in 0..4 {
        let sent = sender.try_send(value);
        let sent = sent.map_err(|refused| refused.error);
        story.record_result("messages/sent", "send", &sent);
    }
    messages.set_name(lp, "messages")?;
    drop(sender);

    let me = Rc::new(Cell::new(None::<(Wake, Waker)>));
    let wake = me.clone();
    let woken = Wake::new(lp, move |lp, story: &mut Story| {
        story.record("wake", "woken");
        let Some((wake, waker)) = wake.take() else { return Ok(()) };
        lp.close_then(wake, move |_, story: &mut Story| {
            story.record_result("wake", "wake", &waker.wake());
            Ok(())
        });
        Ok(())
    })?;
    let waker = woken.waker(lp)?;
    for _ in 0..1 + random.below(3) {
        waker.wake()?;
    }
    me.set(Some((woken, waker)));
    let remote = lp.remote();
    for number in 0..3 {
        remote.post(move |_, story: &mut Story| {
            story.record("posts", number);
            if number == 1 { Err(Error::other("on purpose")) } else { Ok(()) }
        })?;
    }
    Ok(())
}

fn jobs(lp: &mut Loop<Story>, random: &mut Random) -> Result {
    for number in 0..6 {
        let fate = random.below(4);
        let job = move || {
            if fate == 0 {
                std::panic::panic_any(ON_PURPOSE);
            }
            number * 2
        };
        work::run(lp, job, move |_, story: &mut Story, result| {
            story.record_result(&format!("jobs/{number}"), "done", &result);
            if fate == 1 { Err(Error::other("on purpose")) } else { Ok(()) }
        })?;
    }
    Ok(())
}

/// Calls that must fail, and their errors.
fn mistakes(lp: &mut Loop<Story>, story: &mut Story) -> Result {
    let actor = "mistakes";
    let timer = Timer::new(lp)?;
    story.record_result(actor, "again", &timer.again(lp));
    story.record_result(actor, "period", &timer.set_period(lp, Some(Duration::ZERO)));
    timer.close(lp);
    timer.close(lp);
    story.record_result(actor, "stop", &timer.stop(lp));
    story.record_result(actor, "unref", &timer.unref(lp));
    story.record_result(actor, "name", &timer.set_name(lp, "closed"));
    let idle = Idle::new(lp)?;
    story.record_result(actor, "stop a hook", &idle.stop(lp));
    idle.close(lp);
    story.record_result(actor, "start a hook", &idle.start(lp, |_, _| Ok(())));
    let none = channel::bounded(lp, 0, |_, _: &mut Story, _: u8| Ok(()));
    story.record_result(actor, "channel", &none.map(drop));
    let run = lp.run_once(story);
    story.record_result(actor, "run", &run);
    for addr in ["nonsense", "localhost:80", "192.0.2.1:0", "0.0.0.0:99999"] {
        let bound = TcpListener::bind(lp, addr).map(drop);
        story.record_result(actor, &format!("bind {addr}"), &bound);
    }
    let listener = TcpListener::bind(lp, "127.0.0.1:0")?;
    let taken = listener.local_addr(lp)?;
    let again = TcpListener::bind(lp, taken).map(drop);
    story.record_result(actor, "bind again", &again);
    story.record_result(actor, "resume a listener", &listener.resume(lp));
    story.record_result(actor, "stop a listener", &listener.stop(lp));
    listener.close(lp);
    story.record_result(actor, "start a listener", &listener.start(lp, |_, _: &mut Story, _| Ok(())));
    // The listener is closed, so this is refused.
    let conn = TcpStream::connect(lp, taken, |_, story: &mut Story, conn| {
        story.record_result("refused", "connect", &conn.map(drop));
        Ok(())
    })?;
    story.actors.insert(conn.into(), "refused".into());
    story.record_result(actor, "start before it is connected", &conn.resume(lp));
    story.record_result(actor, "limit", &conn.set_idle_timeout(lp, Some(Duration::ZERO)));
    story.record_result(actor, "watermarks", &conn.set_watermarks(lp, 5, 5));
    story.record_result(actor, "try to write", &conn.try_write(lp, b"too early"));
    let cancelled = TcpStream::connect(lp, taken, |_, story: &mut Story, conn| {
        story.record_result("cancelled", "connect", &conn.map(drop));
        Ok(())
    })?;
    cancelled.close(lp);
    story.record_result(actor, "write", &cancelled.write(lp, "late"));
    Ok(())
}
