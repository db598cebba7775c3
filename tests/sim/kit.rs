//! Small programs that the tests share.

use std::net::IpAddr;

use ringback::{
    Loop, Result,
    net::{Event, TcpListener, TcpStream},
};

/// Sends back what it is sent, to anybody, on port 7.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) accepted: u32,
    pub(crate) closed: u32,
    pub(crate) failures: Vec<String>,
}

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

/// What came of a connection.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) conn: Option<TcpStream>,
    pub(crate) heard: Vec<u8>,
    pub(crate) connected: bool,
    pub(crate) ended: bool,
    pub(crate) closed: bool,
    pub(crate) error: Option<String>,
}

/// Connects, says it all, ends its side, and listens until the end.
pub(crate) fn talk(lp: &mut Loop<Talk>, server: IpAddr, text: Vec<u8>) -> Result {
    connect(lp, server, move |lp, conn| {
        // It says much before it listens to the echo, which waits for it to do so.
        conn.set_auto_pause(lp, false)?;
        conn.write(lp, text)?;
        conn.shutdown(lp)
    })
}

/// Connects to the echo, and listens until the end.
pub(crate) fn connect(
    lp: &mut Loop<Talk>,
    server: IpAddr,
    then: impl FnOnce(&mut Loop<Talk>, TcpStream) -> Result + 'static,
) -> Result {
    connect_to(lp, (server, 7), then)
}

/// Connects, and listens until the end. What goes wrong is kept.
pub(crate) fn connect_to(
    lp: &mut Loop<Talk>,
    server: (IpAddr, u16),
    then: impl FnOnce(&mut Loop<Talk>, TcpStream) -> Result + 'static,
) -> Result {
    lp.on_failure(|_, talk: &mut Talk, failure| {
        talk.error.get_or_insert(failure.error.to_string());
        Ok(())
    });
    TcpStream::connect(lp, server, move |lp, talk, conn| {
        let conn = conn?;
        (talk.connected, talk.conn) = (true, Some(conn));
        conn.start(lp, move |lp, talk: &mut Talk, event| {
            match event? {
                Event::Data(bytes) => talk.heard.extend_from_slice(bytes),
                Event::End => {
                    talk.ended = true;
                    conn.close(lp);
                }
                Event::Closed => talk.closed = true,
                _ => {}
            }
            Ok(())
        })?;
        then(lp, conn)
    })?;
    Ok(())
}

/// So many bytes, none like its neighbours.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|place| (place * 31 + place / 251) as u8).collect()
}
