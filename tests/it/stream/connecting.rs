//! Streams that are connected to an address, and listeners.

use std::{cell::RefCell, rc::Rc};

use ringback::{
    Error,
    net::{Event, ListenOptions},
};

use super::{
    Fixture,
    carrier::{ByteStream, Connecting, Peer},
};
use crate::common::{describe_error, describe_event, note};

macro_rules! connecting {
    ($carrier:ty) => {
        instantiate!(
            $carrier,
            connecting: two_streams_of_one_loop_talk_to_each_other,
            close_gives_up_connecting,
            a_connect_callback_that_fails_closes_the_stream,
            a_listener_at_its_limit_accepts_again_after_a_close,
        );
    };
}

pub(super) fn two_streams_of_one_loop_talk_to_each_other<C: Connecting>(test: &mut Fixture<C>) {
    let echo = |lp: &mut _, _: &mut _, conn: C::Stream| {
        conn.start(lp, move |lp, _, event| match event? {
            Event::Data(bytes) => conn.write(lp, bytes),
            Event::End => conn.finish(lp),
            _ => Ok(()),
        })
    };
    let (listener, addr) = test.carrier.listen(&mut test.lp, ListenOptions::new(), echo);
    C::connect(&mut test.lp, &addr, move |lp, log, conn| {
        let conn = conn?;
        log.push("connected".into());
        conn.write(lp, "?")?;
        conn.start(lp, move |lp, log, event| {
            log.push(describe_event(&event));
            match event? {
                Event::Data(_) => conn.shutdown(lp)?,
                Event::End => conn.close(lp),
                Event::Closed => lp.close(listener),
                _ => {}
            }
            Ok(())
        })
    });
    assert_eq!(test.run(), ["connected", "data \"?\"", "end", "closed"]);
}

pub(super) fn close_gives_up_connecting<C: Connecting>(test: &mut Fixture<C>) {
    let addr = test.carrier.peer_addr();
    let stream = C::connect(&mut test.lp, &addr, |_, log, result| {
        note(log, result.map_or_else(|error| describe_error(&error), |_| "connected".into()))
    });
    test.lp.close_then(stream, |_, log| note(log, "closed"));
    // Where connecting takes no time, it may have succeeded before the close.
    let log = test.run();
    assert!(log == ["canceled", "closed"] || log == ["connected", "closed"], "{log:?}");
}

pub(super) fn a_connect_callback_that_fails_closes_the_stream<C: Connecting>(test: &mut Fixture<C>) {
    test.lp.on_failure(|_, log, failure| note(log, failure.error.to_string()));
    let addr = test.carrier.peer_addr();
    C::connect(&mut test.lp, &addr, |_, _, _| Err(Error::other("no")));
    assert_eq!(test.run(), ["no"]);
    assert_eq!(test.carrier.accept_peer().read_to_eof().unwrap(), b"");
}

pub(super) fn a_listener_at_its_limit_accepts_again_after_a_close<C: Connecting>(test: &mut Fixture<C>) {
    let accepted: Rc<RefCell<Vec<C::Stream>>> = Rc::default();
    let streams = accepted.clone();
    let options = ListenOptions::new().max_connections(2).backlog(16);
    let (listener, addr) = test.carrier.listen(&mut test.lp, options, move |_, log, stream| {
        streams.borrow_mut().push(stream);
        note(log, "accepted")
    });
    let _peers = [(); 4].map(|()| test.carrier.connect_peer(&addr));
    test.run_until(|_, log| log.len() == 2);
    for _ in 0..5 {
        test.advance().unwrap();
    }
    assert_eq!(test.log.len(), 2);
    for number in 0..2 {
        let stream = accepted.borrow()[number];
        stream.close(&mut test.lp);
        test.run_until(|_, log| log.len() == 3 + number);
    }
    for stream in accepted.borrow().iter() {
        stream.close(&mut test.lp);
    }
    test.lp.close(listener);
    test.run();
}
