//! Streams that send.

use std::{borrow::Cow, rc::Rc, sync::Arc};

use ringback::{
    Error, Loop,
    net::{Event, Payload},
};

use super::{
    Fixture,
    carrier::{ByteStream, Carrier, Peer, Reader},
};
use crate::common::{Log, MS, describe_error, note};

macro_rules! writing {
    ($carrier:ty) => {
        instantiate!(
            $carrier,
            writing: every_type_of_payload_arrives_in_the_order_of_writing,
            a_stream_that_sent_everything_lets_the_loop_sleep,
            flush_sends_before_the_callback_returns,
            a_broadcast_reaches_every_open_stream,
            a_broadcast_to_a_full_queue_closes_only_that_stream,
            a_write_over_the_queue_limit_queues_nothing,
            drained_comes_at_the_low_watermark_after_the_high_one,
            watermarks_in_the_wrong_order_are_refused,
            a_finishing_stream_that_does_not_read_closes_after_sending,
            a_write_callback_that_fails_closes_its_stream,
            ten_thousand_queued_writes_arrive_and_complete_in_order,
            writes_sent_before_close_succeed_and_later_ones_are_canceled,
        );
    };
}

pub(super) fn every_type_of_payload_arrives_in_the_order_of_writing<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, peer) = test.pair();
    let lp = &mut test.lp;
    let large: Vec<u8> = (0..100_000).map(|n| n as u8).collect();
    stream.write(lp, "str ").unwrap();
    stream.write(lp, b"array ").unwrap();
    stream.write(lp, &b"slice "[..]).unwrap();
    stream.write(lp, String::from("String ")).unwrap();
    stream.write(lp, Vec::from("Vec ")).unwrap();
    stream.write(lp, Box::<[u8]>::from(&b"Box "[..])).unwrap();
    stream.write(lp, Rc::<[u8]>::from(&b"Rc "[..])).unwrap();
    stream.write(lp, Arc::<[u8]>::from(&b"Arc "[..])).unwrap();
    stream.write(lp, Cow::from("Cow ")).unwrap();
    stream.write(lp, "").unwrap();
    for _ in 0..3 {
        stream.write(lp, &large[..]).unwrap();
        stream.write(lp, large.clone()).unwrap();
        stream.write(lp, Rc::<[u8]>::from(&large[..])).unwrap();
    }
    stream.write(lp, Payload::from("end")).unwrap();
    stream.finish(lp).unwrap();
    let reader = peer.start_reading(None);
    test.run();
    let mut expected = b"str array slice String Vec Box Rc Arc Cow ".to_vec();
    (0..9).for_each(|_| expected.extend(&large));
    expected.extend(b"end");
    assert!(reader.join().1 == expected);
}

pub(super) fn a_stream_that_sent_everything_lets_the_loop_sleep<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, peer) = test.pair();
    stream.set_watermarks(&mut test.lp, 1 << 20, 1 << 30).unwrap();
    stream.start(&mut test.lp, |_, _, _| Ok(())).unwrap();
    stream.write(&mut test.lp, vec![7; 2 * C::MUCH]).unwrap();
    test.run_until(|lp, _| lp.metrics().bytes_sent > 0);
    assert!(stream.queued(&test.lp) > 0, "the test needs a queue");
    let reader = peer.start_reading(Some(2 * C::MUCH));
    test.run_until(|lp, _| stream.queued(lp) == 0);
    let before = test.lp.metrics().turns;
    test.run_for(10 * MS);
    let turns = test.lp.metrics().turns - before;
    assert!(turns < 50, "{turns} turns");
    assert_eq!(reader.join().1.len(), 2 * C::MUCH);
    test.close(stream);
}

pub(super) fn flush_sends_before_the_callback_returns<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    test.lp.defer(move |lp, log| {
        stream.write(lp, "now")?;
        assert_eq!((stream.queued(lp), lp.metrics().bytes_sent), (3, 0));
        stream.flush(lp)?;
        let sent = lp.metrics().bytes_sent as usize;
        assert!(sent == 3 || sent > 0 && C::SHORT_WRITES, "{sent} bytes");
        assert_eq!(stream.queued(lp), 3 - sent);
        assert_eq!(peer.read_exact(sent), b"now"[..sent]);
        stream.close(lp);
        note(log, "flushed")
    });
    assert_eq!(test.run(), ["flushed"]);
}

pub(super) fn a_broadcast_reaches_every_open_stream<C: Carrier>(test: &mut Fixture<C>) {
    let mut pairs: Vec<_> = (0..5).map(|_| test.pair()).collect();
    pairs[2].0.close(&mut test.lp);
    let streams: Vec<_> = pairs.iter().map(|(stream, _)| *stream).collect();
    let long = "news ".repeat(1000);
    assert_eq!(ByteStream::broadcast(&mut test.lp, &streams, "short "), 4);
    assert_eq!(ByteStream::broadcast(&mut test.lp, &streams[1..], &long), 3);
    for stream in &streams {
        let _ = stream.finish(&mut test.lp);
    }
    test.run();
    for (number, (_, peer)) in pairs.iter_mut().enumerate() {
        let expected = match number {
            0 => "short ".to_owned(),
            2 => String::new(),
            _ => format!("short {long}"),
        };
        assert_eq!(peer.read_to_eof().unwrap(), expected.as_bytes());
    }
}

pub(super) fn a_broadcast_to_a_full_queue_closes_only_that_stream<C: Carrier>(test: &mut Fixture<C>) {
    test.lp.on_failure(|_, log, failure| note(log, describe_error(&failure.error)));
    let (slow, _slow_peer) = test.pair();
    let (quick, mut quick_peer) = test.pair();
    slow.start(&mut test.lp, |_, log, event| match event? {
        Event::Closed => note(log, "slow closed"),
        _ => Ok(()),
    })
    .unwrap();
    slow.set_queue_limit(&mut test.lp, 1000).unwrap();
    slow.write(&mut test.lp, vec![7; 2 * C::MUCH]).unwrap();
    test.advance().unwrap();
    assert_eq!(ByteStream::broadcast(&mut test.lp, &[slow, quick], "news"), 1);
    test.run_until(|_, log| log.len() == 2);
    assert_eq!(test.log, ["queue full", "slow closed"]);
    assert_eq!(quick_peer.read_exact(4), b"news");
    test.close(quick);
}

pub(super) fn a_write_over_the_queue_limit_queues_nothing<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, _peer) = test.pair();
    let lp = &mut test.lp;
    stream.set_queue_limit(lp, 100).unwrap();
    // One write may pass the limit. What the system takes leaves the queue.
    stream.write(lp, vec![7; 2 * C::MUCH]).unwrap();
    stream.flush(lp).unwrap();
    let queued = stream.queued(lp);
    let error = stream.write(lp, "x").unwrap_err();
    assert!(matches!(error, Error::QueueFull { limit: 100, .. }), "{error}");
    assert_eq!(stream.queued(lp), queued);
    assert!(matches!(stream.write_then(lp, "x", |_, _, _| panic!()), Err(Error::QueueFull { .. })));
    test.close(stream);
}

pub(super) fn drained_comes_at_the_low_watermark_after_the_high_one<C: Carrier>(test: &mut Fixture<C>) {
    const LOW: usize = 1000;
    let (stream, peer) = test.pair();
    stream.set_watermarks(&mut test.lp, LOW, C::MUCH / 2).unwrap();
    stream
        .start(&mut test.lp, move |lp, log, event| {
            if let Event::Drained = event? {
                assert!(stream.queued(lp) <= LOW, "{}", stream.queued(lp));
                log.push("drained".into());
            }
            Ok(())
        })
        .unwrap();
    stream.write(&mut test.lp, "little").unwrap();
    test.run_until(|lp, _| stream.queued(lp) == 0);
    assert!(test.log.is_empty(), "{:?}", test.log);
    stream.write(&mut test.lp, vec![7; C::MUCH]).unwrap();
    let reader = peer.start_reading(Some(6 + C::MUCH));
    test.run_until(|lp, log| stream.queued(lp) == 0 && !log.is_empty());
    let (_peer, _) = reader.join();
    assert_eq!(test.close(stream), ["drained"]);
}

pub(super) fn watermarks_in_the_wrong_order_are_refused<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, _peer) = test.pair();
    for (low, high) in [(5, 5), (0, 5 << 30)] {
        let error = stream.set_watermarks(&mut test.lp, low, high).unwrap_err();
        assert_eq!(describe_error(&error), "invalid", "{low}, {high}");
    }
}

pub(super) fn a_finishing_stream_that_does_not_read_closes_after_sending<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, peer) = test.pair();
    stream.write(&mut test.lp, vec![7; C::MUCH]).unwrap();
    stream.finish(&mut test.lp).unwrap();
    let reader = peer.start_reading(None);
    test.run();
    assert_eq!(reader.join().1.len(), C::MUCH);
}

pub(super) fn a_write_callback_that_fails_closes_its_stream<C: Carrier>(test: &mut Fixture<C>) {
    test.lp.on_failure(|_, log, failure| note(log, failure.to_string().split(' ').next().unwrap()));
    let (stream, _peer) = test.pair();
    test.record(stream, "stream");
    stream.write_then(&mut test.lp, "x", |_, _, _| Err(Error::other("no"))).unwrap();
    assert_eq!(test.run(), ["write", "stream closed"]);
}

pub(super) fn ten_thousand_queued_writes_arrive_and_complete_in_order<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, peer) = test.pair();
    let mut expected = String::new();
    for number in 0..10_000 {
        let line = format!("line {number}\n");
        expected.push_str(&line);
        stream
            .write_then(&mut test.lp, line, move |_, log, result| result.and(note(log, number.to_string())))
            .unwrap();
    }
    stream.finish(&mut test.lp).unwrap();
    let reader = peer.start_reading(None);
    let log = test.run();
    assert_eq!(reader.join().1, expected.as_bytes());
    assert!(log.iter().enumerate().all(|(number, line)| *line == number.to_string()));
    assert_eq!(log.len(), 10_000);
}

pub(super) fn writes_sent_before_close_succeed_and_later_ones_are_canceled<C: Carrier>(
    test: &mut Fixture<C>,
) {
    let (stream, mut peer) = test.pair();
    let line = "0123456789".repeat(100);
    for number in 0..10_000 {
        let completed = move |_: &mut Loop<Log>, log: &mut Log, result: ringback::Result| {
            let outcome = result.map_or_else(|error| describe_error(&error), |()| "sent".into());
            note(log, format!("{number} {outcome}"))
        };
        stream.write_then(&mut test.lp, line.as_str(), completed).unwrap();
    }
    // The carrier takes a part of it; the peer reads none before the close.
    test.lp.close_then(stream, |_, log| note(log, "closed"));
    let mut log = test.run();
    assert_eq!(log.pop().unwrap(), "closed");
    let sent = log.iter().filter(|line| line.ends_with(" sent")).count();
    assert!(sent < 10_000, "{sent}");
    for (number, line) in log.iter().enumerate() {
        assert_eq!(*line, format!("{number} {}", if number < sent { "sent" } else { "canceled" }));
    }
    assert_eq!(log.len(), 10_000);
    // Every line that completed as sent arrives; a part of the next one may.
    let arrived = peer.read_to_eof().unwrap().len();
    assert!((sent * line.len()..(sent + 1) * line.len()).contains(&arrived), "{arrived} bytes");
}
