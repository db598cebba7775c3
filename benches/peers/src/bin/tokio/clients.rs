//! Clients: `write_batch`, `pump`, `connect`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use ringback_peers::{Arguments, Meter};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::Result;

const MESSAGE: &[u8] = b"Hello, world.";

fn target(arguments: &Arguments) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, arguments.get("port"))
}

async fn connected(target: SocketAddrV4) -> io::Result<TcpStream> {
    TcpStream::connect(target).await
}

pub async fn write_batch(arguments: &Arguments) -> Result {
    let count: u64 = arguments.get_or("count", 1_000_000);
    let mut stream = connected(target(arguments)).await?;
    arguments.ready();
    let meter = Meter::start();
    for _ in 0..count {
        stream.write_all(MESSAGE).await?;
    }
    stream.shutdown().await?;
    while stream.read(&mut [0; 64]).await? > 0 {}
    meter.report(count);
    Ok(())
}

pub async fn pump(arguments: &Arguments) -> Result {
    let window = Duration::from_secs_f64(arguments.get("seconds"));
    let block: Arc<[u8]> = vec![b'p'; arguments.get("bytes")].into();
    let mut streams = Vec::new();
    for _ in 0..arguments.get("conns") {
        streams.push(connected(target(arguments)).await?);
    }
    arguments.ready();
    let meter = Arc::new(Meter::start());
    let mut writers = JoinSet::new();
    for mut stream in streams {
        let (meter, block) = (meter.clone(), block.clone());
        writers.spawn(async move {
            let mut written = 0;
            while meter.wall() < window {
                stream.write_all(&block).await?;
                written += block.len() as u64;
            }
            io::Result::Ok(written)
        });
    }
    let written = writers.join_all().await.into_iter().sum::<io::Result<u64>>()?;
    meter.report(written);
    Ok(())
}

pub async fn connect(arguments: &Arguments) -> Result {
    let target = target(arguments);
    let window = Duration::from_secs_f64(arguments.get("seconds"));
    arguments.ready();
    let meter = Arc::new(Meter::start());
    let mut callers = JoinSet::new();
    for _ in 0..arguments.get("conns") {
        let meter = meter.clone();
        callers.spawn(async move {
            let mut done = 0;
            while meter.wall() < window {
                let mut stream = connected(target).await?;
                stream.write_all(b"QS").await?;
                while stream.read(&mut [0; 64]).await? > 0 {}
                done += 1;
            }
            io::Result::Ok(done)
        });
    }
    let done = callers.join_all().await.into_iter().sum::<io::Result<u64>>()?;
    meter.report(done);
    Ok(())
}
