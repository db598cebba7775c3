//! The HTTP server of `examples/`: whatever one client sends, in whatever pieces, it gets the right
//! responses, and so does the next client.
//!
//! The right responses are computed here again, from the whole text. A head ends at its first empty line;
//! each complete head has one response; nothing after a head with a body or a mistake is taken for a request.

use std::{cell::Cell, rc::Rc, time::Duration};

use httparse::{EMPTY_HEADER, Error::TooManyHeaders, Request, Response, Status};
use ringback::Options;

use crate::network::{Ending, Script};

#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../../examples/http_hello.rs"]
mod http_hello;

const PORT: u16 = 80;
/// How long the server waits for a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// A larger head may be refused as too large, depending on how it arrives.
const HEAD_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
const TEXT_MAX: usize = 64 << 10;

/// A response, expected or received.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    keep: bool,
    /// None if the request was refused: then it does not matter.
    body: Option<bool>,
}

const fn refused(status: u16) -> Reply {
    Reply { status, keep: false, body: None }
}

/// Returns the head that a text begins with, or all of it, and whether the head is complete.
fn head(text: &[u8]) -> (&[u8], bool) {
    let mut end = 0;
    while let Some(length) = text[end..].iter().position(|&byte| byte == b'\n') {
        let line = &text[end..=end + length];
        end += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return (&text[..end], true);
        }
    }
    (text, false)
}

/// Returns the expected response to a head, or None if it is incomplete.
fn expected_reply(text: &[u8]) -> Option<Reply> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(text) {
        Ok(Status::Partial) => return None,
        Ok(Status::Complete(length)) => assert_eq!(length, text.len(), "a head ends with its empty line"),
        Err(TooManyHeaders) => return Some(refused(431)),
        Err(_) => return Some(refused(400)),
    }
    let fields = |name: &str| -> Vec<String> {
        let fields = request.headers.iter().filter(|field| field.name.to_lowercase() == name);
        fields.map(|field| String::from_utf8_lossy(field.value).to_lowercase()).collect()
    };
    let modern = request.version == Some(1);
    match fields("host").len() {
        0 if modern => return Some(refused(400)),
        0 | 1 => {}
        _ => return Some(refused(400)),
    }
    let method = request.method.unwrap_or_default();
    let status = match request.path.unwrap_or_default() {
        _ if method != "GET" && method != "HEAD" => 405,
        path if path == "/" || path.starts_with("/?") => 200,
        _ => 404,
    };
    let has_body =
        ["content-length", "transfer-encoding", "expect"].iter().any(|name| !fields(name).is_empty());
    let says =
        |word| fields("connection").iter().any(|value| value.split(',').any(|said| said.trim() == word));
    let keep = !has_body && !says("close") && (modern || says("keep-alive"));
    Some(Reply { status, keep, body: Some(method != "HEAD") })
}

/// Returns the expected responses, and whether the last head is so large that it may be refused for that
/// instead.
fn expected(mut text: &[u8]) -> (Vec<Reply>, bool) {
    let mut replies = Vec::new();
    loop {
        // Empty lines before a request are skipped, and count as part of its size.
        let from = text.len();
        while let Some(rest) = text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n")) {
            text = rest;
        }
        let (head, complete) = head(text);
        let reply = expected_reply(head);
        assert!(reply.is_some() || !complete, "a complete head has a response");
        let too_large = from - text.len() + head.len() > HEAD_MAX;
        let keep = reply.as_ref().is_some_and(|reply| reply.keep);
        replies.extend(reply);
        if too_large || !keep {
            return (replies, too_large);
        }
        text = &text[head.len()..];
    }
}

/// Parses responses. Panics if they are not valid HTTP.
fn parse_replies(mut text: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !text.is_empty() {
        let mut headers = [EMPTY_HEADER; 8];
        let mut response = Response::new(&mut headers);
        let Ok(Status::Complete(length)) = response.parse(text) else { panic!("no complete response") };
        let field = |name: &str| {
            let mut fields = response.headers.iter().filter(|field| field.name == name);
            let (field, None) = (fields.next()?, fields.next()) else { panic!("not exactly one {name}") };
            std::str::from_utf8(field.value).ok()
        };
        let status = response.code.expect("a status");
        assert_eq!(status == 405, field("Allow").is_some());
        let size: usize =
            field("Content-Length").and_then(|size| size.parse().ok()).expect("a Content-Length");
        text = &text[length..];
        // The response to a HEAD has no body: another response follows, or nothing.
        let has_body = !text.is_empty() && !text.starts_with(b"HTTP/");
        if has_body {
            let (body, rest) = text.split_at_checked(size).expect("the whole body");
            assert_eq!(body == b"Hello, world!\n", status == 200);
            text = rest;
        }
        let keep = match field("Connection") {
            Some("keep-alive") => true,
            Some("close") => false,
            other => panic!("Connection: {other:?}"),
        };
        replies.push(Reply { status, keep, body: Some(has_body) });
    }
    replies
}

fn compare(received: &[u8], text: &[u8]) {
    let mut received = parse_replies(received);
    let (mut expected, too_large) = expected(text);
    if too_large {
        // Depending on how it arrives, it is accepted, refused as too large, or refused for its first
        // mistake.
        let all = expected.len() + usize::from(expected.last().is_none_or(|last| last.keep));
        let refusal = received.last().filter(|last| last.status == 431 && received.len() <= all);
        if let Some(refusal) = refusal {
            assert!(!refusal.keep);
            received.pop();
            expected.truncate(received.len());
        } else {
            received.truncate(expected.len());
        }
    }
    for (reply, wanted) in received.iter_mut().zip(&expected) {
        if wanted.body.is_none() {
            reply.body = None;
        }
    }
    assert_eq!(received, expected);
}

/// The target.
pub fn http(bytes: &[u8]) {
    let Some(script) = Script::new(bytes, TEXT_MAX) else { return };
    let text = script.text();
    let mut world = script.world();
    // As the example's `main` does.
    world.set_options(Options::new().read_buffer(16 << 10));
    let failures = Rc::new(Cell::new(0));
    let counted = failures.clone();
    let server = world.host("http", (), move |lp, ()| {
        lp.on_failure(move |_, _, _| {
            counted.set(counted.get() + 1);
            Ok(())
        });
        http_hello::serve(lp, &format!("0.0.0.0:{PORT}")).map(drop)
    });
    let server = server.expect("the server starts");
    world.set_options(Options::new());
    let one = script.join(&mut world, server, PORT);
    world.run_for(script.duration() + PATIENCE * 2).expect("nothing fails");
    world.verify();
    assert_eq!(world.sockets(server), 1, "no connection is left open");
    if script.is_orderly() {
        let received = world.state(one);
        assert!(received.closed);
        compare(&received.text, &text);
        assert_eq!(failures.get(), 0);
    }

    let next = Script::plain(vec!["GET / HTTP/1.1\r\nHost: next\r\n\r\n".into()], Ending::Shutdown);
    let next = next.join(&mut world, server, PORT);
    world.run_for(PATIENCE * 2).expect("nothing fails");
    assert_eq!(parse_replies(&world.state(next).text), [Reply { status: 200, keep: true, body: Some(true) }]);
    assert_eq!(world.with(server, |lp, ()| lp.handles().len()), 1, "only the listener is left");
}
