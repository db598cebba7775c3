//! Embedding: another event loop drives this one.
//!
//!     cargo run --example embed
//!
//! The outer loop is a few lines around poll(2), as in a game or a GUI toolkit. It reads from a socket of its
//! own, and treats the inner `Loop`, with two timers and a job on a worker, as one more descriptor. It ends
//! when its socket has reached EOF and the inner loop has nothing left to wait for.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use ringback::{Loop, Result, Timer, work};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// Waits until the loop or the socket is ready, or for `timeout`. Returns whether the socket is readable.
fn wait(lp: &Loop<u32>, socket: Option<&UnixStream>, timeout: Option<Duration>) -> io::Result<bool> {
    // A timeout that overflows is as good as none.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut fds = vec![PollFd::new(lp, PollFlags::IN)];
    fds.extend(socket.map(|socket| PollFd::new(socket, PollFlags::IN)));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => Ok(fds.get(1).is_some_and(|fd| !fd.revents().is_empty())),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Starts two timers and a job. Nothing here depends on who drives the loop.
fn start_inner(lp: &mut Loop<u32>) -> Result {
    let tick = Timer::every(lp, Duration::from_millis(200), |_, ticks: &mut u32| {
        *ticks += 1;
        println!("inner: tick {ticks}");
        Ok(())
    })?;
    Timer::after(lp, Duration::from_millis(900), move |lp, _| {
        tick.close(lp);
        println!("inner: the timers are done");
        Ok(())
    })?;
    let multiply = || (1..=20_u64).product::<u64>();
    work::run(lp, multiply, |_, _, product| {
        println!("inner: a worker found 20! = {}", product?);
        Ok(())
    })?;
    Ok(())
}

fn main() -> Result {
    let mut lp = Loop::new()?;
    start_inner(&mut lp)?;

    let (reader, mut writer) = UnixStream::pair()?;
    let writing = thread::spawn(move || {
        for word in ["one", "two", "three"] {
            thread::sleep(Duration::from_millis(150));
            writer.write_all(word.as_bytes())?;
        }
        Ok::<_, io::Error>(())
    });

    let mut socket = Some(reader);
    let (mut ticks, mut is_alive) = (0, true);
    while is_alive || socket.is_some() {
        // `poll_timeout` also passes pending registrations to the kernel, so call it right before the wait.
        let timeout = if is_alive { lp.poll_timeout() } else { None };
        if wait(&lp, socket.as_ref(), timeout)? {
            let mut word = [0; 64];
            match socket.as_mut().map_or(Ok(0), |socket| socket.read(&mut word)) {
                Ok(0) => {
                    println!("outer: end of the socket");
                    socket = None;
                }
                Ok(count) => println!("outer: read {:?}", String::from_utf8_lossy(&word[..count])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        is_alive = lp.poll_once(&mut ticks)?;
    }
    writing.join().expect("the writer does not panic")?;
    println!("both loops are done, after {ticks} ticks");
    Ok(())
}
