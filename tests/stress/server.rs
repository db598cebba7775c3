//! A server in a process of its own, observed through `/proc`.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;
pub(crate) use crate::wait::{GUARD, eventually};

pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) addr: SocketAddr,
    stdout: BufReader<ChildStdout>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts an example that was built in the profile of this test.
    pub(crate) fn example(name: &str) -> Server {
        Server::at(wait::example(name))
    }

    pub(crate) fn at(path: PathBuf) -> Server {
        assert!(path.exists(), "{} is not built: build the examples first", path.display());
        Server::start(Command::new(path).arg("127.0.0.1:0"))
    }

    /// Starts any program that prints "listening on ADDR".
    pub(crate) fn start(command: &mut Command) -> Server {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&complaints);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        let addr = loop {
            line.clear();
            let count = stdout.read_line(&mut line).unwrap();
            assert!(count > 0, "it ended before it printed its address: {:?}", complaints.lock().unwrap());
            if let Some((_, addr)) = line.trim().split_once("listening on ") {
                break addr.parse().unwrap();
            }
        };
        Server { process, addr, stdout, complaints }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    fn status(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let line = line.unwrap_or_else(|| {
            panic!("no {field} in the status of an ended process: {:?}", self.complaints())
        });
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Resident memory, in KiB.
    pub(crate) fn memory(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The address space, in KiB: what `RLIMIT_AS` limits.
    pub(crate) fn address_space(&self) -> usize {
        self.status("VmSize:")
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// The processor time it has used.
    pub(crate) fn busy(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let after_name = stat.rsplit_once(')').unwrap().1;
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// The lines it has written to its standard error so far.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    /// Waits until it has this many descriptors again.
    pub(crate) fn comes_back_to(&self, descriptors: usize) {
        let started = Instant::now();
        while self.descriptors() != descriptors {
            assert!(started.elapsed() < GUARD, "{} descriptors, not {descriptors}", self.descriptors());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it ends. Returns its status and the rest of its standard output.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let status = eventually("the server ends", || self.process.try_wait().unwrap());
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        (status, text)
    }

    /// Sends it SIGTERM, and expects it to end with success.
    pub(crate) fn finish(mut self) {
        kill_process(self.pid(), Signal::TERM).expect("the server runs");
        let (status, _) = self.ended();
        assert!(status.success(), "{status}: {:?}", self.complaints());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
