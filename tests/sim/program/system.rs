//! Ops that only the system supports: descriptors, real signals, threads that interfere.

use std::{
    cell::RefCell,
    io::{Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::mpsc,
    time::Duration,
};

use ringback::{Error, Loop, Poll, Remote, Waker, channel::Sender, poll::Interest, signal};

use super::{App, ENDS_THE_RUN, Random, after_callback, threads};

/// What programs on the system may use besides.
#[derive(Clone)]
pub(crate) struct System {
    /// To the thread that plays with what it is given, until the end.
    pub(crate) toys: Rc<RefCell<Option<mpsc::Sender<Toy>>>>,
    /// Sends a signal to this process.
    pub(crate) raise: fn(i32),
}

/// What a thread may play with.
pub(crate) enum Toy {
    Waker(Waker),
    Sender(Sender<u64>),
    Remote(Remote<App>),
}

/// Plays with what it is given until there is nothing more to come.
pub(crate) fn play_with_toys(toys: &mpsc::Receiver<Toy>, seed: u64) {
    let mut random = Random::new(seed);
    let mut own: Vec<(Toy, u64)> = Vec::new();
    loop {
        match toys.recv_timeout(Duration::from_micros(100)) {
            Ok(toy) => own.push((toy, 0)),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        for _ in 0..4 {
            if own.is_empty() {
                break;
            }
            let index = random.below(own.len() as u64) as usize;
            if own.len() > 20 || random.one_in(30) {
                own.swap_remove(index);
                continue;
            }
            let (toy, count) = &mut own[index];
            *count += 1;
            match toy {
                Toy::Waker(waker) => drop(waker.wake()),
                Toy::Sender(sender) if *count % 3 == 0 => drop(sender.try_send(*count)),
                // If the channel is full, this waits until there is room or the channel is closed.
                Toy::Sender(sender) => drop(sender.send(*count)),
                Toy::Remote(remote) => {
                    let _ = remote.post(|lp, app: &mut App| {
                        app.contract.callback("post");
                        after_callback(lp, app, None)
                    });
                }
            }
        }
    }
}

pub(super) fn on_system(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    match random.below(9) {
        0 | 1 => poll(lp, app, random),
        2 => {
            let poll = random.pick(&app.polls)?;
            poll.stop(lp).ok()?;
            app.contract.stopped(poll);
            Some("poll stop")
        }
        3 => {
            let conn = app.any_stream(lp, random)?;
            match (app.tcp.get(&conn), app.unix.get(&conn)) {
                (Some(tcp), _) => drop(tcp.into_std(lp).ok()?),
                (_, Some(unix)) => drop(unix.into_std(lp).ok()?),
                _ => return None,
            }
            app.contract.given_away(conn);
            Some("stream into std")
        }
        4 => {
            let file = random.pick(&app.files)?;
            drop(file.into_std(lp).ok()?);
            Some("file into std")
        }
        5 => {
            let signum = random.pick(&[signal::USR1, signal::USR2])?;
            (app.site.system.as_ref()?.raise)(signum);
            Some("raise")
        }
        6 => {
            lp.stop();
            Some("stop the loop")
        }
        7 => {
            // Some take every failure, some end the run with it.
            let mut left = random.below(20);
            lp.on_failure(move |_, app: &mut App, _| {
                app.contract.callback("failure");
                left = left.saturating_sub(1);
                if left == 0 && !app.resting { Err(Error::other(ENDS_THE_RUN)) } else { Ok(()) }
            });
            Some("failures end the run")
        }
        _ => threads::give(lp, app, random),
    }
}

/// Watches one end of a pair whose other end writes, answers, and is dropped.
fn poll(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let (mut ours, mut theirs) = UnixStream::pair().ok()?;
    for end in [&ours, &theirs] {
        end.set_nonblocking(true).ok()?;
    }
    let poll = Poll::new(lp, &ours).ok()?;
    let mut interest = Interest::READABLE;
    if random.one_in(2) {
        interest = interest | Interest::DISCONNECT;
    }
    theirs.write_all(&vec![1; 1 + random.below(1000) as usize]).ok()?;
    let (mut theirs, mut left, stops) = (Some(theirs), random.below(6), random.one_in(4));
    poll.start(lp, interest, move |lp, app: &mut App, ready| {
        app.contract.event(poll.into(), "poll");
        app.contract.expect(ready.is_ok(), || "a descriptor could not be watched".into());
        let mut buffer = [0; 300];
        left = left.saturating_sub(1);
        match ours.read(&mut buffer) {
            Ok(0) => {
                app.contract.closing(lp, poll);
                poll.close(lp);
            }
            _ if left == 0 => theirs = None,
            _ => {
                if let Some(theirs) = &mut theirs {
                    let _ = theirs.write(&buffer);
                }
            }
        }
        if stops && poll.stop(lp).is_ok() {
            app.contract.stopped(poll);
        }
        after_callback(lp, app, Some(poll.into()))
    })
    .ok()?;
    app.polls.push(poll);
    app.handles.push(poll.into());
    Some("poll")
}
