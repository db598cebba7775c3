//! What other threads may use: wakers, channels, remotes. Here from the loop's own thread, except what `give`
//! gives away.

use std::{cell::Cell, rc::Rc};

use ringback::{
    Handle, Loop, Wake,
    channel::{self, Sender},
};

use super::{App, Random, Toy, after_callback};

pub(super) fn on_threads(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    match random.below(6) {
        0 => {
            let wake = new_wake(lp, app)?;
            app.wakers.push((wake, wake.waker(lp).ok()?));
            Some("wake new")
        }
        1 | 2 => {
            let index = random.below(app.wakers.len() as u64) as usize;
            let (wake, waker) = app.wakers.get(index)?;
            waker.wake().ok()?;
            app.contract.wake_sent((*wake).into());
            Some("wake")
        }
        3 => {
            let (channel, sender) = new_channel(lp, app, 100, true)?;
            app.senders.push((channel, sender, 1));
            Some("channel")
        }
        4 => {
            let index = random.below(app.senders.len() as u64) as usize;
            let (channel, sender, next) = app.senders.get_mut(index)?;
            sender.try_send(*next).ok()?;
            *next += 1;
            app.contract.message_sent(*channel);
            Some("send")
        }
        _ => {
            let number = app.contract.next_number();
            let posted = lp.remote().post(move |lp, app: &mut App| {
                app.contract.completed(number, "post");
                after_callback(lp, app, None)
            });
            posted.ok()?;
            app.contract.submitted(number, "post");
            Some("post")
        }
    }
}

pub(super) fn new_wake(lp: &mut Loop<App>, app: &mut App) -> Option<Wake> {
    let me = Rc::new(Cell::new(None));
    let wake = me.clone();
    let made = Wake::new(lp, move |lp, app: &mut App| {
        let Some(wake): Option<Wake> = wake.get() else { return Ok(()) };
        app.contract.event(wake.into(), "wake");
        app.contract.wake_delivered(wake.into());
        after_callback(lp, app, Some(wake.into()))
    });
    let made = made.ok()?;
    me.set(Some(made));
    app.handles.push(made.into());
    Some(made)
}

/// Opens a channel of increasing numbers. None may be missing if `gapless`.
pub(super) fn new_channel(
    lp: &mut Loop<App>,
    app: &mut App,
    capacity: usize,
    gapless: bool,
) -> Option<(Handle, Sender<u64>)> {
    let mut last = 0;
    let me = Rc::new(Cell::new(None));
    let channel = me.clone();
    let (made, sender) = channel::bounded(lp, capacity, move |lp, app: &mut App, value: u64| {
        let Some(channel): Option<Handle> = channel.get() else { return Ok(()) };
        app.contract.event(channel, "message");
        app.contract.message_received(channel);
        let right = value > last && (!gapless || value == last + 1);
        app.contract.expect(right, || "messages of a channel were lost, duplicated or reordered".into());
        last = value;
        after_callback(lp, app, Some(channel))
    })
    .ok()?;
    me.set(Some(made.into()));
    app.handles.push(made.into());
    Some((made.into(), sender))
}

/// Gives a thread something to play with.
pub(super) fn give(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    let toys = app.site.system.as_ref()?.toys.clone();
    let (toy, what) = match random.below(3) {
        0 => (Toy::Waker(new_wake(lp, app)?.waker(lp).ok()?), "give a waker"),
        1 => {
            let capacity = 1 + random.below(5) as usize;
            (Toy::Sender(new_channel(lp, app, capacity, false)?.1), "give a sender")
        }
        _ => (Toy::Remote(lp.remote()), "give a remote"),
    };
    toys.borrow().as_ref()?.send(toy).ok()?;
    Some(what)
}
