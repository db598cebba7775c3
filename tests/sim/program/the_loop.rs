//! Signals, and what is done to the loop itself.

use ringback::{Error, Loop, Result, Signal, net, signal};

use super::{App, Random, after_callback};

const SIGNALS: [i32; 2] = [signal::USR1, signal::USR2];

pub(super) fn on_signals(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    if random.one_in(3) {
        let watch = random.pick(&app.signals)?;
        watch.stop(lp).ok()?;
        app.contract.stopped(watch);
        return Some("signal stop");
    }
    let watch = Signal::new(lp).ok()?;
    let (signum, then) = (random.pick(&SIGNALS)?, random.pick(&SIGNALS)?);
    let restarts = random.one_in(3);
    let callback = move |lp: &mut Loop<App>, app: &mut App, delivered: i32| {
        app.contract.event(watch.into(), "signal");
        app.contract.expect(delivered == signum, || "another signal was delivered".into());
        if restarts {
            let again = move |lp: &mut Loop<App>, app: &mut App, _: i32| -> Result {
                app.contract.event(watch.into(), "signal");
                after_callback(lp, app, Some(watch.into()))
            };
            let _ = watch.start(lp, then, again);
        }
        after_callback(lp, app, Some(watch.into()))
    };
    let once = random.one_in(2);
    if once { watch.start_once(lp, signum, callback) } else { watch.start(lp, signum, callback) }.ok()?;
    app.signals.push(watch);
    app.handles.push(watch.into());
    Some("signal new")
}

pub(super) fn on_loop(lp: &mut Loop<App>, app: &mut App, random: &mut Random) -> Option<&'static str> {
    match random.below(6) {
        0 => {
            lp.verify();
            Some("verify")
        }
        1 => {
            drop((lp.why_alive().to_string(), format!("{lp:?}"), lp.metrics(), lp.poll_timeout()));
            Some("report")
        }
        2 => {
            lp.update_time();
            Some("update time")
        }
        3 => {
            lp.set_workers(1 + random.below(3) as usize);
            Some("set workers")
        }
        4 => {
            // Nothing, to all: what a stream sends next is its own.
            net::broadcast(lp, app.streams.iter(), "");
            Some("broadcast")
        }
        _ if app.in_callback => {
            let refused = matches!(lp.run(app), Err(Error::Reentrant { .. }));
            app.contract.expect(refused, || "a callback could run its own loop".into());
            Some("run in a callback")
        }
        _ => None,
    }
}
