//! Streams whose connection is reset by the peer.
//!
//! TCP resets on request, or when an end is closed that has unread data. A Unix socket has only the latter,
//! so its carriers let the peer close with a byte unread. What a reset stream sees is the same: one error,
//! then nothing.

use ringback::Timer;

use super::{
    Fixture,
    carrier::{ByteStream, Peer, Resetting},
    duplex::assert_closed_once,
};
use crate::common::{MS, describe_error, describe_event, note};

macro_rules! resetting {
    ($carrier:ty) => {
        instantiate!(
            $carrier,
            resetting: a_reset_does_not_make_a_stopped_stream_spin,
            a_write_to_a_reset_connection_fails_and_later_ones_are_canceled,
            closed_is_the_last_event_after_a_reset,
        );
    };
}

pub(super) fn a_reset_does_not_make_a_stopped_stream_spin<C: Resetting>(test: &mut Fixture<C>) {
    let (stream, peer) = test.pair();
    test.record(stream, "stream");
    stream.stop(&mut test.lp).unwrap();
    let tick = Timer::every(&mut test.lp, MS, |_, _| Ok(())).unwrap();
    C::reset(stream, &mut test.lp, peer);
    let before = test.lp.metrics().turns;
    test.run_for(20 * MS);
    let turns = test.lp.metrics().turns - before;
    assert!(turns < 100, "{turns} turns, for 20 ticks");
    tick.close(&mut test.lp);
    stream.resume(&mut test.lp).unwrap();
    assert_eq!(test.run(), ["stream error read ConnectionReset", "stream closed"]);
}

pub(super) fn a_write_to_a_reset_connection_fails_and_later_ones_are_canceled<C: Resetting>(
    test: &mut Fixture<C>,
) {
    let stream = test.carrier.broken(&mut test.lp);
    test.record(stream, "stream");
    stream.stop(&mut test.lp).unwrap();
    for text in ["x", "y"] {
        stream
            .write_then(&mut test.lp, text, |_, log, result| note(log, describe_error(&result.unwrap_err())))
            .unwrap();
    }
    let log = test.run();
    assert!(log[0] == "write ConnectionReset" || log[0] == "write BrokenPipe", "{log:?}");
    assert_eq!(log[1..], ["canceled", "stream closed"]);
}

pub(super) fn closed_is_the_last_event_after_a_reset<C: Resetting>(test: &mut Fixture<C>) {
    test.lp.on_failure(|_, _, _| Ok(()));
    let (stream, mut peer) = test.pair();
    stream
        .start(&mut test.lp, |_, log, event| {
            log.push(describe_event(&event));
            event.map(drop)
        })
        .unwrap();
    peer.send("x");
    test.run_until(|_, log| !log.is_empty());
    C::reset(stream, &mut test.lp, peer);
    assert_closed_once("the peer resets", &test.run());
}
