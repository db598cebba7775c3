//! System calls and allocations per operation, counted in runs of their own: `strace -c` watches the peer,
//! and a preloaded library counts its allocations.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command, time::Duration};

use crate::{
    files::Files,
    metric::{Metric, Peer},
    run::{Attempt, Bench, Failure, Process, Side, failed},
    suite::{Case, How},
};

/// The library for LD_PRELOAD. It counts into the file that the variable names. Empty where there is no
/// glibc.
const LIBRARY: &str = env!("RINGBACK_COUNTING_LIBRARY");
const COUNTS_VARIABLE: &str = "RINGBACK_COUNTING";
/// The most system calls that are named one by one.
const NAMED: usize = 6;
/// The time limit of the trial whether strace works.
const TRIAL: Duration = Duration::from_secs(5);

/// The counts of one run.
#[derive(Clone, Default)]
struct Totals {
    operations: f64,
    /// `None` if strace could not watch it.
    calls: Option<BTreeMap<String, u64>>,
    allocations: u64,
}

/// The counts per operation.
#[derive(Clone)]
pub struct Counts {
    pub system_calls: Option<f64>,
    pub allocations: Option<f64>,
    /// The system calls by name.
    pub named: String,
}

impl Counts {
    pub fn of(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::SystemCalls => self.system_calls,
            Metric::Allocations => self.allocations,
            _ => None,
        }
    }
}

pub struct Counter {
    /// The version of strace, or the reason why it cannot be used.
    pub strace: Result<String, String>,
}

impl Counter {
    /// Tries whether strace is installed, and may attach to a process that it did not start.
    pub fn find() -> Counter {
        Counter { strace: find_strace().map_err(|failure| failure.to_string()) }
    }

    pub fn count(&self, bench: &Bench, case: &Case, peer: Peer) -> Attempt<Counts> {
        match &case.how {
            How::Served { client } => {
                // Subtract a short run from a long one: what it takes to close the connections is in both.
                let operations: u64 = case.counting.parse().expect("the suite gives a number of operations");
                let short = self.count_served(bench, case, peer, client, operations)?;
                let long = self.count_served(bench, case, peer, client, 3 * operations)?;
                Ok(per_operation(long.less(short), case.operation.size))
            }
            How::Facing { server } => {
                let (_server, port) = bench.facing(server)?;
                self.count_alone(bench, case, peer, Some(format!("port={port}")))
            }
            How::Alone { files, .. } => {
                let path = bench.scratch.prepare(*files).map_err(failed)?;
                let counts = self.count_alone(bench, case, peer, path);
                if *files == Files::Written {
                    bench.scratch.remove_written();
                }
                counts
            }
            How::Weighed { .. } => Err(Failure::Missing),
        }
    }

    fn count_alone(
        &self,
        bench: &Bench,
        case: &Case,
        peer: Peer,
        further: Option<String>,
    ) -> Attempt<Counts> {
        let counts = counts_file(bench)?;
        let mut command = bench.peer_command(case, Side::Peer(peer));
        command.args(case.counting.split_whitespace()).arg("wait=1").args(further);
        count_allocations(&mut command, &counts);
        let mut process = bench.start(&mut command)?;
        process.expect("ready")?;
        let watch = self.watch(bench, process.pid())?;
        let before = allocations(&counts);
        process.proceed()?;
        let sample = process.sample()?;
        let operations = sample.results.get("ops").copied().unwrap_or(0.0);
        let calls = watch.map(Watch::end).transpose()?;
        let totals = Totals { operations, calls, allocations: allocations(&counts) - before };
        Ok(per_operation(totals, case.operation.size))
    }

    fn count_served(
        &self,
        bench: &Bench,
        case: &Case,
        peer: Peer,
        client: &str,
        operations: u64,
    ) -> Attempt<Totals> {
        let counts = counts_file(bench)?;
        let mut command = bench.peer_command(case, Side::Peer(peer));
        count_allocations(&mut command, &counts);
        let mut server = bench.start(&mut command)?;
        let port = server.expect("listening")?;
        let arguments = format!("{client} ops={operations} warm_ms=50 wait=1");
        let mut command = bench.client_command(case, Side::Peer(peer), &arguments, &port, server.pid());
        let mut client = bench.start(&mut command)?;
        client.expect("ready").map_err(|failure| bench.explain(failure, &mut server))?;
        let watch = self.watch(bench, server.pid())?;
        let before = allocations(&counts);
        client.proceed()?;
        let sample = client.sample().map_err(|failure| bench.explain(failure, &mut server))?;
        let calls = watch.map(Watch::interrupt).transpose()?;
        let operations = sample.results.get("ops").copied().unwrap_or(0.0);
        Ok(Totals { operations, calls, allocations: allocations(&counts) - before })
    }

    fn watch(&self, bench: &Bench, pid: u32) -> Attempt<Option<Watch>> {
        if self.strace.is_err() {
            return Ok(None);
        }
        let table = bench.scratch.file("strace").map_err(failed)?;
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&table).arg("-p").arg(pid.to_string());
        let mut strace = bench.start(&mut command)?;
        attach(&mut strace)?;
        Ok(Some(Watch { strace, table }))
    }
}

fn find_strace() -> Attempt<String> {
    let version = Command::new("strace").arg("-V").output().map_err(|_| failed("no strace"))?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.lines().next().unwrap_or_default().replace(" -- version", "");
    let other = Process::start(Command::new("sleep").arg("10"), TRIAL)?;
    let mut command = Command::new("strace");
    command.args(["-c", "-o", "/dev/null", "-p"]).arg(other.pid().to_string());
    attach(&mut Process::start(&mut command, TRIAL)?)?;
    Ok(version)
}

/// Waits until strace has attached.
fn attach(strace: &mut Process) -> Attempt<()> {
    let mut last = "it exited at once".to_owned();
    while let Some(line) = strace.error_line()? {
        if line.contains("attached") {
            return Ok(());
        }
        last = line;
    }
    Err(failed(format!("strace may not watch: {last}")))
}

/// An strace that is attached.
struct Watch {
    strace: Process,
    table: PathBuf,
}

impl Watch {
    /// Waits for strace, which exits with the process that it watches.
    fn end(mut self) -> Attempt<BTreeMap<String, u64>> {
        while self.strace.line()?.is_some() {}
        self.calls()
    }

    fn interrupt(mut self) -> Attempt<BTreeMap<String, u64>> {
        self.strace.interrupt()?;
        self.calls()
    }

    fn calls(&self) -> Attempt<BTreeMap<String, u64>> {
        Ok(parse_table(&fs::read_to_string(&self.table).map_err(failed)?))
    }
}

/// Parses the calls by name from the table of `strace -c`. Its column of errors is empty where there were
/// none, and its last line is the sum.
fn parse_table(table: &str) -> BTreeMap<String, u64> {
    let call = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = *words.last().filter(|_| words.len() >= 5)?;
        let share: Result<f64, _> = words[0].parse();
        (share.is_ok() && name != "total").then_some(())?;
        Some((name.to_owned(), words[3].parse().ok()?))
    };
    table.lines().filter_map(call).collect()
}

impl Totals {
    fn less(self, other: Totals) -> Totals {
        let calls = self.calls.zip(other.calls).map(|(calls, fewer)| {
            let rest = |(name, count): (String, u64)| {
                let before = fewer.get(&name).copied().unwrap_or(0);
                (name, count.saturating_sub(before))
            };
            calls.into_iter().map(rest).collect()
        });
        Totals {
            operations: self.operations - other.operations,
            calls,
            allocations: self.allocations.saturating_sub(other.allocations),
        }
    }
}

fn per_operation(totals: Totals, size: f64) -> Counts {
    let operations = totals.operations / size;
    let each = |count: u64| Some(count as f64 / operations).filter(|count| count.is_finite());
    let mut named: Vec<(String, u64)> =
        totals.calls.iter().flatten().map(|(name, &n)| (name.clone(), n)).collect();
    named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words = named.iter().take(NAMED).filter_map(|(name, count)| {
        let each = each(*count).filter(|&each| each >= 0.0005)?;
        Some(format!("{name} {each:.3}"))
    });
    Counts {
        system_calls: totals.calls.as_ref().and_then(|calls| each(calls.values().sum())),
        allocations: each(totals.allocations).filter(|_| !LIBRARY.is_empty()),
        named: words.collect::<Vec<_>>().join(", "),
    }
}

fn counts_file(bench: &Bench) -> Attempt<PathBuf> {
    let path = bench.scratch.file("counts").map_err(failed)?;
    fs::write(&path, [0; 24]).map_err(failed)?;
    Ok(path)
}

fn count_allocations(command: &mut Command, counts: &PathBuf) {
    if !LIBRARY.is_empty() {
        command.env("LD_PRELOAD", LIBRARY).env(COUNTS_VARIABLE, counts);
    }
}

/// Reads the first of the three counters: allocations, frees, bytes.
fn allocations(counts: &PathBuf) -> u64 {
    let bytes = fs::read(counts).unwrap_or_default();
    bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
strace: Process 4711 detached
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.54    0.041000           4     10000           sendto
 30.77    0.020500           2     10050        50 recvfrom
  7.69    0.005125           5      1025           epoll_wait
  0.00    0.000000           0         1           exit_group
------ ----------- ----------- --------- --------- ----------------
100.00    0.066625           3     21076        50 total
";

    #[test]
    fn a_table_of_strace_is_parsed() {
        let calls = parse_table(TABLE);
        assert_eq!(calls.values().sum::<u64>(), 21076);
        assert_eq!(calls["sendto"], 10000);
        assert_eq!(calls["recvfrom"], 10050);
        assert_eq!(calls.len(), 4);
        assert!(parse_table("").is_empty());
    }

    #[test]
    fn calls_of_both_runs_cancel_out() {
        let run = |operations: f64, sends: u64, allocations| Totals {
            operations,
            calls: Some([("send".to_owned(), sends), ("close".to_owned(), 50)].into()),
            allocations,
        };
        let counts = per_operation(run(300.0, 310, 7).less(run(100.0, 110, 7)), 1.0);
        assert_eq!(counts.system_calls, Some(1.0));
        assert_eq!(counts.named, "send 1.000");
    }

    #[test]
    fn calls_that_were_not_watched_are_not_zero() {
        let counts = per_operation(Totals { operations: 10.0, calls: None, allocations: 0 }, 1.0);
        assert_eq!(counts.system_calls, None);
        assert_eq!(counts.named, "");
    }
}
