//! Processes: starts the peers and the client, reads their output, and bounds how long they run.

use std::{
    fmt,
    io::{BufRead, BufReader, Read, Write},
    iter,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    files::{Files, Scratch},
    metric::{Peer, Sample},
    suite::{Case, How},
};

/// Why there is no sample.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The peer does not have the workload.
    Missing,
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Missing => formatter.write_str("not in this peer"),
            Failure::Failed(reason) => formatter.write_str(reason),
        }
    }
}

pub fn failed(reason: impl fmt::Display) -> Failure {
    Failure::Failed(reason.to_string())
}

pub type Attempt<T> = Result<T, Failure>;

/// The exit status of a peer that does not have the workload.
const STATUS_MISSING: i32 = 3;

pub struct Process {
    name: String,
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    deadline: Instant,
}

impl Process {
    /// Starts a process. Call it on the main thread only: a peer dies with the thread that started it.
    pub fn start(command: &mut Command, limit: Duration) -> Attempt<Process> {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| failed(format!("{name} cannot be started: {error}")))?;
        let stdout = lines(child.stdout.take().expect("it is piped"));
        let stderr = lines(child.stderr.take().expect("it is piped"));
        Ok(Process { name, child, stdout, stderr, deadline: Instant::now() + limit })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line of its stdout, or `None` at EOF.
    pub fn line(&mut self) -> Attempt<Option<String>> {
        let line = receive(&self.stdout, self.deadline);
        line.map_err(|()| failed(format!("{}: no output within the time limit", self.name)))
    }

    /// Returns the next line of its stderr.
    pub fn error_line(&mut self) -> Attempt<Option<String>> {
        let line = receive(&self.stderr, self.deadline);
        line.map_err(|()| failed(format!("{}: no output within the time limit", self.name)))
    }

    /// Skips lines until one begins with `word`. Returns the rest of that line.
    pub fn expect(&mut self, word: &str) -> Attempt<String> {
        while let Some(line) = self.line()? {
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
        Err(self.wait().err().unwrap_or_else(|| failed(format!("{}: exited without `{word}`", self.name))))
    }

    /// Sends a line to its stdin: it may proceed.
    pub fn proceed(&mut self) -> Attempt<()> {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"\n").map_err(|error| failed(format!("{}: {error}", self.name)))
    }

    /// Collects what it prints until it exits, which must be with success.
    pub fn sample(mut self) -> Attempt<Sample> {
        let mut sample = Sample::default();
        while let Some(line) = self.line()? {
            sample.take(&line);
        }
        self.wait()?;
        Ok(sample)
    }

    /// Waits until it has exited, and checks its status.
    fn wait(&mut self) -> Attempt<()> {
        let status = self.child.wait().map_err(failed)?;
        match status.code() {
            Some(0) => Ok(()),
            Some(STATUS_MISSING) => Err(Failure::Missing),
            _ => Err(failed(format!("{}: {}", self.name, self.reason(status)))),
        }
    }

    fn reason(&self, status: ExitStatus) -> String {
        // It has exited, so the rest of its stderr arrives soon.
        let soon = Instant::now() + Duration::from_secs(1);
        let lines = iter::from_fn(|| receive(&self.stderr, soon).ok().flatten());
        lines.filter(|line| !line.trim().is_empty()).last().unwrap_or_else(|| status.to_string())
    }

    /// Interrupts it, and waits until it has exited.
    pub fn interrupt(&mut self) -> Attempt<()> {
        // SAFETY: no pointers. The process is not reaped before, so the pid is still its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGINT) };
        self.child.wait().map(|_| ()).map_err(failed)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    receive
}

fn receive(from: &Receiver<String>, deadline: Instant) -> Result<Option<String>, ()> {
    match from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(line) => Ok(Some(line)),
        Err(RecvTimeoutError::Disconnected) => Ok(None),
        Err(RecvTimeoutError::Timeout) => Err(()),
    }
}

/// The programs, and what they may use.
pub struct Bench {
    pub programs: PathBuf,
    pub scratch: Scratch,
    /// The cores of the measured process and of its driver.
    pub cores: Cores,
    /// The time limit of each run.
    pub limit: Duration,
}

#[derive(Clone, Copy)]
pub struct Cores {
    pub peer: usize,
    pub driver: usize,
}

impl Cores {
    /// Finds the first two cores that this process may run on. If there is one only, both share it.
    pub fn find() -> Cores {
        // SAFETY: a set of zeros is valid, and the pointer is to a set of the size passed.
        let allowed = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&set), &mut set);
            set
        };
        // SAFETY: the number is below the size of a set.
        let is_allowed = |core: &usize| unsafe { libc::CPU_ISSET(*core, &allowed) };
        let mut cores = (0..libc::CPU_SETSIZE as usize).filter(is_allowed);
        let peer = cores.next().unwrap_or(0);
        Cores { peer, driver: cores.next().unwrap_or(peer) }
    }
}

/// One of the runs of a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    Peer(Peer),
    /// ringback again, with the client's arguments of `Case::baseline`.
    Baseline,
}

impl Side {
    pub fn peer(self) -> Peer {
        match self {
            Side::Peer(peer) => peer,
            Side::Baseline => Peer::Ringback,
        }
    }
}

impl Bench {
    pub fn command(&self, program: &str, arguments: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments.split_whitespace());
        command
    }

    pub fn start(&self, command: &mut Command) -> Attempt<Process> {
        Process::start(command, self.limit)
    }

    /// Returns the command that starts the measured process of a case.
    pub fn peer_command(&self, case: &Case, side: Side) -> Command {
        let peer = side.peer();
        let mut command = self.command(peer.program(), &case.arguments);
        if peer == Peer::Ringback {
            command.args(case.ringback_arguments.split_whitespace());
        }
        if !matches!(case.how, How::Alone { pinned: false, .. }) {
            command.arg(format!("core={}", self.cores.peer));
        }
        command
    }

    /// Returns the command that starts the client of a server.
    pub fn client_command(&self, case: &Case, side: Side, client: &str, port: &str, pid: u32) -> Command {
        let mut command = self.command("client", client);
        if let (Side::Baseline, Some((instead, _))) = (side, &case.baseline) {
            command.args(instead.split_whitespace());
        }
        command.args([format!("port={port}"), format!("pid={pid}"), format!("core={}", self.cores.driver)]);
        command
    }

    /// Starts the raw server that peers are clients of. Returns it and its port.
    pub fn facing(&self, server: &str) -> Attempt<(Process, String)> {
        let mut command = self.command("raw", server);
        let mut server = self.start(command.arg(format!("core={}", self.cores.driver)))?;
        let port = server.expect("listening").map_err(|failure| failed(format!("the server: {failure}")))?;
        Ok((server, port))
    }

    /// Runs a case once.
    pub fn measure(&self, case: &Case, side: Side) -> Attempt<Sample> {
        let mut command = self.peer_command(case, side);
        match &case.how {
            How::Served { client } => {
                let mut server = self.start(&mut command)?;
                let port = server.expect("listening")?;
                let mut client = self.client_command(case, side, client, &port, server.pid());
                self.start(&mut client)?.sample().map_err(|failure| self.explain(failure, &mut server))
            }
            How::Facing { server } => {
                let (_server, port) = self.facing(server)?;
                self.start(command.arg(format!("port={port}")))?.sample()
            }
            How::Alone { files, .. } => {
                command.args(self.scratch.prepare(*files).map_err(failed)?);
                let sample = self.start(&mut command)?.sample();
                if *files == Files::Written {
                    self.scratch.remove_written();
                }
                sample
            }
            How::Weighed { connections } => self.weigh(&mut command, *connections),
        }
    }

    /// Returns why a client failed: if its server has exited, that is the reason.
    pub fn explain(&self, failure: Failure, server: &mut Process) -> Failure {
        match server.child.try_wait() {
            Ok(Some(status)) => failed(format!("{}: {}", server.name, server.reason(status))),
            _ => failed(failure),
        }
    }

    fn weigh(&self, command: &mut Command, connections: u64) -> Attempt<Sample> {
        let mut server = self.start(command)?;
        let port = server.expect("listening")?;
        let arguments = format!("echo conns=1 idle={} wait=1 seconds=1 port={port}", connections - 1);
        let mut client = self.start(&mut self.command("client", &arguments))?;
        client.expect("ready").map_err(|failure| self.explain(failure, &mut server))?;
        server.proceed()?;
        let mut sample = server.sample()?;
        sample.results.entry("ops".to_owned()).or_insert(connections as f64);
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Attempt<Process> {
        Process::start(Command::new("sh").args(["-c", script]), Duration::from_secs(5))
    }

    #[test]
    fn a_process_is_read_line_by_line() {
        let mut process = shell("echo listening 80; read line; echo result ops 3").unwrap();
        assert_eq!(process.expect("listening").unwrap(), "80");
        process.proceed().unwrap();
        assert_eq!(process.sample().unwrap().results["ops"], 3.0);
    }

    #[test]
    fn a_failure_names_its_reason() {
        let failure = shell("echo no such thing >&2; exit 1").unwrap().sample().unwrap_err();
        assert!(failure.to_string().contains("no such thing"), "{failure}");
        assert!(matches!(shell("exit 3").unwrap().sample(), Err(Failure::Missing)));
        let mut process = Process::start(Command::new("sleep").arg("9"), Duration::from_millis(20)).unwrap();
        assert!(process.line().unwrap_err().to_string().contains("no output within the time limit"));
    }
}
