//! A peer that is stopped (SIGSTOP) while a sender has gigabytes for it and writes regardless: only the limit
//! of the send queue bounds what is buffered.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net,
    process::Stdio,
};

use ringback::{
    Error, Loop, Result,
    net::{Event, TcpListener, TcpStream},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    probe::{ECHO, Probe},
    random::{Bytes, Random, seed},
    server::{GUARD, Server, eventually},
    subprocess::{parameter, report, stop_self, subprocess},
};

/// Of the send queue, in bytes.
const LIMIT: usize = 4 << 20;
/// Bytes of one write.
const PIECE: usize = 64 << 10;
/// Writes in a row, so that a peer that takes everything does not starve the others.
const WRITES: usize = 32;

/// What the first byte of a connection requests: all bytes, or the counters. Anything else is echoed.
const BULK: u8 = 0;
const COUNTERS: u8 = 1;

struct Sender {
    bytes: Bytes,
    total: u64,
    sent: BTreeMap<TcpStream, u64>,
    queued: usize,
    queued_max: usize,
    refused: u64,
}

/// A server that sends as fast as it can, until a write is refused.
pub(crate) fn sender() {
    let mut lp = Loop::new().unwrap();
    lp.on_failure(|_, _, failure| panic!("{failure}"));
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0").unwrap();
    listener
        .start(&mut lp, |lp, _, conn| {
            let mut first = true;
            conn.start(lp, move |lp, sender: &mut Sender, event| match event? {
                Event::Data(&mut [BULK]) if first => {
                    conn.set_queue_limit(lp, LIMIT)?;
                    sender.sent.insert(conn, 0);
                    fill(lp, sender, conn)
                }
                Event::Data(&mut [COUNTERS]) => {
                    let Sender { queued, queued_max, refused, .. } = sender;
                    conn.write(lp, format!("{queued} {queued_max} {refused}\n"))
                }
                Event::Data(bytes) => {
                    first = false;
                    conn.write(lp, bytes)
                }
                Event::Drained if sender.sent.contains_key(&conn) => fill(lp, sender, conn),
                Event::End => conn.finish(lp),
                _ => Ok(()),
            })
        })
        .unwrap();
    println!("listening on {}", listener.local_addr(&mut lp).unwrap());
    let (total, sent) = (parameter("TOTAL"), BTreeMap::new());
    lp.run(&mut Sender { bytes: Bytes::new(), total, sent, queued: 0, queued_max: 0, refused: 0 }).unwrap();
}

fn fill(lp: &mut Loop<Sender>, sender: &mut Sender, conn: TcpStream) -> Result {
    for _ in 0..WRITES {
        let Some(sent) = sender.sent.get_mut(&conn) else { return Ok(()) };
        let piece = sender.bytes.at(0, *sent, PIECE.min((sender.total - *sent) as usize));
        if piece.is_empty() {
            sender.sent.remove(&conn);
            return conn.finish(lp);
        }
        let written = conn.write(lp, piece);
        sender.queued = conn.queued(lp);
        sender.queued_max = sender.queued_max.max(sender.queued);
        match written {
            Ok(()) => *sent += piece.len() as u64,
            Err(Error::QueueFull { .. }) => {
                sender.refused += 1;
                return Ok(()); // `Drained` follows.
            }
            Err(error) => return Err(error),
        }
    }
    lp.defer(move |lp, sender| fill(lp, sender, conn));
    Ok(())
}

/// A client that requests everything, stops itself at a few random positions, and checks every byte.
pub(crate) fn reader() {
    let (total, stops, bytes): (u64, usize, _) = (parameter("TOTAL"), parameter("STOPS"), Bytes::new());
    let mut random = Random::new(parameter("SEED"));
    // Early enough that the rest does not fit into the system's buffers.
    let last = total - total / 4;
    let mut positions: Vec<u64> = (0..stops).map(|_| random.next() % last).collect();
    positions.sort();
    let mut stream = net::TcpStream::connect(parameter::<String>("ADDR")).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream.write_all(&[BULK]).unwrap();
    let (mut buffer, mut received) = (vec![0; 256 << 10], 0);
    let mut positions = positions.into_iter().peekable();
    loop {
        while positions.next_if(|&position| position <= received).is_some() {
            stop_self();
        }
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        assert!(bytes.check(0, received, &buffer[..count]), "a wrong byte after {received}");
        received += count as u64;
    }
    assert_eq!(received, total, "EOF before the last byte");
    println!("done: {received} bytes");
}

struct Counters {
    queued: usize,
    queued_max: usize,
    refused: u64,
}

fn counters(control: &mut BufReader<net::TcpStream>) -> Counters {
    control.get_mut().write_all(&[COUNTERS]).unwrap();
    let mut line = String::new();
    control.read_line(&mut line).unwrap();
    let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap());
    let mut next = || numbers.next().unwrap();
    Counters { queued: next() as usize, queued_max: next() as usize, refused: next() }
}

pub(crate) fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('T')
}

fn peer_that_stops(total: u64, stops: usize) {
    let seed = seed("sigstop");
    let server = Server::start(subprocess("sigstop: sender").env("TOTAL", total.to_string()));
    let probe = Probe::start(server.addr, ECHO);
    let (memory, descriptors) = (server.memory(), server.descriptors());
    let control = net::TcpStream::connect(server.addr).unwrap();
    control.set_read_timeout(Some(GUARD)).unwrap();
    let mut control = BufReader::new(control);
    let mut command = subprocess("sigstop: reader");
    command.env("ADDR", server.addr.to_string()).env("TOTAL", total.to_string());
    command.env("STOPS", stops.to_string()).env("SEED", seed.to_string());
    let mut reader = command.stdout(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&reader);
    probe.begin_fault();

    let mut peak = 0;
    for _ in 0..stops {
        eventually("the reader stops", || {
            assert!(reader.try_wait().unwrap().is_none(), "the reader has ended");
            is_stopped(pid).then_some(())
        });
        // Until the queue neither grows nor shrinks, while others are served.
        eventually("the queue is full", || {
            let before = counters(&mut control);
            probe.wait_for_trips(50);
            let now = counters(&mut control);
            (now.queued > LIMIT / 2 && (now.queued, now.refused) == (before.queued, before.refused))
                .then_some(())
        });
        peak = peak.max(server.memory());
        kill_process(pid, Signal::CONT).unwrap();
    }
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let end = counters(&mut control);
    assert!(end.queued_max > LIMIT && end.refused > 0, "the queue never reached its limit");
    assert!(end.queued_max <= LIMIT + PIECE, "{} bytes were queued", end.queued_max);
    assert!(peak < memory + (LIMIT >> 10) * 2 + 4096, "{peak} KiB, of {memory} at first");
    let latency = probe.finish();
    drop(control);
    server.comes_back_to(descriptors - 1); // The probe has left, too.
    let after = server.memory();
    assert!(after < memory + 4096, "{after} KiB are left of {memory} at first");
    report(
        "SIGSTOP",
        format!(
            "{} MiB to a peer stopped {stops} times, each byte once; queue at most {} KiB of {} KiB, {} \
             writes refused; memory {memory}, {peak}, {after} KiB; seed {seed}; {latency}",
            total >> 20,
            end.queued_max >> 10,
            LIMIT >> 10,
            end.refused
        ),
    );
}

#[test]
fn a_stopped_peer_fills_no_queue_beyond_its_limit() {
    peer_that_stops(200 << 20, 4);
}

#[test]
#[ignore = "long form"]
fn a_stopped_peer_of_gigabytes_fills_no_queue_beyond_its_limit() {
    peer_that_stops(6 << 30, 40);
}
