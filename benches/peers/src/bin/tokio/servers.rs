//! Servers: `echo`, `pipelined`, `broadcast`, `pound`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use ringback_peers::announce;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, tcp::OwnedWriteHalf},
    spawn,
    sync::Mutex,
};

const BACKLOG: u32 = 1024;
const BUFFER_BYTES: usize = 64 << 10;
const MESSAGE: [u8; 64] = [b'm'; 64];
/// Messages for each stream in a burst of `broadcast`.
const MESSAGES_PER_BURST: usize = 20;

/// Binds a listener to a free port of 127.0.0.1, and announces it.
pub fn listener() -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let listener = socket.listen(BACKLOG)?;
    announce(&format!("listening {}", listener.local_addr()?.port()));
    Ok(listener)
}

pub async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub async fn echo() -> io::Result<()> {
    let listener = listener()?;
    loop {
        let mut stream = accept(&listener).await?;
        spawn(async move {
            let mut buffer = vec![0; BUFFER_BYTES];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        });
    }
}

pub async fn pipelined() -> io::Result<()> {
    let listener = listener()?;
    loop {
        // The task ends with its connection.
        spawn(respond(accept(&listener).await?));
    }
}

async fn respond(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut filled = 0;
    while let count @ 1.. = stream.read(&mut buffer[filled..]).await? {
        filled += count;
        for _ in 0..filled / MESSAGE.len() {
            stream.write_all(&MESSAGE).await?;
        }
        let left_over = filled % MESSAGE.len();
        buffer.copy_within(filled - left_over..filled, 0);
        filled = left_over;
    }
    Ok(())
}

pub async fn broadcast() -> io::Result<()> {
    let listener = listener()?;
    let streams = Arc::new(Mutex::new(Vec::<OwnedWriteHalf>::new()));
    loop {
        let (mut reader, writer) = accept(&listener).await?.into_split();
        streams.lock().await.push(writer);
        let streams = streams.clone();
        spawn(async move {
            while reader.read_u8().await.is_ok() {
                let mut streams = streams.lock().await;
                for _ in 0..MESSAGES_PER_BURST {
                    for stream in streams.iter_mut() {
                        // A write to a closed stream fails; the others continue.
                        let _ = stream.write_all(&MESSAGE).await;
                    }
                }
            }
        });
    }
}

pub async fn pound() -> io::Result<()> {
    let listener = listener()?;
    loop {
        let mut stream = accept(&listener).await?;
        spawn(async move { stream.read(&mut [0; 64]).await });
    }
}
