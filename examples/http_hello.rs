//! HTTP server: says hello over HTTP/1.1 and 1.0, with keep-alive and pipelining.
//!
//!     cargo run --release --example http_hello 127.0.0.1:8080
//!     curl -i http://127.0.0.1:8080/
//!
//! Each request must arrive within five seconds. A client that does not read its responses is not read from.

mod common;

use std::time::Duration;

use httparse::{EMPTY_HEADER, Error::TooManyHeaders, Request, Status::*};
use ringback::{Loop, Options, Result, Timer, net::Event, net::TcpListener};

const HEAD_MAX: usize = 8 << 10; // Bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

struct Response {
    text: String,
    /// The length of the request; zero if it was malformed, so that nothing after it can be understood.
    length: usize,
    keep_alive: bool,
}

/// Responds to the first request in `bytes`, or returns `None` if it is incomplete.
fn respond(bytes: &[u8]) -> Option<Response> {
    let mut headers = [EMPTY_HEADER; 64];
    let mut request = Request::new(&mut headers);
    let parsed = request.parse(bytes);
    let fields = |name| request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
    let is_http_1_1 = request.version == Some(1);
    let hosts = fields("host").count();
    let path = request.path.and_then(|path| path.split('?').next());
    let (length, status) = match (parsed, request.method) {
        (Ok(Partial), _) if bytes.len() <= HEAD_MAX => return None,
        (Ok(Partial) | Err(TooManyHeaders), _) => (0, "431 Request Header Fields Too Large"),
        (Err(_), _) => (0, "400 Bad Request"),
        (Ok(Complete(_)), _) if hosts > 1 || (hosts == 0 && is_http_1_1) => (0, "400 Bad Request"),
        (Ok(Complete(length)), Some("GET" | "HEAD")) if path == Some("/") => (length, "200 OK"),
        (Ok(Complete(length)), Some("GET" | "HEAD")) => (length, "404 Not Found"),
        (Ok(Complete(length)), _) => (length, "405 Method Not Allowed\r\nAllow: GET, HEAD"),
    };

    // The server does not read bodies, so it must not take what follows one for the next request.
    let has_body =
        ["content-length", "transfer-encoding", "expect"].iter().any(|name| fields(name).count() > 0);
    let wants = |option: &[u8]| {
        let mut options = fields("connection").flat_map(|field| field.value.split(|&byte| byte == b','));
        options.any(|other| other.trim_ascii().eq_ignore_ascii_case(option))
    };
    let keep_alive = length > 0 && !has_body && !wants(b"close") && (is_http_1_1 || wants(b"keep-alive"));
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let body = if status == "200 OK" { "Hello, world!\n" } else { "Try GET / or HEAD /.\n" };
    let size = body.len();
    let body_sent = if request.method == Some("HEAD") { "" } else { body };
    let head = format!("HTTP/1.1 {status}\r\nConnection: {connection}\r\nContent-Length: {size}\r\n\r\n");
    Some(Response { text: head + body_sent, length, keep_alive })
}

pub(crate) fn serve(lp: &mut Loop, addr: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(lp, addr)?;
    listener.start(lp, |lp, _, conn| {
        let timeout = Timer::after(lp, REQUEST_TIMEOUT, move |lp, _| {
            conn.close(lp);
            Ok(())
        })?;
        conn.set_watermarks(lp, 16 << 10, 64 << 10)?;
        let (mut received, mut finished) = (Vec::new(), false);
        conn.start(lp, move |lp, _, event| {
            match event {
                Ok(Event::Data(bytes)) if !finished => {
                    received.extend_from_slice(bytes);
                    let mut start = 0;
                    while let Some(response) = respond(&received[start..]) {
                        start += response.length;
                        conn.write(lp, response.text)?;
                        timeout.again(lp)?;
                        if !response.keep_alive {
                            finished = true;
                            return conn.finish(lp);
                        }
                    }
                    received.drain(..start);
                }
                Ok(Event::End) => conn.finish(lp)?,
                Ok(Event::Closed) => timeout.close(lp),
                // Clients reset connections all the time: an error is not worth a report.
                Ok(_) | Err(_) => {}
            }
            Ok(())
        })
    })?;
    Ok(listener)
}

fn main() -> Result {
    let mut lp = Options::new().read_buffer(16 << 10).build()?;
    let addr = serve(&mut lp, &common::addr_or("127.0.0.1:8080"))?.local_addr(&mut lp)?;
    common::run_server(&mut lp, &mut (), addr)
}
