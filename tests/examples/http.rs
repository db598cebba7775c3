//! `http_hello`: requests in any pieces, refusals, keep-alive, and clients that are slow or do not read.

use std::io::{Read, Write};

use crate::{
    harness::{Client, Server},
    wait::eventually,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: me\r\n\r\n";

struct Response {
    status: u16,
    headers: Vec<String>,
    body: String,
}

impl Response {
    fn keeps_alive(&self) -> bool {
        self.headers.contains(&"Connection: keep-alive".to_owned())
    }

    fn content_length(&self) -> usize {
        let length = self.headers.iter().find_map(|header| header.strip_prefix("Content-Length: "));
        length.expect("the response has a length").parse().expect("the length is a number")
    }
}

/// Reads the response to a GET.
fn response(client: &mut Client) -> Response {
    let mut response = head(client);
    let mut body = vec![0; response.content_length()];
    client.0.read_exact(&mut body).expect("the server sends the body");
    response.body = String::from_utf8(body).expect("the body is UTF-8");
    response
}

/// Reads the response to a HEAD.
fn head(client: &mut Client) -> Response {
    let line = client.line();
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
    let status = status.unwrap_or_else(|| panic!("not a status line: {line:?}"));
    let mut headers = Vec::new();
    loop {
        match client.line() {
            line if line.is_empty() => return Response { status, headers, body: String::new() },
            line => headers.push(line),
        }
    }
}

#[test]
fn http_responds_to_pipelined_requests_in_order() {
    let server = Server::start("http_hello", &[]);
    let mut client = server.connect();
    client.send(format!("{GET}GET /nope HTTP/1.1\r\nHost: me\r\n\r\n{GET}").repeat(1000));
    for _ in 0..1000 {
        let (first, second, third) = (response(&mut client), response(&mut client), response(&mut client));
        assert_eq!((first.status, second.status, third.status), (200, 404, 200));
        assert_eq!(first.body, "Hello, world!\n");
        assert!(first.keeps_alive() && second.keeps_alive());
    }
    client.shutdown();
    assert_eq!(client.rest(), "");
}

#[test]
fn http_accepts_a_request_that_arrives_byte_by_byte() {
    let server = Server::start("http_hello", &[]);
    let mut client = server.connect();
    for byte in format!("{GET}GET /?query HTTP/1.1\r\nhOST: me\r\n\r\n").bytes() {
        client.send([byte]);
    }
    assert_eq!((response(&mut client).status, response(&mut client).status), (200, 200));
}

#[test]
fn http_responds_to_head_without_a_body() {
    let server = Server::start("http_hello", &[]);
    let mut client = server.connect();
    client.send(format!("HEAD / HTTP/1.1\r\nHost: me\r\n\r\nHEAD /nope HTTP/1.1\r\nHost: me\r\n\r\n{GET}"));
    let (found, lost, got) = (head(&mut client), head(&mut client), response(&mut client));
    assert_eq!((found.status, lost.status, got.status), (200, 404, 200));
    assert_eq!(found.content_length(), got.body.len());
}

#[test]
fn http_refuses_a_bad_request_with_the_right_status() {
    let server = Server::start("http_hello", &[]);
    let long = format!("GET / HTTP/1.1\r\nHost: me\r\nLong: {}", "x".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\nHost: me\r\n{}\r\n", "Many: x\r\n".repeat(65));
    for (status, request) in [
        (404, "GET /nope HTTP/1.1\r\nHost: me\r\n\r\n"),
        (405, "DELETE / HTTP/1.1\r\nHost: me\r\n\r\n"),
        (405, "POST / HTTP/1.1\r\nHost: me\r\nContent-Length: 5\r\n\r\nhello"),
        (400, "what is this?\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: me\r\nHost: you\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nHost : me\r\n\r\n"),
        (400, "GET / HTTP/7.0\r\nHost: me\r\n\r\n"),
        (431, &long),
        (431, &many),
    ] {
        let mut client = server.connect();
        client.send(request);
        let response = response(&mut client);
        assert_eq!(response.status, status, "{request:?}");
        assert_eq!(response.headers.contains(&"Allow: GET, HEAD".to_owned()), status == 405);
        client.shutdown();
        assert_eq!(client.rest(), "", "nothing follows the response");
    }
}

#[test]
fn http_keeps_or_closes_the_connection_as_asked() {
    let server = Server::start("http_hello", &[]);
    for (keeps_alive, request) in [
        (true, "GET / HTTP/1.1\r\nHost: me\r\n\r\n"),
        (true, "GET / HTTP/1.1\r\nHost: me\r\nConnection: Keep-Alive\r\n\r\n"),
        (true, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nHost: me\r\nConnection: CLOSE\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nHost: me\r\nConnection: keep-alive\r\nConnection: TE , close\r\n\r\n"),
        (false, "GET / HTTP/1.0\r\n\r\n"),
    ] {
        let mut client = server.connect();
        client.send(request);
        let first = response(&mut client);
        assert_eq!((first.status, first.keeps_alive()), (200, keeps_alive), "{request:?}");
        client.send(GET);
        if keeps_alive {
            assert_eq!(response(&mut client).status, 200);
        } else {
            assert_eq!(client.rest(), "", "no response after {request:?}");
        }
    }
}

#[test]
fn http_never_takes_a_body_for_a_request() {
    let server = Server::start("http_hello", &[]);
    for header in
        ["Content-Length: 32", "content-length: 5, 32", "Transfer-Encoding: chunked", "Expect: 100-continue"]
    {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: me\r\n{header}\r\n\r\n{GET}{GET}"));
        let first = response(&mut client);
        assert_eq!((first.status, first.keeps_alive()), (200, false), "{header}");
        assert_eq!(client.rest(), "", "{header}");
    }
}

#[test]
fn http_cuts_off_a_slow_request_and_serves_others_meanwhile() {
    let server = Server::start("http_hello", &[]);
    let (mut slow, mut quick) = (server.connect(), server.connect());
    slow.send("GET / HTTP/1.1\r\nHost: me\r\nDrip: ");
    let mut drips = slow.writer();
    eventually("the slow client is cut off", || {
        quick.send(GET);
        assert_eq!(response(&mut quick).status, 200);
        drips.write_all(b"x").err()
    });
    assert_eq!(slow.rest(), "");
    quick.send(GET);
    assert_eq!(response(&mut quick).status, 200);
}

#[test]
fn http_stops_reading_a_client_that_does_not_read() {
    let server = Server::start("http_hello", &[]);
    let mut client = server.connect();
    let requests = "GET / HTTP/1.1\r\nHost:\r\n\r\n".repeat(10_000);
    let sent = (0..1000).try_for_each(|_| client.0.get_mut().write_all(requests.as_bytes()));
    assert!(sent.is_err(), "the server stops reading, and cuts the client off after five seconds");
    let mut quick = server.connect();
    quick.send(GET);
    assert_eq!(response(&mut quick).status, 200);
    if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", server.process.0.id())) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let peak: u32 = peak.expect("Linux reports the peak").trim().parse().expect("the peak is a number");
        assert!(peak < 32 << 10, "{peak} KiB");
    }
}
