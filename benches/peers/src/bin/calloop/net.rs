//! `echo`: each connection is a generic source.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
};

use calloop::{EventLoop, Interest, LoopHandle, Mode, PostAction, generic::Generic};
use ringback_peers::announce;

use crate::Result;

const BACKLOG: i32 = 1024;
const BUFFER_BYTES: usize = 64 << 10;

type Buffer = Rc<RefCell<Vec<u8>>>;

pub fn echo() -> Result {
    let mut event_loop = EventLoop::<()>::try_new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Listen again, because the standard library's backlog is 128.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    announce(&format!("listening {}", listener.local_addr()?.port()));
    let buffer = Rc::new(RefCell::new(vec![0; BUFFER_BYTES]));
    let handle = event_loop.handle();
    let source = Generic::new(listener, Interest::READ, Mode::Level);
    event_loop.handle().insert_source(source, move |_, listener, ()| {
        loop {
            match listener.accept() {
                Ok((stream, _)) => serve(&handle, stream, buffer.clone())?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(PostAction::Continue),
                Err(error) => return Err(error),
            }
        }
    })?;
    Ok(event_loop.run(None, &mut (), |()| {})?)
}

fn serve(handle: &LoopHandle<'static, ()>, stream: TcpStream, buffer: Buffer) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let source = Generic::new(stream, Interest::READ, Mode::Level);
    let inserted = handle.insert_source(source, move |_, stream, ()| {
        let mut stream: &TcpStream = stream;
        let buffer = &mut *buffer.borrow_mut();
        // The client has one message in flight, so it fits into the send buffer. If not, close the
        // connection.
        Ok(match stream.read(buffer) {
            Ok(0) => PostAction::Remove,
            Ok(count) if stream.write(&buffer[..count]).ok() == Some(count) => PostAction::Continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => PostAction::Continue,
            _ => PostAction::Remove,
        })
    });
    inserted.map(drop).map_err(|error| std::io::Error::other(error.error))
}
