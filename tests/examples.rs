//! The examples, run as programs: what each promises at its top, it does.
//!
//! A plain `cargo test` builds them as programs. With `--test`, `--examples` or `--all-targets` it does not,
//! and would test old ones; then it takes `cargo build --examples` first, of the same profile.
//!
//! ```text
//! RUNNER='valgrind -q --error-exitcode=99 --leak-check=full' cargo test --test examples
//! ```

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

#[path = "common/wait.rs"]
mod wait;

use self::wait::{GUARD, eventually};

// ---- running examples

/// What runs an example: itself, or what `RUNNER` says, such as valgrind with its options.
fn program(example: &str) -> Command {
    let runner = std::env::var("RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(first) = words.next() else { return Command::new(wait::example(example)) };
    let mut command = Command::new(first);
    command.args(words).arg(wait::example(example));
    command
}

/// A child process that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        Running(command.spawn().expect("the example starts"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it is there to be signalled");
    }

    fn wait(&mut self) -> ExitStatus {
        eventually("the example ends", || self.0.try_wait().expect("it can be waited for"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs an example to its end. A test that hangs says which.
fn run<A: AsRef<OsStr>>(example: &str, arguments: &[A]) -> Output {
    let mut command = program(example);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    let mut stdout = running.0.stdout.take().expect("it is piped");
    let mut stderr = running.0.stderr.take().expect("it is piped");
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let complaints = thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).map(|_| bytes)
    });
    let status = running.wait();
    let bytes = |reading: thread::JoinHandle<std::io::Result<_>>| {
        reading.join().expect("no panic").expect("readable")
    };
    Output { status, stdout: bytes(reading), stderr: bytes(complaints) }
}

/// Runs an example that takes no arguments and ends well. Gives what it printed.
fn printed_by(example: &str) -> String {
    let output = run::<&str>(example, &[]);
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{text}\n{complaints}", output.status);
    text
}

/// Panics unless the text has these lines in this order, with others in between. A line is told by how it
/// begins.
fn assert_lines(text: &str, beginnings: &[&str]) {
    let mut lines = text.lines();
    for beginning in beginnings {
        assert!(
            lines.any(|line| line.starts_with(beginning)),
            "{beginning:?}, after the others, in:\n{text}"
        );
    }
}

/// A serving example, and where it listens.
struct Server {
    running: Running,
    addr: SocketAddr,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Server {
    fn start(example: &str, arguments: &[&str]) -> Server {
        let mut command = program(example);
        command.arg("127.0.0.1:0").args(arguments).stdin(Stdio::null());
        let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut stdout = BufReader::new(running.0.stdout.take().expect("it is piped"));
        let stderr = running.0.stderr.take().expect("it is piped");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says where it listens");
        let addr = line.trim_end().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("{example}: its first line is {line:?}"));
        Server { running, addr, stdout, stderr }
    }

    fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr).expect("it accepts"))
    }

    /// A client for whom the system takes no more than a few KiB.
    fn connect_narrow(&self) -> Client {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket can be had");
        set_socket_recv_buffer_size(&socket, 4096).expect("its buffer can be small");
        connect(&socket, &self.addr).expect("it accepts");
        Client::new(socket.into())
    }

    /// Ends it with a signal. Gives the rest of what it printed, and what it complained of.
    fn end(self, signal: Signal) -> (String, String) {
        self.running.signal(signal);
        self.ended()
    }

    fn ended(mut self) -> (String, String) {
        let status = self.running.wait();
        assert!(status.success(), "{status}");
        let (mut text, mut complaints) = (String::new(), String::new());
        self.stdout.read_to_string(&mut text).expect("it prints text");
        self.stderr.read_to_string(&mut complaints).expect("it prints text");
        (text, complaints)
    }
}

/// A client that waits for what it wants to read, and not for ever.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(GUARD)).expect("a timeout can be set");
        stream.set_write_timeout(Some(GUARD)).expect("a timeout can be set");
        Client(BufReader::new(stream))
    }

    fn say(&mut self, text: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(text.as_ref()).expect("the server takes it");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line comes");
        line.truncate(line.trim_end().len());
        line
    }

    fn expect(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    /// Says that nothing more will be said.
    fn hang_up(&mut self) {
        self.0.get_mut().shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Everything until the server ends or breaks the connection.
    fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("the end does not come: {error}")
            }
            _ => String::from_utf8(bytes).expect("it is text"),
        }
    }
}

// ---- echo_tcp

#[test]
fn echo_sends_every_byte_back_and_ends_the_connection_when_the_peer_does() {
    let server = Server::start("echo_tcp", &[]);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = server.connect();
    let mut sender = client.0.get_ref().try_clone().expect("a descriptor is left");
    let sent = bytes.clone();
    let sending = thread::spawn(move || {
        sender.write_all(&sent).expect("it is read");
        sender.shutdown(Shutdown::Write).expect("it is open");
    });
    let mut echoed = Vec::new();
    client.0.read_to_end(&mut echoed).expect("it comes back");
    sending.join().expect("all was sent");
    assert!(echoed == bytes, "{} of {} bytes came back, or others", echoed.len(), bytes.len());
}

#[test]
fn servers_end_with_status_0_on_either_signal_also_with_connections_open() {
    for example in ["echo_tcp", "chat", "http_hello", "graceful"] {
        for signal in [Signal::INT, Signal::TERM] {
            let server = Server::start(example, &["100"]);
            let mut client = server.connect();
            client.say("GET / HTTP/1.1\r\nHost: me\r\n\r\n");
            client.line();
            server.end(signal);
            client.rest();
        }
    }
}

#[test]
fn servers_outlive_a_client_that_resets_its_connection() {
    for (example, hello) in
        [("echo_tcp", "hello"), ("chat", "hello"), ("http_hello", "GET /"), ("graceful", "hi")]
    {
        let server = Server::start(example, &["100"]);
        for _ in 0..3 {
            let mut client = server.connect();
            client.say(hello);
            let socket = rustix::net::sockopt::set_socket_linger(client.0.get_ref(), Some(Duration::ZERO));
            socket.expect("a reset can be asked for");
        }
        let mut client = server.connect();
        client.say("GET / HTTP/1.1\r\nHost: me\r\n\r\n");
        assert!(!client.line().is_empty(), "{example} answers");
        server.end(Signal::TERM);
    }
}

// ---- chat

/// A client who has been let in, and has read what everybody is told first.
fn chatter(server: &Server, nick: &str) -> Client {
    chatter_on(server.connect(), nick)
}

fn chatter_on(mut client: Client, nick: &str) -> Client {
    assert!(client.line().ends_with(" has joined"));
    assert!(client.line().contains("/nick"));
    client.say(format!("/nick {nick}\n"));
    assert!(client.line().ends_with(&format!(" is now {nick}")));
    client
}

#[test]
fn chat_announces_who_comes_and_goes_and_passes_lines_on() {
    let server = Server::start("chat", &[]);
    let mut ann = chatter(&server, "ann");
    let mut bob = server.connect();
    bob.expect("* guest2 has joined");
    ann.expect("* guest2 has joined");
    bob.line();
    bob.say("/nick bob\r\nhello, ");
    bob.expect("* guest2 is now bob");
    ann.expect("* guest2 is now bob");
    bob.say("ann\n");
    ann.expect("bob: hello, ann");
    ann.say("/who\n");
    ann.expect(r#"* here are ["ann", "bob"]"#);
    bob.say("/quit\n");
    assert_eq!(bob.rest(), "");
    ann.expect("* bob has left");
    ann.hang_up();
    assert_eq!(ann.rest(), "");
}

#[test]
fn chat_refuses_nicks_that_are_empty_or_not_one_word_or_taken() {
    let server = Server::start("chat", &[]);
    let (mut ann, mut bob) = (chatter(&server, "ann"), chatter(&server, "bob"));
    ann.expect("* guest2 has joined");
    ann.expect("* guest2 is now bob");
    for nick in ["", " ", "two words", "bob", "guest7", "tab\tbed ", &"long".repeat(10)] {
        ann.say(format!("/nick {nick}\n"));
        let answer = ann.line();
        assert_eq!(answer, "* a nick is one short word, and nobody else's", "{nick:?}");
    }
    ann.say("\n\r\nstill \x1b[2Jann\n");
    bob.expect("ann: still [2Jann");
}

#[test]
fn chat_cuts_a_line_that_does_not_end() {
    let server = Server::start("chat", &[]);
    let (mut ann, mut bob) = (chatter(&server, "ann"), chatter(&server, "bob"));
    ann.say("x".repeat(5000));
    for _ in 0..2 {
        bob.expect(&format!("ann: {}", "x".repeat(2048)));
    }
    ann.say("\n");
    bob.expect(&format!("ann: {}", "x".repeat(5000 - 2 * 2048)));
}

#[test]
fn chat_drops_one_who_does_not_read_and_nobody_else_waits() {
    let server = Server::start("chat", &[]);
    let ann = chatter(&server, "ann");
    let mut idler = chatter_on(server.connect_narrow(), "idler");
    let mut sender = ann.0.get_ref().try_clone().expect("a descriptor is left");
    let mut bob = chatter(&server, "bob");
    // Short lines, each of which becomes a longer one, until the idler has had enough.
    let (enough, told) = mpsc::channel::<()>();
    let talking = thread::spawn(move || {
        while told.try_recv() == Err(TryRecvError::Empty) {
            sender.write_all("x\n".repeat(1000).as_bytes()).expect("the chat goes on");
        }
    });
    let mut lines = 0;
    let begun = Instant::now();
    while bob.line() == "ann: x" {
        lines += 1;
        assert!(begun.elapsed() < GUARD, "the idler is not dropped after {lines} lines");
    }
    drop(enough);
    talking.join().expect("ann was not dropped");
    assert!(lines > 10_000, "more fits into the idler's queue than {lines} lines");
    assert!(idler.rest().contains("ann: x"));
    let (_, complaints) = server.end(Signal::TERM);
    assert!(complaints.contains("the queue holds"), "{complaints}");
}

// ---- http_hello

struct Answer {
    status: u16,
    headers: Vec<String>,
    body: String,
}

impl Answer {
    fn keeps(&self) -> bool {
        self.headers.contains(&"Connection: keep-alive".to_owned())
    }
}

/// The next answer, to a GET.
fn answer(client: &mut Client) -> Answer {
    let mut answer = head(client);
    let mut body = vec![0; content_length(&answer)];
    client.0.read_exact(&mut body).expect("the body comes");
    answer.body = String::from_utf8(body).expect("it is text");
    answer
}

/// The next answer, to a HEAD.
fn head(client: &mut Client) -> Answer {
    let line = client.line();
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {line:?}"));
    let mut headers = Vec::new();
    loop {
        match client.line() {
            line if line.is_empty() => return Answer { status, headers, body: String::new() },
            line => headers.push(line),
        }
    }
}

fn content_length(answer: &Answer) -> usize {
    let length = answer.headers.iter().find_map(|header| header.strip_prefix("Content-Length: "));
    length.expect("it says how long it is").parse().expect("in a number")
}

const GET: &str = "GET / HTTP/1.1\r\nHost: me\r\n\r\n";

#[test]
fn http_answers_pipelined_requests_in_order() {
    let server = Server::start("http_hello", &[]);
    let mut client = server.connect();
    client.say(format!("{GET}GET /nope HTTP/1.1\r\nHost: me\r\n\r\n{GET}").repeat(1000));
    for _ in 0..1000 {
        let (first, second, third) = (answer(&mut client), answer(&mut client), answer(&mut client));
        assert_eq!((first.status, second.status, third.status), (200, 404, 200));
        assert_eq!(first.body, "Hello, world!\n");
        assert!(first.keeps() && second.keeps());
    }
    client.hang_up();
    assert_eq!(client.rest(), "");
}

#[test]
fn http_understands_a_request_that_comes_byte_by_byte() {
    let server = Server::start("http_hello", &[]);
    let mut client = server.connect();
    for byte in format!("{GET}GET /?query HTTP/1.1\r\nhOST: me\r\n\r\n").bytes() {
        client.say([byte]);
    }
    assert_eq!((answer(&mut client).status, answer(&mut client).status), (200, 200));
}

#[test]
fn http_answers_a_head_without_the_body() {
    let server = Server::start("http_hello", &[]);
    let mut client = server.connect();
    client.say(format!("HEAD / HTTP/1.1\r\nHost: me\r\n\r\nHEAD /nope HTTP/1.1\r\nHost: me\r\n\r\n{GET}"));
    let (found, lost, got) = (head(&mut client), head(&mut client), answer(&mut client));
    assert_eq!((found.status, lost.status, got.status), (200, 404, 200));
    assert_eq!(content_length(&found), got.body.len());
}

#[test]
fn http_says_what_is_wrong() {
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
        client.say(request);
        let answer = answer(&mut client);
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(answer.headers.contains(&"Allow: GET, HEAD".to_owned()), status == 405);
        client.hang_up();
        assert_eq!(client.rest(), "", "and nothing more");
    }
}

#[test]
fn http_keeps_the_connection_or_closes_it_as_the_client_wants() {
    let server = Server::start("http_hello", &[]);
    for (keeps, request) in [
        (true, "GET / HTTP/1.1\r\nHost: me\r\n\r\n"),
        (true, "GET / HTTP/1.1\r\nHost: me\r\nConnection: Keep-Alive\r\n\r\n"),
        (true, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nHost: me\r\nConnection: CLOSE\r\n\r\n"),
        (false, "GET / HTTP/1.1\r\nHost: me\r\nConnection: keep-alive\r\nConnection: TE , close\r\n\r\n"),
        (false, "GET / HTTP/1.0\r\n\r\n"),
    ] {
        let mut client = server.connect();
        client.say(request);
        let answered = answer(&mut client);
        assert_eq!((answered.status, answered.keeps()), (200, keeps), "{request:?}");
        if keeps {
            client.say(GET);
            assert_eq!(answer(&mut client).status, 200);
        } else {
            // Said after the end, and so to nobody.
            client.say(GET);
            assert_eq!(client.rest(), "", "{request:?}");
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
        client.say(format!("GET / HTTP/1.1\r\nHost: me\r\n{header}\r\n\r\n{GET}{GET}"));
        let answered = answer(&mut client);
        assert_eq!((answered.status, answered.keeps()), (200, false), "{header}");
        assert_eq!(client.rest(), "", "{header}");
    }
}

#[test]
fn http_cuts_off_a_head_that_drips_in_and_serves_others_meanwhile() {
    let server = Server::start("http_hello", &[]);
    let (mut slow, mut quick) = (server.connect(), server.connect());
    slow.say("GET / HTTP/1.1\r\nHost: me\r\nDrip: ");
    let mut drips = slow.0.get_ref().try_clone().expect("a descriptor is left");
    eventually("the slow one is cut off", || {
        quick.say(GET);
        assert_eq!(answer(&mut quick).status, 200);
        drips.write_all(b"x").err()
    });
    assert_eq!(slow.rest(), "");
    quick.say(GET);
    assert_eq!(answer(&mut quick).status, 200);
}

#[test]
fn http_is_not_filled_up_by_one_who_asks_and_does_not_read() {
    let server = Server::start("http_hello", &[]);
    let mut deaf = server.connect();
    let requests = "GET / HTTP/1.1\r\nHost:\r\n\r\n".repeat(10_000);
    let asked = (0..1000).try_for_each(|_| deaf.0.get_mut().write_all(requests.as_bytes()));
    assert!(asked.is_err(), "it was read no further, and cut off in the end");
    let mut quick = server.connect();
    quick.say(GET);
    assert_eq!(answer(&mut quick).status, 200);
    if let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", server.running.0.id())) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        let peak: u32 = peak.expect("the peak is known").trim().parse().expect("in a number");
        assert!(peak < 32 << 10, "{peak} KiB");
    }
}

// ---- cat

fn file(dir: &tempfile::TempDir, name: &str, contents: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, contents).expect("the disk is not full");
    path
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

#[test]
fn cat_prints_files_of_any_size_byte_by_byte() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let lengths = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 3_000_000, 10];
    let all: Vec<Vec<u8>> = lengths.into_iter().map(noise).collect();
    let paths: Vec<_> = all.iter().enumerate().map(|(n, bytes)| file(&dir, &n.to_string(), bytes)).collect();
    let output = run("cat", &paths);
    assert!(output.status.success(), "{}", output.status);
    assert!(output.stdout == all.concat(), "{} bytes, or others", output.stdout.len());
    assert!(output.stderr.is_empty());
}

#[test]
fn cat_complains_of_what_it_cannot_read_and_prints_the_others() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let (first, last) = (file(&dir, "first", b"first\n"), file(&dir, "last", b"last"));
    let output = run("cat", &[&first, &dir.path().join("missing"), &dir.path().to_owned(), &last]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"first\nlast");
    let complaints = String::from_utf8(output.stderr).expect("it is text");
    assert_eq!(complaints.lines().count(), 2, "{complaints}");
    assert!(complaints.contains("missing") && complaints.contains("irectory"), "{complaints}");
}

#[test]
fn cat_ends_quietly_when_its_reader_is_gone() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = file(&dir, "much", &noise(5_000_000));
    let mut command = program("cat");
    let mut running = Running::start(command.arg(path).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut beginning = [0; 10];
    let mut stdout = running.0.stdout.take().expect("it is piped");
    stdout.read_exact(&mut beginning).expect("it prints");
    assert_eq!(beginning[..], noise(10)[..]);
    drop(stdout);
    assert_eq!(running.wait().code(), Some(0));
    let mut complaints = String::new();
    running.0.stderr.take().expect("it is piped").read_to_string(&mut complaints).expect("it is text");
    assert_eq!(complaints, "");
}

#[cfg(target_os = "linux")]
#[test]
fn cat_reports_that_its_output_is_full() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    for length in [10, 1_000_000] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
        let mut command = program("cat");
        command.arg(file(&dir, "some", &noise(length))).stdout(full).stderr(Stdio::piped());
        let mut running = Running::start(&mut command);
        assert_eq!(running.wait().code(), Some(1));
        let mut complaints = String::new();
        running.0.stderr.take().expect("it is piped").read_to_string(&mut complaints).expect("it is text");
        assert!(complaints.contains("No space left"), "{complaints}");
    }
}

// ---- graceful

#[test]
fn graceful_answers_what_it_has_read_and_then_ends() {
    let server = Server::start("graceful", &["3600000"]);
    let mut client = server.connect();
    client.say("zero\n");
    client.expect("zero");
    client.say("one\n");
    // A signal is told last of all that is there, so the line is read before it.
    server.running.signal(Signal::TERM);
    eventually("the listener is closed", || TcpStream::connect(server.addr).err());
    client.expect("one");
    assert_eq!(client.rest(), "");
    client.hang_up();
    drop(client);
    let (text, _) = server.ended();
    assert_eq!(text, "ended; 0 connections were cut off\n");
}

#[test]
fn graceful_answers_a_client_that_has_ended_its_side_before() {
    let server = Server::start("graceful", &[]);
    let mut client = server.connect();
    client.say("one\n");
    client.hang_up();
    client.expect("one");
    assert_eq!(client.rest(), "");
}

#[test]
fn graceful_cuts_off_after_its_deadline_those_who_do_not_hang_up() {
    let server = Server::start("graceful", &["300"]);
    let mut client = server.connect();
    client.say("one\n");
    client.expect("one");
    let (text, _) = server.end(Signal::INT);
    assert_eq!(text, "ended; 1 connections were cut off\n");
    assert_eq!(client.rest(), "");
}

#[test]
fn graceful_ends_at_once_at_the_second_signal() {
    let server = Server::start("graceful", &["3600000"]);
    let mut client = server.connect();
    client.say("one\n");
    client.expect("one");
    server.running.signal(Signal::INT);
    // It has heard the first signal, for it has ended its side. This side stays open.
    assert_eq!(client.rest(), "");
    let (text, _) = server.end(Signal::TERM);
    assert_eq!(text, "ended; 1 connections were cut off\n");
}

// ---- those that end by themselves

#[test]
fn the_tour_shows_one_thing_after_the_other() {
    let text = printed_by("tour");
    assert_lines(&text, &["why alive?", "timer \"heartbeat\" started at examples/tour.rs:", "timer: beat 1"]);
    assert_lines(
        &text,
        &[
            "timer: beat 1",
            "idle: counted to 1000",
            "file: written by a loop",
            "worker: the file is removed",
            "server: was asked \"is anybody there?\"",
            "client: was told \"IS ANYBODY THERE?\"",
            "failure: timer started at examples/tour.rs:",
            "metrics: ",
        ],
    );
}

#[test]
fn timers_fire_in_order_and_not_once_they_were_called_off() {
    let text = printed_by("timers");
    let said: Vec<_> = text.lines().map(|line| line.split_once(": ").expect("a time and a text").1).collect();
    let expected = [
        "beat 1, ",
        "once",
        "called off, ",
        "beat 2, ",
        "beat 3, ",
        "beat 4, ",
        "nothing for 250 ms, after 4 beats",
        "no timer",
    ];
    assert_eq!(said.len(), expected.len(), "{text}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{expected:?} in:\n{text}");
    }
}

#[test]
fn idle_counts_primes_and_keeps_the_timer_going() {
    let text = printed_by("idle");
    assert_lines(&text, &["timer: ", "in the end: "]);
    let (primes, below) = text
        .lines()
        .find_map(|line| line.strip_prefix("in the end: ")?.split_once(" primes below "))
        .expect("it says how many");
    let (primes, below): (usize, usize) =
        (primes.parse().expect("a number"), below.parse().expect("a number"));
    let mut sieve = vec![true; below];
    for number in (2..).take_while(|number| number * number < below) {
        if sieve[number] {
            (number * number..below).step_by(number).for_each(|multiple| sieve[multiple] = false);
        }
    }
    assert_eq!(primes, sieve.iter().skip(2).filter(|&&is_prime| is_prime).count());
}

#[test]
fn idle_answers_whoever_asks_meanwhile() {
    let mut command = program("idle");
    let mut running = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut stdout = BufReader::new(running.0.stdout.take().expect("it is piped"));
    let mut stdin = running.0.stdin.take().expect("it is piped");
    let mut lines = String::new();
    stdout.read_line(&mut lines).expect("it is text");
    assert_eq!(lines, "press Enter to be told\n");
    stdin.write_all(b"\n").expect("it listens");
    stdout.read_to_string(&mut lines).expect("it is text");
    assert_lines(&lines, &["you asked: ", "in the end: "]);
    assert!(running.wait().success());
}

#[test]
fn work_accounts_for_every_job() {
    let text = printed_by("work");
    for job in ["first", "second"] {
        assert_lines(
            &text,
            &[25, 50, 75, 100].map(|percent| format!("{job}: {percent} %")).each_ref().map(String::as_str),
        );
    }
    for line in [
        "first: 9592 primes",
        "second: 8392 primes",
        "third: panicked: this job panics on purpose",
        "fourth: work: cancelled",
    ] {
        assert!(text.lines().any(|other| other == line), "{line:?} in:\n{text}");
    }
    assert_eq!(text.lines().last(), Some("all jobs are accounted for: 17984 primes"));
}

#[test]
fn wake_loses_no_wake_and_calls_less_often() {
    let text = printed_by("wake");
    assert!(
        text.contains("first thread: 10000 wakes\n") && text.contains("second thread: 10000 wakes\n"),
        "{text}"
    );
    let last = text
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("20000 wakes were seen in ")?.strip_suffix(" calls"));
    let calls: u32 = last.expect("it says in how many calls").parse().expect("a number");
    assert!((1..=20_000).contains(&calls), "{text}");
}

#[test]
fn embed_serves_both_loops() {
    let text = printed_by("embed");
    let inside = ["inside: tick 1", "inside: the timers are done", "both are done, after "];
    let outside = ["outside: the socket says ", "outside: the socket has ended", "both are done, after "];
    assert_lines(&text, &inside);
    assert_lines(&text, &outside);
    assert_lines(&text, &["inside: a worker says that 20! = 2432902008176640000"]);
}
