//! Processes: starts the peers and the client, listens to what they say, sees to it that they end.

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
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Missing => formatter.write_str("not in this peer"),
            Failure::Broken(reason) => formatter.write_str(reason),
        }
    }
}

pub fn broken(reason: impl fmt::Display) -> Failure {
    Failure::Broken(reason.to_string())
}

pub type Attempt<T> = Result<T, Failure>;

/// A peer that does not have a workload ends with this.
const STATUS_MISSING: i32 = 3;

pub struct Process {
    name: String,
    child: Child,
    said: Receiver<String>,
    complained: Receiver<String>,
    deadline: Instant,
}

impl Process {
    /// To be called on the main thread only: a peer dies with the thread that started it.
    pub fn start(command: &mut Command, limit: Duration) -> Attempt<Process> {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| broken(format!("{name} cannot be started: {error}")))?;
        let said = lines(child.stdout.take().expect("it is piped"));
        let complained = lines(child.stderr.take().expect("it is piped"));
        Ok(Process { name, child, said, complained, deadline: Instant::now() + limit })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of the standard output; none at its end.
    pub fn line(&mut self) -> Attempt<Option<String>> {
        let line = receive(&self.said, self.deadline);
        line.map_err(|()| broken(format!("{}: no answer in time", self.name)))
    }

    /// The next line of the standard error.
    pub fn complaint(&mut self) -> Attempt<Option<String>> {
        let line = receive(&self.complained, self.deadline);
        line.map_err(|()| broken(format!("{}: no answer in time", self.name)))
    }

    /// Waits for a line that begins with `word`, gives the rest of it. Other lines are passed over.
    pub fn expect(&mut self, word: &str) -> Attempt<String> {
        while let Some(line) = self.line()? {
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
        Err(self.ended().err().unwrap_or_else(|| broken(format!("{}: ended without `{word}`", self.name))))
    }

    /// Says that it may go on.
    pub fn go_on(&mut self) -> Attempt<()> {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(b"\n").map_err(|error| broken(format!("{}: {error}", self.name)))
    }

    /// Everything that it says until it ends, which it must do well.
    pub fn sample(mut self) -> Attempt<Sample> {
        let mut sample = Sample::default();
        while let Some(line) = self.line()? {
            sample.take(&line);
        }
        self.ended()?;
        Ok(sample)
    }

    /// Whether it ended well; waits for that.
    fn ended(&mut self) -> Attempt<()> {
        let status = self.child.wait().map_err(broken)?;
        match status.code() {
            Some(0) => Ok(()),
            Some(STATUS_MISSING) => Err(Failure::Missing),
            _ => Err(broken(format!("{}: {}", self.name, self.reason(status)))),
        }
    }

    fn reason(&self, status: ExitStatus) -> String {
        // It has ended, so its last words are on their way.
        let soon = Instant::now() + Duration::from_secs(1);
        let complaints = iter::from_fn(|| receive(&self.complained, soon).ok().flatten());
        complaints.filter(|line| !line.trim().is_empty()).last().unwrap_or_else(|| status.to_string())
    }

    /// Ends it, and waits until it has.
    pub fn interrupt(&mut self) -> Attempt<()> {
        // SAFETY: no pointers. The process is not waited for before, so the number is its own.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGINT) };
        self.child.wait().map(|_| ()).map_err(broken)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
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

/// Where the programs are and what they may use.
pub struct Bench {
    pub programs: PathBuf,
    pub scratch: Scratch,
    /// The cores of the measured process and of what drives it.
    pub cores: Cores,
    /// No run takes longer.
    pub limit: Duration,
}

#[derive(Clone, Copy)]
pub struct Cores {
    pub peer: usize,
    pub driver: usize,
}

impl Cores {
    /// The first two that this process may run on; one for both if there is no other.
    pub fn find() -> Cores {
        // SAFETY: an empty set is all zeros, and the pointer is to a set of the size that is told.
        let allowed = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&set), &mut set);
            set
        };
        // SAFETY: the number is less than what a set has room for.
        let is_allowed = |core: &usize| unsafe { libc::CPU_ISSET(*core, &allowed) };
        let mut cores = (0..libc::CPU_SETSIZE as usize).filter(is_allowed);
        let peer = cores.next().unwrap_or(0);
        Cores { peer, driver: cores.next().unwrap_or(peer) }
    }
}

/// Which of the runs of a round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    Peer(Peer),
    /// Ringback, with the client asked for something else: `Case::without`.
    Without,
}

impl Side {
    pub fn peer(self) -> Peer {
        match self {
            Side::Peer(peer) => peer,
            Side::Without => Peer::Ringback,
        }
    }
}

impl Bench {
    pub fn command(&self, program: &str, asked: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(asked.split_whitespace());
        command
    }

    pub fn start(&self, command: &mut Command) -> Attempt<Process> {
        Process::start(command, self.limit)
    }

    /// The measured process of a case, not yet started.
    pub fn peer_command(&self, case: &Case, side: Side) -> Command {
        let peer = side.peer();
        let mut command = self.command(peer.program(), &case.asked);
        if peer == Peer::Ringback {
            command.args(case.asked_of_ours.split_whitespace());
        }
        if !matches!(case.how, How::Alone { pinned: false, .. }) {
            command.arg(format!("core={}", self.cores.peer));
        }
        command
    }

    /// The client of a server, not yet started.
    pub fn client_command(&self, case: &Case, side: Side, client: &str, port: &str, pid: u32) -> Command {
        let mut command = self.command("client", client);
        if let (Side::Without, Some((instead, _))) = (side, &case.without) {
            command.args(instead.split_whitespace());
        }
        command.args([format!("port={port}"), format!("pid={pid}"), format!("core={}", self.cores.driver)]);
        command
    }

    /// The server made by hand that peers are clients of, and its port.
    pub fn facing(&self, server: &str) -> Attempt<(Process, String)> {
        let mut command = self.command("raw", server);
        let mut server = self.start(command.arg(format!("core={}", self.cores.driver)))?;
        let port = server.expect("listening").map_err(|failure| broken(format!("the server: {failure}")))?;
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
                self.start(&mut client)?.sample().map_err(|failure| self.whose(failure, &mut server))
            }
            How::Facing { server } => {
                let (_server, port) = self.facing(server)?;
                self.start(command.arg(format!("port={port}")))?.sample()
            }
            How::Alone { files, .. } => {
                command.args(self.scratch.prepare(*files).map_err(broken)?);
                let sample = self.start(&mut command)?.sample();
                if *files == Files::Written {
                    self.scratch.remove_written();
                }
                sample
            }
            How::Weighed { connections } => self.weigh(&mut command, *connections),
        }
    }

    /// A client fails when its server has ended: then that is the reason.
    pub fn whose(&self, failure: Failure, server: &mut Process) -> Failure {
        match server.child.try_wait() {
            Ok(Some(status)) => broken(format!("{}: {}", server.name, server.reason(status))),
            _ => broken(failure),
        }
    }

    fn weigh(&self, command: &mut Command, connections: u64) -> Attempt<Sample> {
        let mut server = self.start(command)?;
        let port = server.expect("listening")?;
        let asked = format!("echo conns=1 idle={} wait=1 seconds=1 port={port}", connections - 1);
        let mut client = self.start(&mut self.command("client", &asked))?;
        client.expect("ready").map_err(|failure| self.whose(failure, &mut server))?;
        server.go_on()?;
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
    fn a_process_is_listened_to() {
        let mut process = shell("echo listening 80; read line; echo result ops 3").unwrap();
        assert_eq!(process.expect("listening").unwrap(), "80");
        process.go_on().unwrap();
        assert_eq!(process.sample().unwrap().results["ops"], 3.0);
    }

    #[test]
    fn a_failure_tells_the_reason() {
        let failure = shell("echo no such thing >&2; exit 1").unwrap().sample().unwrap_err();
        assert!(failure.to_string().contains("no such thing"), "{failure}");
        assert!(matches!(shell("exit 3").unwrap().sample(), Err(Failure::Missing)));
        let mut process = Process::start(Command::new("sleep").arg("9"), Duration::from_millis(20)).unwrap();
        assert!(process.line().unwrap_err().to_string().contains("no answer in time"));
    }
}
