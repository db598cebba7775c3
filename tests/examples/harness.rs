//! Starts examples, talks to those that are servers, and bounds every wait.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{self, GUARD, eventually};

/// Returns the command that runs an example, under `RUNNER` if that is set.
pub(crate) fn command(example: &str) -> Command {
    let runner = std::env::var("RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(first) = words.next() else { return Command::new(wait::example(example)) };
    let mut command = Command::new(first);
    command.args(words).arg(wait::example(example));
    command
}

/// A child process that is killed when its test ends.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Process {
        Process(command.spawn().expect("the example starts"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("the process exists");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the example exits", || self.0.try_wait().expect("the child can be waited for"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs an example until it exits. Panics with the example's name if that takes too long.
pub(crate) fn run<A: AsRef<OsStr>>(example: &str, arguments: &[A]) -> Output {
    let mut command = command(example);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(&mut command);
    let mut stdout = process.0.stdout.take().expect("stdout is piped");
    let mut stderr = process.0.stderr.take().expect("stderr is piped");
    // Both pipes are drained meanwhile, so that neither can fill up and block the example.
    let stdout = thread::spawn(move || read_all(&mut stdout));
    let stderr = thread::spawn(move || read_all(&mut stderr));
    let status = process.wait();
    Output { status, stdout: stdout.join().expect("no panic"), stderr: stderr.join().expect("no panic") }
}

fn read_all(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("a pipe can be read");
    bytes
}

/// Runs an example that takes no arguments and must succeed. Returns what it printed.
pub(crate) fn stdout_of(example: &str) -> String {
    let output = run::<&str>(example, &[]);
    let text = String::from_utf8(output.stdout).expect("stdout is UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}: {}\n{text}\n{errors}", output.status);
    text
}

/// Panics unless the text has lines that begin so, in this order. Other lines may come between.
pub(crate) fn assert_lines(text: &str, beginnings: &[&str]) {
    let mut lines = text.lines();
    for beginning in beginnings {
        assert!(
            lines.any(|line| line.starts_with(beginning)),
            "no line {beginning:?} after the lines before it, in:\n{text}"
        );
    }
}

/// An example that is a server, and its address.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Server {
    pub(crate) fn start(example: &str, arguments: &[&str]) -> Server {
        let mut command = command(example);
        command.arg("127.0.0.1:0").args(arguments).stdin(Stdio::null());
        let mut process = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut stdout = BufReader::new(process.0.stdout.take().expect("stdout is piped"));
        let stderr = process.0.stderr.take().expect("stderr is piped");
        let mut line = String::new();
        stdout.read_line(&mut line).expect("the server prints a line");
        let addr = line.trim_end().strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        let addr = addr.unwrap_or_else(|| panic!("{example}: its first line is {line:?}"));
        Server { process, addr, stdout, stderr }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.addr).expect("the server accepts"))
    }

    /// Connects with a receive buffer of a few KiB.
    pub(crate) fn connect_narrow(&self) -> Client {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt::set_socket_recv_buffer_size};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket is available");
        set_socket_recv_buffer_size(&socket, 4096).expect("the option can be set");
        connect(&socket, &self.addr).expect("the server accepts");
        Client::new(socket.into())
    }

    /// Stops the server with a signal. Returns the rest of its stdout, and its stderr.
    pub(crate) fn stop(self, signal: Signal) -> (String, String) {
        self.process.signal(signal);
        self.wait()
    }

    /// Waits until the server exits with success. Returns the rest of its stdout, and its stderr.
    pub(crate) fn wait(mut self) -> (String, String) {
        let status = self.process.wait();
        assert!(status.success(), "{status}");
        let (mut text, mut errors) = (String::new(), String::new());
        self.stdout.read_to_string(&mut text).expect("stdout is UTF-8");
        self.stderr.read_to_string(&mut errors).expect("stderr is UTF-8");
        (text, errors)
    }
}

/// A blocking client. Reads and writes fail after `GUARD`.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(GUARD)).expect("the option can be set");
        stream.set_write_timeout(Some(GUARD)).expect("the option can be set");
        Client(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(text.as_ref()).expect("the server reads");
    }

    /// Returns another handle of the same socket, for a thread to write to.
    pub(crate) fn writer(&self) -> TcpStream {
        self.0.get_ref().try_clone().expect("a descriptor is left")
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server sends a line");
        line.truncate(line.trim_end().len());
        line
    }

    pub(crate) fn expect(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    /// Shuts down the write side: the server reads EOF.
    pub(crate) fn shutdown(&mut self) {
        self.0.get_mut().shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Makes the next close send a reset.
    pub(crate) fn reset_on_close(&self) {
        let linger = rustix::net::sockopt::set_socket_linger(self.0.get_ref(), Some(Default::default()));
        linger.expect("the option can be set");
    }

    /// Reads until the server closes or resets the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                panic!("the server does not close the connection: {error}")
            }
            _ => String::from_utf8(bytes).expect("the server sends UTF-8"),
        }
    }
}
