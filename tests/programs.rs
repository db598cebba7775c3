//! The programs that the crate is designed for. They must compile as they stand, and must not get longer.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::SocketAddr,
    time::Duration,
};

use ringback::{
    Loop, Result, Timer, fs,
    net::{self, Event, TcpListener, TcpStream},
    work,
};

/// The echo program, except that it sends its address and serves one connection.
#[rustfmt::skip]
fn echo(addr: std::sync::mpsc::Sender<SocketAddr>) -> Result {
    let mut lp = Loop::new()?;
    lp.on_failure(|_, _, failure| { eprintln!("{failure}"); Ok(()) });
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0")?;
    addr.send(listener.local_addr(&mut lp)?).unwrap();
    listener.start(&mut lp, move |lp, _, conn| {
        listener.close(lp); // one connection only
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

#[test]
fn echo_returns_every_byte() {
    let (sender, addr) = std::sync::mpsc::channel();
    let server = std::thread::spawn(|| echo(sender));
    let mut peer = std::net::TcpStream::connect(addr.recv().unwrap()).unwrap();
    peer.write_all(b"hello").unwrap();
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    let mut echoed = String::new();
    peer.read_to_string(&mut echoed).unwrap();
    assert_eq!(echoed, "hello");
    server.join().unwrap().unwrap();
}

#[rustfmt::skip]
#[derive(Default)]
struct Chat { people: BTreeMap<TcpStream, String> }

#[rustfmt::skip]
#[test]
fn chat_sends_a_line_to_every_other_guest() -> Result {
    let mut lp = Loop::new()?;
    let listener = TcpListener::bind(&mut lp, "127.0.0.1:0")?;
    let addr = listener.local_addr(&mut lp)?;
    listener.start(&mut lp, |lp, chat: &mut Chat, conn| {
        chat.people.insert(conn, format!("guest{}", chat.people.len()));
        conn.start(lp, move |lp, chat, event| {
            match event? {
                Event::Data(line) => { net::broadcast(lp, chat.people.keys().filter(|&&p| p != conn), line); }
                Event::End => conn.close(lp),
                Event::Closed => { chat.people.remove(&conn); }   // always last, however it ended
                _ => {}
            }
            Ok(())
        })
    })?;
    let mut chat = Chat::default();
    let mut people = Vec::new();
    for number in 0..3 {
        people.push(std::net::TcpStream::connect(addr)?);
        while chat.people.len() == number {
            lp.run_once(&mut chat)?;
        }
    }
    people[1].write_all(b"hello")?;
    while lp.metrics().bytes_sent < 10 {
        lp.run_once(&mut chat)?;
    }
    for number in [0, 2] {
        let mut line = [0; 5];
        people[number].read_exact(&mut line)?;
        assert_eq!(&line, b"hello");
    }
    drop(people);
    while !chat.people.is_empty() {
        lp.run_once(&mut chat)?;
    }
    Ok(())
}

struct Game {
    steps: u32,
    news: u32,
}

impl Game {
    fn step(&mut self) {
        self.steps += 1;
    }
    fn news(&mut self, _: &mut Loop<Game>) -> Result {
        self.news += 1;
        Ok(())
    }
}

fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

#[rustfmt::skip]
#[test]
fn a_game_uses_timers_a_file_a_worker_and_a_thread() -> Result {
    let mut lp = Loop::new()?;
    Timer::after(&mut lp, Duration::from_millis(5), |_, _| { println!("once"); Ok(()) })?;
    let tick = Timer::every(&mut lp, Duration::from_millis(1), |_, game: &mut Game| { game.step(); Ok(()) })?;
    Timer::after(&mut lp, Duration::from_millis(20), move |lp, _| {
        fs::read(lp, "Cargo.toml", move |lp, _, text| { println!("{} bytes", text?.len()); tick.close(lp); Ok(()) })?;
        Ok(())
    })?;
    work::run(&mut lp, || fib(20), |_, _, n| { println!("{}", n?); Ok(()) })?;
    let remote = lp.remote();                       // Send + Sync + Clone
    std::thread::spawn(move || remote.post(|lp, game: &mut Game| { game.news(lp) }));
    let mut game = Game { steps: 0, news: 0 };
    lp.run(&mut game)?;
    assert!(game.steps > 0 && game.news == 1);
    Ok(())
}
