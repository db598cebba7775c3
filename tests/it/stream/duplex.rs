//! Streams that receive and send.

use ringback::{Error, net::Event};

use super::{
    Fixture,
    carrier::{ByteStream, Carrier, Peer, Reader},
};
use crate::common::{MS, describe_event};

macro_rules! duplex {
    ($carrier:ty) => {
        instantiate!(
            $carrier,
            duplex: writes_in_a_callback_are_sent_when_it_returns,
            a_stream_stops_reading_above_its_high_watermark,
            without_auto_pause_a_stream_keeps_reading,
            data_can_be_changed_in_place,
            a_finishing_stream_closes_once_when_ends_cross,
            a_finishing_stream_reads_until_the_peers_end,
            closed_is_the_last_event_and_comes_once,
        );
    };
}

pub(super) fn writes_in_a_callback_are_sent_when_it_returns<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    stream
        .start(&mut test.lp, move |lp, _, event| {
            if let Event::Data(_) = event? {
                for _ in 0..16 {
                    stream.write(lp, "answer ")?;
                }
                assert_eq!((stream.queued(lp), lp.metrics().bytes_sent), (16 * 7, 0));
            }
            Ok(())
        })
        .unwrap();
    peer.send("x");
    test.run_until(|lp, _| lp.metrics().bytes_sent == 16 * 7);
    assert_eq!(peer.read_exact(16 * 7), "answer ".repeat(16).as_bytes());
    test.close(stream);
}

pub(super) fn a_stream_stops_reading_above_its_high_watermark<C: Carrier>(test: &mut Fixture<C>) {
    const HIGH: usize = 100_000;
    const READ_BUFFER: usize = 64 << 10;
    let (stream, mut peer) = test.pair();
    stream.set_watermarks(&mut test.lp, 1000, HIGH).unwrap();
    stream
        .start(&mut test.lp, move |lp, _, event| {
            if let Event::Data(bytes) = event? {
                stream.write(lp, bytes)?;
            }
            Ok(())
        })
        .unwrap();
    // The peer sends and does not read, until it can send no more.
    let total = 8 * C::MUCH;
    let chunk = vec![7; 1 << 16];
    let (mut sent, mut refused) = (0, 0);
    while sent < total && refused < 100 {
        let count = peer.try_send(&chunk);
        sent += count;
        refused = if count == 0 { refused + 1 } else { 0 };
        test.advance().unwrap();
        assert!(stream.queued(&test.lp) <= HIGH + READ_BUFFER, "{}", stream.queued(&test.lp));
    }
    assert!(sent < total, "nothing held the peer back");
    // It continues when the peer reads.
    peer.shutdown();
    let reader = peer.start_reading(Some(sent));
    test.run_until(|lp, _| lp.metrics().bytes_sent == sent as u64);
    let (_peer, received) = reader.join();
    assert_eq!(received.len(), sent);
    test.close(stream);
}

pub(super) fn without_auto_pause_a_stream_keeps_reading<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    stream.set_auto_pause(&mut test.lp, false).unwrap();
    stream.write(&mut test.lp, vec![7; C::MUCH]).unwrap();
    test.record(stream, "stream");
    peer.send("x");
    test.run_until(|_, log| !log.is_empty());
    assert_eq!(test.close(stream), ["stream data \"x\"", "stream closed"]);
}

pub(super) fn data_can_be_changed_in_place<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    stream
        .start(&mut test.lp, move |lp, _, event| {
            if let Event::Data(bytes) = event? {
                bytes.make_ascii_uppercase();
                stream.write(lp, bytes)?;
            }
            Ok(())
        })
        .unwrap();
    peer.send("loud");
    test.run_until(|lp, _| lp.metrics().bytes_sent == 4);
    assert_eq!(peer.read_exact(4), b"LOUD");
    test.close(stream);
}

pub(super) fn a_finishing_stream_closes_once_when_ends_cross<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    test.record(stream, "stream");
    stream.write(&mut test.lp, "bye").unwrap();
    stream.finish(&mut test.lp).unwrap();
    stream.finish(&mut test.lp).unwrap();
    peer.shutdown();
    assert_eq!(test.run(), ["stream end", "stream closed"]);
    assert_eq!(peer.read_to_eof().unwrap(), b"bye");
}

pub(super) fn a_finishing_stream_reads_until_the_peers_end<C: Carrier>(test: &mut Fixture<C>) {
    let (stream, mut peer) = test.pair();
    test.record(stream, "stream");
    stream.finish(&mut test.lp).unwrap();
    test.lp.poll_once(&mut test.log).unwrap();
    assert_eq!(peer.read_to_eof().unwrap(), b"");
    peer.send("!");
    test.run_until(|_, log| !log.is_empty());
    drop(peer);
    assert_eq!(test.run(), ["stream data \"!\"", "stream end", "stream closed"]);
}

pub(super) fn closed_is_the_last_event_and_comes_once<C: Carrier>(test: &mut Fixture<C>) {
    test.lp.on_failure(|_, _, _| Ok(()));
    for way in ["close", "finish", "error", "idle"] {
        let (stream, mut peer) = test.pair();
        stream
            .start(&mut test.lp, move |lp, log, event| {
                log.push(describe_event(&event));
                match (way, event?) {
                    ("close", Event::Data(_)) => stream.close(lp),
                    ("finish", Event::Data(_)) => stream.finish(lp)?,
                    ("error", Event::Data(_)) => return Err(Error::other("error")),
                    ("idle", Event::Data(_)) => stream.set_idle_timeout(lp, Some(MS))?,
                    _ => {}
                }
                Ok(())
            })
            .unwrap();
        peer.send("x");
        test.run_until(|_, log| !log.is_empty());
        if way == "finish" {
            drop(peer);
        }
        assert_closed_once(way, &test.run());
    }
}

/// The log's last line is `closed`, and no other is.
pub(super) fn assert_closed_once(way: &str, log: &[String]) {
    assert_eq!(log.last().unwrap(), "closed", "{way}: {log:?}");
    assert_eq!(log.iter().filter(|line| *line == "closed").count(), 1, "{way}: {log:?}");
}
