//! `echo_unix`: its clients, its socket file, and a second server on the same path.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    process::{ChildStdout, Stdio},
};

use rustix::process::{Signal, getuid};

use crate::{
    harness::{Process, command, run},
    wait::GUARD,
};

/// The example, listening at a path.
struct Server {
    process: Process,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(path: &Path) -> Server {
        let mut command = command("echo_unix");
        let mut process = Process::start(command.arg(path).stdin(Stdio::null()).stdout(Stdio::piped()));
        let stdout = BufReader::new(process.0.stdout.take().expect("stdout is piped"));
        let mut server = Server { process, stdout };
        assert_eq!(server.line(), format!("listening on {}", path.display()));
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the server prints a line");
        line.trim_end().to_owned()
    }
}

/// Sends a text, shuts down, and reads until EOF.
fn echo(path: &Path, text: &[u8]) -> Vec<u8> {
    let mut client = UnixStream::connect(path).expect("the server accepts");
    client.set_read_timeout(Some(GUARD)).expect("the option can be set");
    let mut writer = client.try_clone().expect("a descriptor is left");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(text).expect("the server reads");
            writer.shutdown(Shutdown::Write).expect("the connection is open");
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("the server replies");
        received
    })
}

#[test]
fn echo_unix_sends_back_what_it_gets_and_names_its_client() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let mut server = Server::start(&path);
    let text: Vec<u8> = (0..1_000_000).map(|number: u32| (number % 251) as u8).collect();
    assert!(echo(&path, &text) == text);
    let line = server.line();
    assert!(line.starts_with(&format!("user {}", getuid().as_raw())), "{line}");
    if cfg!(target_os = "linux") {
        assert!(line.ends_with(&format!(", process {}", std::process::id())), "{line}");
    }
    assert_eq!(echo(&path, b""), b"");
}

#[test]
fn echo_unix_removes_its_file_when_it_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&path);
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(GUARD)).expect("the option can be set");
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        server.process.signal(signal);
        assert!(server.process.wait().success());
        assert!(!path.exists());
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn echo_unix_replaces_the_file_of_a_killed_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    for _ in 0..3 {
        let mut server = Server::start(&path);
        assert_eq!(echo(&path, b"hello"), b"hello");
        // The runner of the example, if there is one, may be killed before the example is.
        server.process.0.kill().unwrap();
        server.process.wait();
        assert!(path.exists());
    }
}

#[test]
fn a_second_echo_unix_on_the_same_path_fails() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _server = Server::start(&path);
    let output = run("echo_unix", &[&path]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains(path.to_str().unwrap()) && errors.contains("in use"), "{errors}");
    assert!(output.stdout.is_empty());
    // The first one is as it was.
    assert_eq!(echo(&path, b"hello"), b"hello");
}
