//! The HTTP server of `examples/`: whatever one client sends, in whatever pieces, it answers what it should, and then
//! the next one.
//!
//! What it should answer is found anew here, from the whole text: where a head ends is where its first empty line is, each
//! complete one has one answer, and nothing after one with a body, or with a mistake, is taken for a request.

use std::{cell::Cell, rc::Rc, time::Duration};

use httparse::{EMPTY_HEADER, Error::TooManyHeaders, Request, Response, Status};
use ringback::Options;

use crate::network::{Ending, Script};

#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)]
#[path = "../../examples/http_hello.rs"]
mod http_hello;

const PORT: u16 = 80;
/// What the server is said to wait for a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// From here on a head may be refused as too large, depending on how it arrives.
const HEAD_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;
const TEXT_MAX: usize = 64 << 10;

/// An answer, as it should be or as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    keep: bool,
    /// None if it was refused for what it is: then it does not matter.
    body: Option<bool>,
}

const fn refused(status: u16) -> Answer {
    Answer { status, keep: false, body: None }
}

/// The head that a text begins with, or all of it, and whether it is complete.
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

/// The answer to a head, if there is one yet.
fn answer(text: &[u8]) -> Option<Answer> {
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
    Some(Answer { status, keep, body: Some(method != "HEAD") })
}

/// What should be answered, and whether the last head is so large that it may be refused for that instead.
fn expected(mut text: &[u8]) -> (Vec<Answer>, bool) {
    let mut answers = Vec::new();
    loop {
        // Empty lines before a request are passed over, and count as part of it.
        let from = text.len();
        while let Some(rest) = text.strip_prefix(b"\r\n").or_else(|| text.strip_prefix(b"\n")) {
            text = rest;
        }
        let (head, complete) = head(text);
        let answer = answer(head);
        assert!(answer.is_some() || !complete, "a complete head is answered");
        let too_large = from - text.len() + head.len() > HEAD_MAX;
        let keep = answer.as_ref().is_some_and(|answer| answer.keep);
        answers.extend(answer);
        if too_large || !keep {
            return (answers, too_large);
        }
        text = &text[head.len()..];
    }
}

/// Reads answers. Panics if they are not what HTTP says.
fn answers(mut text: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !text.is_empty() {
        let mut headers = [EMPTY_HEADER; 8];
        let mut response = Response::new(&mut headers);
        let Ok(Status::Complete(length)) = response.parse(text) else { panic!("no answer, or half of one") };
        let field = |name: &str| {
            let mut fields = response.headers.iter().filter(|field| field.name == name);
            let (field, None) = (fields.next()?, fields.next()) else { panic!("{name} stands twice") };
            std::str::from_utf8(field.value).ok()
        };
        let status = response.code.expect("an answer has a status");
        assert_eq!(status == 405, field("Allow").is_some());
        let size: usize =
            field("Content-Length").and_then(|size| size.parse().ok()).expect("its size is said");
        text = &text[length..];
        // The answer to a HEAD has none; what follows then is another answer, or nothing.
        let has_body = !text.is_empty() && !text.starts_with(b"HTTP/");
        if has_body {
            let (body, rest) = text.split_at_checked(size).expect("all of the body is there");
            assert_eq!(body == b"Hello, world!\n", status == 200);
            text = rest;
        }
        let keep = match field("Connection") {
            Some("keep-alive") => true,
            Some("close") => false,
            other => panic!("Connection: {other:?}"),
        };
        answers.push(Answer { status, keep, body: Some(has_body) });
    }
    answers
}

fn compare(heard: &[u8], text: &[u8]) {
    let mut heard = answers(heard);
    let (mut expected, too_large) = expected(text);
    if too_large {
        // As it arrives: taken if it comes at once, refused when it has grown too large, or by its first mistake.
        let all = expected.len() + usize::from(expected.last().is_none_or(|last| last.keep));
        let refusal = heard.last().filter(|last| last.status == 431 && heard.len() <= all);
        if let Some(refusal) = refusal {
            assert!(!refusal.keep);
            heard.pop();
            expected.truncate(heard.len());
        } else {
            heard.truncate(expected.len());
        }
    }
    for (answer, wanted) in heard.iter_mut().zip(&expected) {
        if wanted.body.is_none() {
            answer.body = None;
        }
    }
    assert_eq!(heard, expected);
}

/// The target.
pub fn http(bytes: &[u8]) {
    let Some(script) = Script::new(bytes, TEXT_MAX) else { return };
    let text = script.text();
    let mut world = script.world();
    // As its `main` does.
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
    let server = server.expect("it starts");
    world.set_options(Options::new());
    let one = script.joins(&mut world, server, PORT);
    world.run_for(script.duration() + PATIENCE * 2).expect("nothing fails");
    world.verify();
    assert_eq!(world.sockets(server), 1, "nobody is served for ever");
    if script.is_orderly() {
        let heard = world.state(one);
        assert!(heard.closed);
        compare(&heard.text, &text);
        assert_eq!(failures.get(), 0);
    }

    let next = Script::plain(vec!["GET / HTTP/1.1\r\nHost: next\r\n\r\n".into()], Ending::Shutdown);
    let next = next.joins(&mut world, server, PORT);
    world.run_for(PATIENCE * 2).expect("nothing fails");
    assert_eq!(answers(&world.state(next).text), [Answer { status: 200, keep: true, body: Some(true) }]);
    assert_eq!(world.with(server, |lp, ()| lp.handles().len()), 1, "the listener alone is left");
}
