//! The suite: every workload, its sizes, its metrics and its goals, as data.
//!
//! To add a row, add a [`Case`] here, and its workload to [`WORKLOADS`] and to the peers. Nothing else in
//! this program changes.

use crate::{
    files::Files,
    format::grouped,
    metric::{Against, Goal, Metric, Operation, Peer, at_most, better},
};

/// How much to measure.
#[derive(Clone, Copy)]
pub struct Scale {
    pub quick: bool,
}

impl Scale {
    pub fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    pub fn pairs(self) -> usize {
        self.pick(7, 3)
    }

    /// Returns how many seconds a server is driven, without the warm-up.
    pub fn seconds(self) -> f64 {
        self.pick(1.0, 0.25)
    }

    fn warm_ms(self) -> u32 {
        self.pick(300, 100)
    }

    /// Returns the number of rounds. In a quick run, the peers without goals take part in the first round
    /// only.
    pub fn rounds_of(self, peer: Peer, pairs: usize) -> usize {
        if self.quick && !Peer::MAIN.contains(&peer) { 1 } else { pairs }
    }
}

/// How a peer is run. Its own arguments are those of the case.
#[derive(Clone)]
pub enum How {
    /// It is a server, and `client` drives it.
    Served { client: String },
    /// It is the client of a raw server.
    Facing { server: &'static str },
    /// It measures itself: pinned to one core, or unpinned if it has threads.
    Alone { pinned: bool, files: Files },
    /// It is a server with that many idle connections, and reports its heap bytes.
    Weighed { connections: u64 },
}

/// A workload in one size.
#[derive(Clone)]
pub struct Case {
    /// The name that `--only` takes.
    pub workload: &'static str,
    pub size: String,
    pub how: How,
    /// The arguments of every peer, the workload first.
    pub arguments: String,
    /// Further arguments of ringback.
    pub ringback_arguments: &'static str,
    /// Arguments of the client in further runs of ringback, and the name of these runs.
    pub baseline: Option<(String, &'static str)>,
    pub operation: Operation,
    pub peers: &'static [Peer],
    pub rows: Vec<(Metric, Option<Goal>)>,
    /// Further arguments of the run that counts system calls and allocations, which is slow; later arguments
    /// win. For a server, the number of operations that its client does. Empty if nothing is counted.
    pub counting: String,
    pub draws_latencies: bool,
    /// The estimated seconds of one run.
    pub about_seconds: f64,
}

impl Case {
    fn new(workload: &'static str, size: impl Into<String>, how: How, arguments: impl Into<String>) -> Case {
        Case {
            workload,
            size: size.into(),
            how,
            arguments: arguments.into(),
            ringback_arguments: "",
            baseline: None,
            operation: Operation::new("operation", "operations"),
            peers: &Peer::ALL,
            rows: Vec::new(),
            counting: String::new(),
            draws_latencies: false,
            about_seconds: 0.5,
        }
    }

    fn served(
        scale: Scale,
        workload: &'static str,
        size: impl Into<String>,
        arguments: &str,
        client: &str,
    ) -> Case {
        let client = format!("{client} seconds={} warm_ms={}", scale.seconds(), scale.warm_ms());
        let mut case = Case::new(workload, size, How::Served { client }, arguments);
        case.about_seconds = scale.seconds() + f64::from(scale.warm_ms()) / 1000.0 + 0.15;
        case
    }

    fn facing(
        workload: &'static str,
        size: impl Into<String>,
        server: &'static str,
        arguments: String,
    ) -> Case {
        Case::new(workload, size, How::Facing { server }, arguments)
    }

    fn alone(workload: &'static str, size: impl Into<String>, arguments: impl Into<String>) -> Case {
        Case::new(workload, size, How::Alone { pinned: true, files: Files::None }, arguments)
    }

    fn threaded(workload: &'static str, size: impl Into<String>, arguments: impl Into<String>) -> Case {
        Case::new(workload, size, How::Alone { pinned: false, files: Files::None }, arguments)
    }

    fn with_files(mut self, wanted: Files) -> Case {
        if let How::Alone { files, .. } = &mut self.how {
            *files = wanted;
        }
        self
    }

    fn of(mut self, one: &'static str, many: &'static str) -> Case {
        self.operation = Operation::new(one, many);
        self
    }

    fn of_mebibytes(mut self) -> Case {
        self.operation = Operation::MEBIBYTE;
        self
    }

    fn goal(mut self, metric: Metric, goal: Goal) -> Case {
        self.rows.push((metric, Some(goal)));
        self
    }

    fn show(mut self, metrics: &[Metric]) -> Case {
        for &metric in metrics {
            // A goal shows its metric already.
            if self.rows.iter().all(|(shown, _)| *shown != metric) {
                self.rows.push((metric, None));
            }
        }
        self
    }

    fn count(mut self, counting: impl Into<String>) -> Case {
        self.counting = counting.into();
        self.show(&[Metric::SystemCalls, Metric::Allocations])
    }

    fn latencies(mut self) -> Case {
        self.draws_latencies = true;
        self.show(&Metric::LATENCIES)
    }

    /// Marks a case that takes long: a quick run leaves out the peers that have no goal.
    fn slow(mut self, scale: Scale) -> Case {
        self.peers = scale.pick(self.peers, &Peer::MAIN);
        self
    }

    fn takes(mut self, seconds: f64) -> Case {
        self.about_seconds = seconds;
        self
    }
}

const LIBUV: Peer = Peer::Libuv;
const RAW: Against = Against::Peer(Peer::Raw);

/// Returns every workload in every size.
pub fn cases(scale: Scale) -> Vec<Case> {
    let mut cases = echo(scale);
    cases.extend(servers(scale));
    cases.extend(clients(scale));
    cases.extend(timers(scale));
    cases.extend(threads(scale));
    cases.extend(files(scale));
    cases.extend(memory(scale));
    cases
}

/// The name and the description of every workload.
pub const WORKLOADS: &[(&str, &str)] = &[
    ("echo", "A server sends every byte back. Each connection has one message of 64 bytes in flight."),
    ("ping-pong", "Echo with a single connection: how long one message takes there and back."),
    ("pipelined", "Packets of 16 requests of 64 bytes. The response to each is a write of its own."),
    ("broadcast", "Bursts of 20 messages of 64 bytes, each written to each of the streams."),
    ("pound", "A server accepts, reads two bytes and closes. Its clients repeat that."),
    ("connect", "The client's side of `pound`: connect, write, read until EOF, close, repeat."),
    ("write_batch", "Writes of 13 bytes, issued all at once, each a request of its own; then a shutdown."),
    ("pump", "One write outstanding on each connection, issued again from its callback."),
    ("timers", "One-shot timers, 1000 due in each millisecond: started, fired, freed."),
    ("timer_churn", "Timers are running. Random ones are restarted (9 of 10), or closed and replaced."),
    ("loop_count", "An idle handle counts the turns of the loop."),
    ("hooks", "Turns of the loop with many idle, prepare and check handles."),
    ("start_up", "Make a loop, run one timer, drop the loop."),
    ("async_pummel", "Threads wake one handle as fast as they can."),
    ("million_async", "A thread wakes random handles out of a million."),
    ("post", "Threads post values of 8 bytes to the loop's thread."),
    ("queue_work", "Tiny jobs for the thread pool, each queued again from its after-work callback."),
    ("read_files", "Open, read 4 KiB and close small files, 64 of them, all cached."),
    ("fs_stat", "The metadata of the current directory."),
    ("read_big", "A file read in blocks of 64 KiB from the page cache."),
    ("read_uncached", "A file read in blocks of 64 KiB from the disk."),
    ("write_big", "A new file written in blocks of 64 KiB."),
    ("memory", "Heap bytes per timer, per idle handle and per idle connection."),
];

fn echo(scale: Scale) -> Vec<Case> {
    let echo = |size: &str, client: &str| {
        Case::served(scale, "echo", size, "echo", client).of("message", "messages")
    };
    let cpu_like_raw = |case: Case| case.goal(Metric::Cpu, at_most(1.05, RAW));
    let mut cases = vec![];
    for connections in [1u32, 50, 1000, 8000] {
        let size = format!("{} connection{}", grouped(connections), if connections == 1 { "" } else { "s" });
        let mut case = cpu_like_raw(echo(&size, &format!("echo conns={connections}")));
        if connections >= 50 {
            case = case.goal(Metric::Cpu, better(1.5, LIBUV));
        }
        case.draws_latencies = connections <= 1000;
        if connections > 1000 {
            case = case.slow(scale);
        }
        cases.push(
            case.show(&[Metric::Throughput])
                .show(&Metric::LATENCIES)
                .count(scale.pick(4000, 1000).max(connections).to_string()),
        );
    }
    let mut idle = echo("50 busy, 10,000 idle", "echo conns=50 idle=10000")
        .goal(Metric::Cpu, at_most(1.05, Against::Baseline))
        .show(&[Metric::Throughput])
        .show(&Metric::LATENCIES)
        .takes(scale.seconds() + 1.0)
        .slow(scale);
    idle.baseline = Some(("conns=50 idle=0".to_owned(), "without idle"));
    cases.push(idle);

    let ping_pong =
        |size: &str| Case::served(scale, "ping-pong", size, "echo", "echo conns=1").of("message", "messages");
    cases.push(
        ping_pong("1 connection")
            .goal(Metric::P50, at_most(1.0, RAW))
            .latencies()
            .show(&[Metric::Throughput, Metric::Cpu]),
    );
    let mut busy =
        ping_pong("1 connection, busy-poll of 50 µs").goal(Metric::P50, at_most(0.6, RAW)).latencies();
    busy.ringback_arguments = "busy_poll_us=50";
    busy.peers = &[Peer::Ringback, Peer::Raw];
    cases.push(busy.show(&[Metric::Throughput, Metric::Cpu]));
    cases
}

fn servers(scale: Scale) -> Vec<Case> {
    let pound = |connections: u32| {
        let client = format!("pound conns={connections}");
        Case::served(scale, "pound", format!("{} clients", grouped(connections)), "pound", &client)
            .of("connection", "connections")
            .goal(Metric::Cpu, better(1.3, LIBUV))
            .show(&[Metric::Throughput])
            .show(&Metric::LATENCIES)
            .count(scale.pick("3000", "1000"))
    };
    vec![
        Case::served(scale, "pipelined", "50 connections × 16", "pipelined", "pipelined conns=50")
            .of("request", "requests")
            .goal(Metric::Cpu, better(9.0, LIBUV))
            .show(&[Metric::Throughput])
            .show(&Metric::LATENCIES)
            .count(scale.pick("16000", "4000")),
        Case::served(
            scale,
            "broadcast",
            "1,000 streams × 20",
            "broadcast streams=1000",
            "broadcast streams=1000",
        )
        .of("message", "messages")
        .goal(Metric::Cpu, better(8.0, LIBUV))
        .show(&[Metric::Throughput])
        .show(&Metric::LATENCIES)
        .count(scale.pick("40000", "20000"))
        .slow(scale),
        pound(100),
        pound(1000).slow(scale),
    ]
}

fn clients(scale: Scale) -> Vec<Case> {
    let seconds = scale.seconds();
    let connect = |connections: u32| {
        let arguments = format!("connect conns={connections} seconds={seconds}");
        Case::facing("connect", format!("{} clients", grouped(connections)), "pound", arguments)
            .of("connection", "connections")
            .goal(Metric::Cpu, better(1.3, LIBUV))
            .show(&[Metric::Throughput])
            .count("seconds=0.2")
            .takes(seconds + 0.1)
    };
    let pump = |connections: u32, kibibytes: u32| {
        let bytes = kibibytes * 1024;
        let arguments = format!("pump conns={connections} bytes={bytes} seconds={seconds}");
        let size = format!(
            "{connections} connection{}, {kibibytes} KiB writes",
            if connections == 1 { "" } else { "s" }
        );
        Case::facing("pump", size, "sink", arguments)
            .of_mebibytes()
            .goal(Metric::Throughput, better(1.0, LIBUV))
            .goal(Metric::Throughput, better(0.95, Peer::Raw))
            .show(&[Metric::Cpu])
            .count("seconds=0.2")
            .takes(seconds + 0.1)
    };
    let writes: u32 = scale.pick(1_000_000, 100_000);
    vec![
        connect(100),
        connect(1000).slow(scale),
        Case::facing(
            "write_batch",
            format!("{} writes", grouped(writes)),
            "sink",
            format!("write_batch count={writes}"),
        )
        .of("write", "writes")
        .goal(Metric::Throughput, better(10.0, LIBUV))
        .show(&[Metric::Cpu])
        .count("count=20000")
        .takes(scale.pick(1.0, 0.15)),
        pump(1, 8),
        pump(100, 8),
        pump(1, 256),
        pump(100, 256),
    ]
}

fn timers(scale: Scale) -> Vec<Case> {
    let timers: u32 = scale.pick(10_000_000, 500_000);
    let running: u32 = scale.pick(1_000_000, 200_000);
    let churn: u32 = scale.pick(5_000_000, 500_000);
    let turns: u32 = scale.pick(2_000_000, 500_000);
    let hook_turns: u32 = scale.pick(300, 50);
    let loops: u32 = scale.pick(20_000, 3000);
    vec![
        Case::alone("timers", grouped(timers), format!("timers count={timers}"))
            .of("timer", "timers")
            .goal(Metric::Cpu, better(4.0, LIBUV))
            .count(scale.pick("count=50000", "count=10000"))
            .takes(scale.pick(13.0, 0.6)),
        Case::alone(
            "timer_churn",
            format!("{} running", grouped(running)),
            format!("timer_churn count={running} ops={churn}"),
        )
        .of("change", "changes")
        .goal(Metric::Cpu, better(4.0, LIBUV))
        .goal(Metric::HeapGrowth, at_most(1.05, Against::Itself))
        .count("count=10000 ops=100000")
        .takes(scale.pick(4.0, 0.3)),
        Case::alone("loop_count", format!("{} turns", grouped(turns)), format!("loop_count count={turns}"))
            .of("turn", "turns")
            .goal(Metric::Cpu, better(1.3, LIBUV))
            .show(&[Metric::Throughput])
            .count(scale.pick("count=50000", "count=10000"))
            .takes(scale.pick(0.8, 0.2)),
        Case::alone("hooks", "10,000 of each", format!("hooks handles=10000 turns={hook_turns}"))
            .of("callback", "callbacks")
            .goal(Metric::Cpu, better(1.3, LIBUV))
            .show(&[Metric::Throughput])
            .count("handles=10000 turns=20")
            .takes(0.3),
        Case::alone("start_up", format!("{} loops", grouped(loops)), format!("start_up count={loops}"))
            .of("loop", "loops")
            .goal(Metric::Cpu, better(2.0, LIBUV))
            .show(&[Metric::Throughput])
            .count(scale.pick("count=1000", "count=300"))
            .takes(0.3),
    ]
}

fn threads(scale: Scale) -> Vec<Case> {
    let calls: u32 = scale.pick(1_000_000, 100_000);
    let posts: u32 = scale.pick(2_000_000, 300_000);
    let handles: u32 = scale.pick(1_048_576, 131_072);
    let jobs: u32 = scale.pick(200_000, 20_000);
    let seconds = scale.seconds();
    let from_threads = |count: u32| format!("{count} thread{}", if count == 1 { "" } else { "s" });
    let mut cases = vec![];
    for threads in [1, 4] {
        let arguments = format!("async_pummel threads={threads} count={calls}");
        cases.push(
            Case::threaded("async_pummel", from_threads(threads), arguments)
                .of("callback", "callbacks")
                .goal(Metric::Throughput, better(2.0, LIBUV))
                .show(&[Metric::Cpu])
                .count("count=10000")
                .takes(scale.pick(2.0, 0.3))
                .slow(scale),
        );
    }
    cases.push(
        Case::threaded(
            "million_async",
            format!("{} handles", grouped(handles)),
            format!("million_async handles={handles} seconds={seconds}"),
        )
        .of("callback", "callbacks")
        .goal(Metric::Throughput, better(2.0, LIBUV))
        .show(&[Metric::Cpu])
        .count("handles=10000 seconds=0.2")
        .takes(seconds + 0.2),
    );
    for threads in [1, 4] {
        cases.push(
            Case::threaded("post", from_threads(threads), format!("post threads={threads} count={posts}"))
                .of("value", "values")
                .goal(Metric::Throughput, better(2.0, LIBUV))
                .show(&[Metric::Cpu])
                .count("count=100000")
                .takes(scale.pick(0.8, 0.2)),
        );
    }
    for (depth, goal) in [(1, 1.5), (64, 2.0)] {
        let arguments = format!("queue_work depth={depth} count={jobs}");
        cases.push(
            Case::threaded("queue_work", format!("{depth} in flight"), arguments)
                .of("job", "jobs")
                .goal(Metric::Throughput, better(goal, LIBUV))
                .show(&[Metric::Cpu])
                .count("count=10000")
                .takes(scale.pick(2.0, 0.3))
                .slow(scale),
        );
    }
    cases
}

const BLOCK: u32 = 64 * 1024;

fn files(scale: Scale) -> Vec<Case> {
    let reads: u32 = scale.pick(200_000, 10_000);
    let stats: u32 = scale.pick(200_000, 20_000);
    let bytes: u64 = scale.pick(1 << 30, 1 << 28);
    let mut cases = vec![];
    for (depth, goal) in [(1, 10.0), (32, 3.0)] {
        let arguments = format!("read_files depth={depth} count={reads}");
        cases.push(
            Case::threaded("read_files", format!("cached, {depth} in flight"), arguments)
                .with_files(Files::Small)
                .of("file", "files")
                .goal(Metric::Throughput, better(goal, LIBUV))
                .show(&[Metric::Cpu])
                .count(scale.pick("count=3000", "count=1000"))
                .takes(scale.pick(4.0, 0.3)),
        );
    }
    for depth in [1, 32] {
        let arguments = format!("fs_stat depth={depth} count={stats}");
        cases.push(
            Case::threaded("fs_stat", format!("{depth} in flight"), arguments)
                .of("file", "files")
                .goal(Metric::Throughput, better(1.0, LIBUV))
                .show(&[Metric::Cpu])
                .count(scale.pick("count=5000", "count=1000"))
                .takes(scale.pick(2.0, 0.3)),
        );
    }
    let big = |workload: &'static str, depth: u32, arguments: &str, files: Files| {
        let size = format!("{} MiB, {depth} in flight", bytes >> 20);
        let case = Case::threaded(workload, size, format!("{arguments} block={BLOCK} depth={depth}"))
            .with_files(files)
            .of_mebibytes()
            .goal(Metric::Throughput, better(1.0, LIBUV))
            .show(&[Metric::Cpu])
            .takes(scale.pick(1.0, 0.2));
        // The counts do not depend on where the blocks come from.
        if workload == "read_uncached" { case } else { case.count("wait=1") }
    };
    for depth in [1, 4] {
        cases.push(big("read_big", depth, "read_big", Files::Big { bytes, cached: true }));
        cases.push(big("read_uncached", depth, "read_big", Files::Big { bytes, cached: false }));
        cases.push(big("write_big", depth, &format!("write_big bytes={bytes}"), Files::Written));
    }
    cases.sort_by_key(|case| WORKLOADS.iter().position(|(name, _)| *name == case.workload));
    cases
}

fn memory(scale: Scale) -> Vec<Case> {
    let handles: u32 = scale.pick(1_000_000, 100_000);
    let connections: u32 = scale.pick(10_000, 8000);
    let light_as_libuv = |case: Case| case.goal(Metric::HeapBytes, better(1.0, LIBUV));
    let weighed = |what: &'static str, arguments: &str| {
        let size = format!("{} {what}s", grouped(handles));
        light_as_libuv(Case::alone("memory", size, format!("{arguments} count={handles}")).of(what, what))
    };
    let served = Case::new(
        "memory",
        format!("{} idle connections", grouped(connections)),
        How::Weighed { connections: connections.into() },
        format!("weigh_conns conns={connections}"),
    );
    vec![
        weighed("timer", "weigh_timers"),
        weighed("idle handle", "weigh_idles"),
        light_as_libuv(served.of("connection", "connections")),
    ]
}

/// A curve: how cost grows with size.
pub struct Curve {
    /// The name that `--only` takes.
    pub name: &'static str,
    pub title: String,
    pub across: &'static str,
    pub metric: Metric,
    /// Each is a size, and the case to run there.
    pub points: Vec<(f64, Case)>,
}

pub const CURVES: &[(&str, &str)] = &[
    ("growth_connections", "Cost of an echoed message over the number of connections."),
    ("growth_timers", "Cost of a timer over their number."),
    ("growth_handles", "Cost of a handle's life over their number, for each kind."),
    ("growth_writes", "Cost of a write over the bytes that are queued."),
    ("growth_jobs", "Cost of a job over the number of jobs in flight."),
];

/// Returns numbers between two powers of ten, `steps` for each decade.
fn decades(from: i32, to: i32, steps: i32) -> Vec<u64> {
    let exponents = (from * steps..=to * steps).map(|step| f64::from(step) / f64::from(steps));
    exponents.map(|exponent| 10f64.powf(exponent).round() as u64).collect()
}

/// Returns a case for each size, run by ringback and the peers that have goals.
fn points(sizes: Vec<u64>, case: impl Fn(u64) -> Case) -> Vec<(f64, Case)> {
    let case = |size: u64| Case { peers: &Peer::MAIN, ..case(size) };
    sizes.into_iter().map(|size| (size as f64, case(size))).collect()
}

pub fn curves(scale: Scale) -> Vec<Curve> {
    let steps = scale.pick(2, 1);
    let mut curves = vec![
        Curve {
            name: "growth_connections",
            title: "echo".to_owned(),
            across: "connections",
            metric: Metric::Cpu,
            points: points(decades(1, 4, steps), |count| {
                Case::served(scale, "echo", grouped(count), "echo", &format!("echo conns={count}"))
                    .of("message", "messages")
            }),
        },
        Curve {
            name: "growth_timers",
            title: "timers".to_owned(),
            across: "timers",
            metric: Metric::Cpu,
            points: points(decades(3, scale.pick(7, 5), steps), |count| {
                Case::alone("timers", grouped(count), format!("timers count={count}"))
                    .of("timer", "timers")
                    .takes(0.1 + count as f64 * 1.2e-6)
            }),
        },
        Curve {
            name: "growth_writes",
            title: "write_batch".to_owned(),
            across: "bytes queued",
            metric: Metric::Time,
            points: points(decades(3, scale.pick(7, 5), steps), |count| {
                Case::facing("write_batch", grouped(count), "sink", format!("write_batch count={count}"))
                    .of("write", "writes")
                    .takes(0.1 + count as f64 * 0.8e-6)
            })
            .into_iter()
            .map(|(count, case)| (count * 13.0, case))
            .collect(),
        },
        Curve {
            name: "growth_jobs",
            title: "queue_work".to_owned(),
            across: "jobs in flight",
            metric: Metric::Time,
            points: points(decades(2, scale.pick(6, 5), steps), |count| {
                let arguments = format!("queue_work depth={count} count={count}");
                Case::threaded("queue_work", grouped(count), arguments)
                    .of("job", "jobs")
                    .takes(0.05 + count as f64 * 4e-6)
            }),
        },
    ];
    curves.extend(handle_curves(scale));
    curves
}

/// Returns a curve for the life of a handle, for every kind that libuv has, too.
fn handle_curves(scale: Scale) -> [Curve; 5] {
    ["timer", "idle", "prepare", "check", "wake"].map(|kind| Curve {
        name: "growth_handles",
        title: format!("handles: {kind}"),
        across: "handles",
        metric: Metric::Cpu,
        points: points(decades(2, scale.pick(6, 5), 1), |count| {
            Case::alone("handles", grouped(count), format!("handles kind={kind} count={count}"))
                .of("handle", "handles")
                .takes(0.05 + count as f64 * 1e-6)
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_belongs_to_a_described_workload() {
        for quick in [false, true] {
            let scale = Scale { quick };
            for case in cases(scale) {
                assert!(WORKLOADS.iter().any(|(name, _)| *name == case.workload), "{}", case.workload);
                assert!(case.rows.iter().any(|(_, goal)| goal.is_some()), "{} has no goal", case.workload);
            }
            for (name, _) in CURVES {
                assert!(curves(scale).iter().any(|curve| curve.name == *name), "{name}");
            }
        }
    }

    #[test]
    fn decades_are_in_even_steps() {
        assert_eq!(decades(1, 2, 2), [10, 32, 100]);
        assert_eq!(decades(3, 5, 1), [1000, 10_000, 100_000]);
    }
}
