//! Streams that reset their connection.

use std::io;

use ringback::net::Event;

use super::{
    Fixture,
    carrier::{ByteStream, CloseReset, Peer},
    duplex::assert_closed_once,
};
use crate::common::describe_event;

macro_rules! close_reset {
    ($carrier:ty) => {
        instantiate!(
            $carrier,
            close_reset: close_reset_resets_the_connection,
            closed_is_the_last_event_after_close_reset,
        );
    };
}

pub(super) fn close_reset_resets_the_connection<C: CloseReset>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    test.record(stream, "stream");
    C::close_reset(stream, &mut test.lp).unwrap();
    assert_eq!(peer.read_to_eof().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(test.run(), ["stream closed"]);
}

pub(super) fn closed_is_the_last_event_after_close_reset<C: CloseReset>(test: &mut Fixture<C>) {
    test.lp.on_failure(|_, _, _| Ok(()));
    let (stream, mut peer) = test.pair();
    stream
        .start(&mut test.lp, move |lp, log, event| {
            log.push(describe_event(&event));
            match event? {
                Event::Data(_) => C::close_reset(stream, lp),
                _ => Ok(()),
            }
        })
        .unwrap();
    peer.send("x");
    test.run_until(|_, log| !log.is_empty());
    assert_closed_once("close_reset", &test.run());
}
