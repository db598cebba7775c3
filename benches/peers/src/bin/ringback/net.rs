//! Servers and clients.

use std::{rc::Rc, time::Duration};

use ringback::{
    Loop, Options, Result, Timer,
    net::{self, Event, ListenOptions, TcpListener, TcpStream},
};
use ringback_peers::{Arguments, Meter, announce};

const REQUEST: usize = 64;

fn listen<S>(lp: &mut Loop<S>) -> Result<TcpListener> {
    lp.on_failure(|_, _, failure| {
        eprintln!("{failure}");
        Ok(())
    });
    let listener = ListenOptions::new().backlog(4096).bind(lp, "127.0.0.1:0")?;
    announce(&format!("listening {}", listener.local_addr(lp)?.port()));
    Ok(listener)
}

pub fn echo(arguments: &Arguments) -> Result {
    let busy_poll = Duration::from_micros(arguments.get_or("busy_poll_us", 0));
    let mut lp = Options::new().busy_poll(busy_poll).build()?;
    listen(&mut lp)?.start(&mut lp, |lp, _, conn| {
        conn.start(lp, move |lp, _, event| {
            match event? {
                Event::Data(bytes) => conn.write(lp, bytes)?,
                Event::End => conn.finish(lp)?,
                _ => {}
            }
            Ok(())
        })
    })?;
    lp.run(&mut ())
}

pub fn pipelined() -> Result {
    let mut lp = Loop::new()?;
    listen(&mut lp)?.start(&mut lp, |lp, _, conn| {
        let mut partial = Vec::new();
        conn.start(lp, move |lp, _, event| {
            match event? {
                Event::Data(bytes) => answer(lp, conn, &mut partial, bytes)?,
                Event::End => conn.finish(lp)?,
                _ => {}
            }
            Ok(())
        })
    })?;
    lp.run(&mut ())
}

fn answer(lp: &mut Loop, conn: TcpStream, partial: &mut Vec<u8>, mut bytes: &[u8]) -> Result {
    if !partial.is_empty() {
        let missing = (REQUEST - partial.len()).min(bytes.len());
        partial.extend_from_slice(&bytes[..missing]);
        bytes = &bytes[missing..];
        if partial.len() == REQUEST {
            conn.write(lp, &*partial)?;
            partial.clear();
        }
    }
    let mut requests = bytes.chunks_exact(REQUEST);
    for request in &mut requests {
        conn.write(lp, request)?;
    }
    partial.extend_from_slice(requests.remainder());
    Ok(())
}

#[derive(Default)]
struct Streams {
    all: Vec<TcpStream>,
}

pub fn broadcast(arguments: &Arguments) -> Result {
    let count = arguments.get("streams");
    let mut lp = Loop::new()?;
    listen(&mut lp)?.start(&mut lp, move |lp, streams: &mut Streams, conn| {
        streams.all.push(conn);
        conn.start(lp, move |lp, streams: &mut Streams, event| {
            match event? {
                Event::Data(_) => {
                    for _ in 0..20 {
                        net::broadcast(lp, &streams.all[..count], &[b'm'; 64]);
                    }
                }
                Event::End => conn.finish(lp)?,
                Event::Closed => streams.all.retain(|&other| other != conn),
                _ => {}
            }
            Ok(())
        })
    })?;
    lp.run(&mut Streams::default())
}

pub fn pound() -> Result {
    let mut lp = Loop::new()?;
    listen(&mut lp)?.start(&mut lp, |lp, _, conn| {
        conn.start(lp, move |lp, _, event| {
            if matches!(event?, Event::Data(_) | Event::End) {
                conn.close(lp);
            }
            Ok(())
        })
    })?;
    lp.run(&mut ())
}

pub fn sink() -> Result {
    let mut lp = Loop::new()?;
    listen(&mut lp)?.start(&mut lp, |lp, _, conn| {
        conn.start(lp, move |lp, _, event| {
            if let Event::End = event? {
                conn.close(lp);
            }
            Ok(())
        })
    })?;
    lp.run(&mut ())
}

fn server(arguments: &Arguments) -> String {
    format!("127.0.0.1:{}", arguments.get::<u16>("port"))
}

pub fn write_batch(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get_or("count", 1_000_000);
    let mut lp = Loop::new()?;
    arguments.ready();
    let meter = Meter::start();
    TcpStream::connect(&mut lp, server(arguments).as_str(), move |lp, _, conn| {
        let conn = conn?;
        conn.set_queue_limit(lp, usize::MAX)?;
        conn.start(lp, move |lp, _, event| {
            if let Event::End = event? {
                conn.close(lp);
            }
            Ok(())
        })?;
        for _ in 0..count {
            conn.write(lp, "Hello, world.")?;
        }
        conn.finish(lp)
    })?;
    lp.run(&mut ())?;
    meter.report(count);
    Ok(())
}

#[derive(Default)]
struct Pump {
    written: u64,
}

pub fn pump(arguments: &Arguments) -> Result {
    let conns: usize = arguments.get("conns");
    let block: Rc<[u8]> = vec![b'p'; arguments.get("bytes")].into();
    let seconds: f64 = arguments.get("seconds");
    let mut lp = Loop::new()?;
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..conns {
        let block = block.clone();
        TcpStream::connect(&mut lp, server(arguments).as_str(), move |lp, _, conn| {
            let conn = conn?;
            // Large blocks, and no peer that waits for the last piece: Nagle's algorithm may stay on.
            conn.set_nodelay(lp, false)?;
            pump_once(lp, conn, block)
        })?;
    }
    Timer::after(&mut lp, Duration::from_secs_f64(seconds), |lp, _| {
        lp.stop();
        Ok(())
    })?;
    let mut pump = Pump::default();
    lp.run(&mut pump)?;
    meter.report(pump.written);
    Ok(())
}

fn pump_once(lp: &mut Loop<Pump>, conn: TcpStream, block: Rc<[u8]>) -> Result {
    conn.write_then(lp, block.clone(), move |lp, pump: &mut Pump, result| {
        result?;
        pump.written += block.len() as u64;
        pump_once(lp, conn, block)
    })
}

#[derive(Default)]
struct Connections {
    done: u64,
    over: bool,
}

pub fn connect(arguments: &Arguments) -> Result {
    let conns: usize = arguments.get("conns");
    let seconds: f64 = arguments.get("seconds");
    let addr: std::net::SocketAddr = server(arguments).parse().expect("an address");
    let mut lp = Loop::new()?;
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..conns {
        connect_once(&mut lp, addr)?;
    }
    Timer::after(&mut lp, Duration::from_secs_f64(seconds), |_, connections: &mut Connections| {
        connections.over = true;
        Ok(())
    })?;
    let mut connections = Connections::default();
    lp.run(&mut connections)?;
    meter.report(connections.done);
    Ok(())
}

fn connect_once(lp: &mut Loop<Connections>, addr: std::net::SocketAddr) -> Result {
    TcpStream::connect(lp, addr, move |lp, _, conn| {
        let conn = conn?;
        conn.start(lp, move |lp, connections: &mut Connections, event| {
            match event? {
                Event::End => conn.close(lp),
                Event::Closed => {
                    connections.done += 1;
                    if !connections.over {
                        connect_once(lp, addr)?;
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        conn.write(lp, "QS")
    })?;
    Ok(())
}
