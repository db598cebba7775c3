//! HTTP: says hello, to HTTP/1.1 and 1.0, with keep-alive and pipelining.
//!
//!     cargo run --release --example http_hello 127.0.0.1:8080
//!     curl -i http://127.0.0.1:8080/
//!
//! Each request has five seconds to arrive. Whoever does not read the answers is read no further.

use std::{io::Write, time::Duration};

use httparse::{EMPTY_HEADER, Error::TooManyHeaders, Request, Status::*};
use ringback::{Loop, Options, Result, Signal, Timer, net::Event, net::TcpListener, signal};

/// The answer to the first request, its length, and whether to go on after it. Nothing if it is incomplete.
fn answer(bytes: &[u8]) -> Option<(String, usize, bool)> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut request = Request::new(&mut headers);
    let parsed = request.parse(bytes);
    let all = |name| request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    let words = || all("connection").flat_map(|field| field.value.split(|&byte| byte == b','));
    let says = |word: &[u8]| words().any(|other| other.trim_ascii().eq_ignore_ascii_case(word));
    let (modern, hosts) = (request.version == Some(1), all("host").count());
    let path = request.path.and_then(|path| path.split('?').next());
    let (length, status) = match (parsed, request.method) {
        (Ok(Partial), _) if bytes.len() <= 8 << 10 => return None,
        (Ok(Partial) | Err(TooManyHeaders), _) => (0, "431 Request Header Fields Too Large"),
        (Ok(Complete(_)), _) if hosts > 1 || modern && hosts == 0 => (0, "400 Bad Request"),
        (Ok(Complete(length)), Some("GET" | "HEAD")) if path == Some("/") => (length, "200 OK"),
        (Ok(Complete(length)), Some("GET" | "HEAD")) => (length, "404 Not Found"),
        (Ok(Complete(length)), _) => (length, "405 Method Not Allowed\r\nAllow: GET, HEAD"),
        (Err(_), _) => (0, "400 Bad Request"),
    };
    // A body is not read, and nothing after it: it must never be taken for a request.
    let body = ["content-length", "transfer-encoding", "expect"].iter().any(|&name| all(name).count() > 0);
    let keep = length > 0 && !body && !says(b"close") && (modern || says(b"keep-alive"));
    let next = if keep { "keep-alive" } else { "close" };
    let text = if status == "200 OK" { "Hello, world!\n" } else { "There is only /, for GET and HEAD.\n" };
    let (shown, size) = (if request.method == Some("HEAD") { "" } else { text }, text.len());
    let answer = format!("HTTP/1.1 {status}\r\nConnection: {next}\r\nContent-Length: {size}\r\n\r\n{shown}");
    Some((answer, length, keep))
}

pub(crate) fn serve(lp: &mut Loop, addr: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(lp, addr)?;
    listener.start(lp, |lp, _, conn| {
        let limit = Timer::after(lp, Duration::from_secs(5), move |lp, _| {
            conn.close(lp);
            Ok(())
        })?;
        conn.set_watermarks(lp, 16 << 10, 64 << 10)?;
        let (mut pending, mut done) = (Vec::new(), false);
        conn.start(lp, move |lp, _, event| {
            match event {
                Ok(Event::Data(bytes)) if !done => {
                    pending.extend_from_slice(bytes);
                    let mut used = 0;
                    while !done && used < pending.len() {
                        let Some((answer, length, keep)) = answer(&pending[used..]) else { break };
                        conn.write(lp, answer)?;
                        limit.again(lp)?;
                        (used, done) = (used + length, !keep);
                    }
                    pending.drain(..used);
                    if done {
                        conn.finish(lp)?;
                    }
                }
                Ok(Event::End) => conn.finish(lp)?,
                Ok(Event::Closed) => limit.close(lp),
                Ok(_) => {}
                Err(_) => conn.close(lp), // Gone in the middle of something: so are peers.
            }
            Ok(())
        })
    })?;
    Ok(listener)
}

fn main() -> Result {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let mut lp = Options::new().read_buffer(16 << 10).build()?;
    lp.on_failure(|_, _, failure| {
        eprintln!("{failure}");
        Ok(())
    });
    let listener = serve(&mut lp, &addr)?;
    for signum in [signal::INT, signal::TERM] {
        Signal::on(&mut lp, signum, |lp, _, _| {
            lp.stop();
            Ok(())
        })?;
    }
    println!("listening on {}", listener.local_addr(&mut lp)?);
    std::io::stdout().flush()?;
    lp.run(&mut ())
}
