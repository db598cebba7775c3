//! Small programs that the tests share.

use std::net::IpAddr;

use ringback::{
    Loop, Result,
    net::{Event, TcpListener, TcpStream},
    sim::{Host, World},
};

/// The state of an echo server.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) accepted: u32,
    pub(crate) closed: u32,
    pub(crate) failures: Vec<String>,
}

/// Serves echo on port 7.
pub(crate) fn echo(lp: &mut Loop<Echo>) -> Result {
    lp.on_failure(|_, echo: &mut Echo, failure| {
        echo.failures.push(failure.error.to_string());
        Ok(())
    });
    TcpListener::bind(lp, "0.0.0.0:7")?.start(lp, |lp, echo, conn| {
        echo.accepted += 1;
        conn.set_watermarks(lp, 4 << 10, 16 << 10)?;
        conn.start(lp, move |lp, echo: &mut Echo, event| {
            match event? {
                Event::Data(bytes) => conn.write(lp, &*bytes)?,
                Event::End => conn.finish(lp)?,
                Event::Closed => echo.closed += 1,
                _ => {}
            }
            Ok(())
        })
    })
}

/// The state of a client, which is what happened to its connection.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) conn: Option<TcpStream>,
    pub(crate) received: Vec<u8>,
    pub(crate) connected: bool,
    pub(crate) eof: bool,
    pub(crate) closed: bool,
    /// The first failure.
    pub(crate) error: Option<String>,
}

/// Connects to an echo server, sends `text`, shuts down, and reads until EOF.
pub(crate) fn send(lp: &mut Loop<Client>, server: IpAddr, text: Vec<u8>) -> Result {
    connect(lp, server, move |lp, conn| {
        // Or it would wait for its queue to drain, and the server for the client to read.
        conn.set_auto_pause(lp, false)?;
        conn.write(lp, text)?;
        conn.shutdown(lp)
    })
}

/// Connects to an echo server, calls `then`, and reads until EOF.
pub(crate) fn connect(
    lp: &mut Loop<Client>,
    server: IpAddr,
    then: impl FnOnce(&mut Loop<Client>, TcpStream) -> Result + 'static,
) -> Result {
    connect_to(lp, (server, 7), then)
}

/// Connects, calls `then`, and reads until EOF.
pub(crate) fn connect_to(
    lp: &mut Loop<Client>,
    server: (IpAddr, u16),
    then: impl FnOnce(&mut Loop<Client>, TcpStream) -> Result + 'static,
) -> Result {
    lp.on_failure(|_, client: &mut Client, failure| {
        client.error.get_or_insert(failure.error.to_string());
        Ok(())
    });
    TcpStream::connect(lp, server, move |lp, client, conn| {
        let conn = conn?;
        (client.connected, client.conn) = (true, Some(conn));
        conn.start(lp, move |lp, client: &mut Client, event| {
            match event? {
                Event::Data(bytes) => client.received.extend_from_slice(bytes),
                Event::End => {
                    client.eof = true;
                    conn.close(lp);
                }
                Event::Closed => client.closed = true,
                _ => {}
            }
            Ok(())
        })?;
        then(lp, conn)
    })?;
    Ok(())
}

/// Adds an echo server.
pub(crate) fn add_echo(world: &mut World) -> Result<Host<Echo>> {
    world.host("server", Echo::default(), |lp, _| echo(lp))
}

/// Adds a client that does as [`send`] says.
pub(crate) fn add_sender(world: &mut World, server: IpAddr, text: Vec<u8>) -> Result<Host<Client>> {
    world.host("client", Client::default(), move |lp, _| send(lp, server, text))
}

/// Adds a client that does as [`connect`] says.
pub(crate) fn add_client(
    world: &mut World,
    server: IpAddr,
    then: impl FnOnce(&mut Loop<Client>, TcpStream) -> Result + 'static,
) -> Result<Host<Client>> {
    world.host("client", Client::default(), move |lp, _| connect(lp, server, then))
}

/// Adds an echo server and a client that sends it a text.
pub(crate) fn add_pair(world: &mut World, text: Vec<u8>) -> Result<(Host<Echo>, Host<Client>)> {
    let server = add_echo(world)?;
    let addr = world.addr(server);
    Ok((server, add_sender(world, addr, text)?))
}

/// Returns bytes of which neighbours differ.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|position| (position * 31 + position / 251) as u8).collect()
}
