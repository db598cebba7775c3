//! An echo server in one callback.

use ringback::{
    Loop, Result,
    net::{Event, TcpStream},
};

/// Sends back what arrives on a connection, and finishes after the peer's EOF. To be given to
/// `TcpListener::start`.
pub(crate) fn echo<S: 'static>(lp: &mut Loop<S>, _: &mut S, conn: TcpStream) -> Result {
    conn.start(lp, move |lp, _, event| match event? {
        Event::Data(bytes) => conn.write(lp, bytes),
        Event::End => conn.finish(lp),
        _ => Ok(()),
    })
}
