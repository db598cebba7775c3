//! Embedding: another event loop is in charge, and drives this one.
//!
//!     cargo run --example embed
//!
//! The one in charge is a few lines around poll(2), as in a game or a toolkit. It has a socket of its own
//! to read from, and treats the whole `Loop` as one more descriptor: two timers and a worker live in there.
//! It ends when its socket has ended and the loop has nothing left to wait for.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use ringback::{Loop, Result, Timer, work};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Waits for either, for this long at most. Says whether the socket is readable.
fn wait(lp: &Loop<u32>, socket: Option<&UnixStream>, timeout: Option<Duration>) -> Result<bool> {
    // A timeout too long to be said is as good as none.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut fds = vec![PollFd::new(lp, PollFlags::IN)];
    fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(std::io::Error::from(error).into()),
    }
}

fn main() -> Result {
    // Inside: what it does not know is that it is not in charge.
    let mut lp = Loop::new()?;
    let tick = Timer::every(&mut lp, Duration::from_millis(200), |_, ticks: &mut u32| {
        *ticks += 1;
        println!("inside: tick {ticks}");
        Ok(())
    })?;
    Timer::after(&mut lp, Duration::from_millis(900), move |lp, _| {
        tick.close(lp);
        println!("inside: the timers are done");
        Ok(())
    })?;
    work::run(
        &mut lp,
        || (1..=20_u64).product::<u64>(),
        |_, _, product| {
            println!("inside: a worker says that 20! = {}", product?);
            Ok(())
        },
    )?;

    // Outside: somebody writes into a socket now and then, and the loop in charge reads it.
    let (reader, mut writer) = UnixStream::pair()?;
    let writing = thread::spawn(move || {
        for word in ["one", "two", "three"] {
            thread::sleep(Duration::from_millis(150));
            writer.write_all(word.as_bytes())?;
        }
        Ok::<_, std::io::Error>(())
    });

    let (mut socket, mut ticks, mut alive) = (Some(reader), 0, true);
    while alive || socket.is_some() {
        // Asked just before waiting, because asking tells the system what was changed since.
        let timeout = if alive { lp.poll_timeout() } else { None };
        if wait(&lp, socket.as_ref(), timeout)? {
            let mut word = [0; 64];
            match socket.as_mut().map_or(Ok(0), |socket| socket.read(&mut word)) {
                Ok(0) => {
                    println!("outside: the socket has ended");
                    socket = None;
                }
                Ok(count) => println!("outside: the socket says {}", String::from_utf8_lossy(&word[..count])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        alive = lp.poll_once(&mut ticks)?;
    }
    writing.join().expect("the writer does not panic")?;
    println!("both are done, after {ticks} ticks");
    Ok(())
}
