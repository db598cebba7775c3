//! Heap bytes: `weigh_conns`, `weigh_timers`.

use std::{
    cell::RefCell,
    future::poll_fn,
    hint::black_box,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use ringback_peers::{Arguments, heap_bytes, result};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    select, spawn,
    sync::oneshot,
    time::sleep,
};

use crate::{
    Result,
    servers::{accept, listener},
    timers::Counter,
};

const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

pub async fn conns() -> Result {
    let listener = listener()?;
    BUFFER.with(|_| ());
    let (stop, mut stopped) = oneshot::channel();
    // Standard input may be a file, which no loop can wait for.
    thread::spawn(move || {
        let _ = io::stdin().read_line(&mut String::new());
        let _ = stop.send(());
    });
    let before = heap_bytes();
    select! {
        ended = serve(&listener) => ended?,
        _ = &mut stopped => {}
    }
    result("heap_bytes", heap_bytes() - before);
    Ok(())
}

async fn serve(listener: &TcpListener) -> io::Result<()> {
    for number in 0_usize.. {
        spawn(echo(accept(listener).await?, number));
    }
    Ok(())
}

/// Echoes, with one read buffer for all connections, so that the heap holds only what tokio has for each of
/// them.
async fn echo(mut stream: TcpStream, number: usize) -> io::Result<()> {
    loop {
        let unsent = poll_fn(|context| poll_echo(&mut stream, context)).await?;
        let Some(unsent) = unsent else { return Ok(()) };
        stream.write_all(&unsent).await?;
        black_box(number);
    }
}

/// Reads, and sends what was read. Returns the bytes that the kernel did not take, or `None` at EOF.
fn poll_echo(stream: &mut TcpStream, context: &mut Context) -> Poll<io::Result<Option<Vec<u8>>>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(None));
        }
        let sent = match stream.try_write(read.filled()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        Poll::Ready(Ok(Some(read.filled()[sent..].to_vec())))
    })
}

/// A timer is a task that sleeps.
pub async fn timers(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get("count");
    let started = Counter::new(count);
    let before = heap_bytes();
    for number in 0..count {
        let started = started.clone();
        spawn(async move {
            started.count();
            sleep(Duration::from_secs(3600)).await;
            black_box(number);
        });
    }
    started.all().await;
    result("heap_bytes", heap_bytes() - before);
    Ok(())
}
