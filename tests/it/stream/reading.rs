//! Streams that receive.

use std::time::Duration;

use ringback::{Error, net::Event};

use super::{
    Fixture,
    carrier::{ByteStream, Carrier, Peer},
    record,
};
use crate::common::{MS, describe_error, describe_event, note};

macro_rules! reading {
    ($carrier:ty) => {
        instantiate!(
            $carrier,
            reading: every_byte_arrives_in_order_and_then_the_end,
            a_stopped_stream_reads_nothing_until_it_is_resumed,
            start_inside_the_callback_replaces_the_callback,
            an_idle_stream_may_continue_after_its_timeout,
            moving_bytes_keep_a_stream_from_being_idle,
            an_idle_timeout_of_zero_is_refused,
            an_idle_timeout_of_none_turns_it_off,
        );
    };
}

pub(super) fn every_byte_arrives_in_order_and_then_the_end<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    let bytes: Vec<u8> = (0..C::MUCH).map(|index| (index * 31 + index / 251) as u8).collect();
    let expected = bytes.clone();
    let mut received = Vec::new();
    stream
        .start(&mut test.lp, move |lp, log, event| {
            match event? {
                Event::Data(bytes) => received.extend_from_slice(bytes),
                Event::End => {
                    log.push(format!("complete: {}", received == expected));
                    stream.close(lp);
                }
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    let mut sent = 0;
    test.run_until(|_, _| {
        sent += peer.try_send(&bytes[sent..]);
        sent == bytes.len()
    });
    peer.shutdown();
    assert_eq!(test.run(), ["complete: true"]);
}

pub(super) fn a_stopped_stream_reads_nothing_until_it_is_resumed<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    test.record(stream, "stream");
    stream.stop(&mut test.lp).unwrap();
    peer.send("x");
    for _ in 0..3 {
        test.lp.poll_once(&mut test.log).unwrap();
    }
    assert!(test.log.is_empty(), "{:?}", test.log);
    stream.resume(&mut test.lp).unwrap();
    test.run_until(|_, log| !log.is_empty());
    assert_eq!(test.close(stream), ["stream data \"x\"", "stream closed"]);
}

pub(super) fn start_inside_the_callback_replaces_the_callback<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    stream
        .start(&mut test.lp, move |lp, log, event| {
            log.push(format!("first {}", describe_event(&event)));
            record(lp, stream, "second")
        })
        .unwrap();
    peer.send("a");
    test.run_until(|_, log| log.len() == 1);
    peer.send("b");
    test.run_until(|_, log| log.len() == 2);
    assert_eq!(test.close(stream), ["first data \"a\"", "second data \"b\"", "second closed"]);
}

pub(super) fn an_idle_stream_may_continue_after_its_timeout<C: Carrier>(test: &mut Fixture<C>) {
    test.lp.on_failure(|_, log, failure| note(log, describe_error(&failure.error)));
    let (stream, _peer) = test.pair();
    stream.set_idle_timeout(&mut test.lp, Some(3 * MS)).unwrap();
    stream
        .start(&mut test.lp, |_, log, event| {
            log.push(describe_event(&event));
            // The second timeout is returned, which closes the stream.
            if log.len() == 2 {
                event?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(test.run(), ["error timed out idle", "error timed out idle", "timed out idle", "closed"]);
    assert!(matches!(stream.set_idle_timeout(&mut test.lp, None), Err(Error::Closed { .. })));
}

pub(super) fn moving_bytes_keep_a_stream_from_being_idle<C: Carrier>(test: &mut Fixture<C>) {
    const LIMIT: Duration = Duration::from_millis(200);
    let (stream, mut peer) = test.pair();
    stream.set_idle_timeout(&mut test.lp, Some(LIMIT)).unwrap();
    test.record(stream, "stream");
    let begun = test.lp.now();
    let (mut longest, mut before) = (Duration::ZERO, begun);
    while test.lp.now() < begun + 3 * LIMIT {
        peer.send("x");
        test.run_for(10 * MS);
        let now = test.lp.now();
        (longest, before) = (longest.max(now - before), now);
    }
    let log = test.close(stream);
    assert!(log.len() > 2, "{log:?}");
    // A process that was not scheduled for so long was idle.
    let idle = log.iter().any(|line| line.contains("timed out"));
    assert!(!idle || longest >= LIMIT / 2, "{log:?}; the longest pause was {longest:?}");
}

pub(super) fn an_idle_timeout_of_zero_is_refused<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, _peer) = test.pair();
    let error = stream.set_idle_timeout(&mut test.lp, Some(Duration::ZERO)).unwrap_err();
    assert_eq!(describe_error(&error), "invalid");
}

pub(super) fn an_idle_timeout_of_none_turns_it_off<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, _peer) = test.pair();
    stream.set_idle_timeout(&mut test.lp, Some(MS)).unwrap();
    stream.set_idle_timeout(&mut test.lp, None).unwrap();
    test.record(stream, "stream");
    test.run_for(5 * MS);
    assert_eq!(test.close(stream), ["stream closed"]);
}
