//! A run of the suite, from start to end.

use std::time::{Duration, Instant};

use crate::{
    counting::Counter,
    document::Document,
    files::Scratch,
    growth, header, interrupt,
    metric::Peer,
    options::{Options, target},
    progress::Progress,
    rounds,
    rows::{self, Counted},
    run::{Bench, Cores, Failure, Side},
    suite::{self, CURVES, Case, Curve, Scale, WORKLOADS},
};

/// Why there is no document.
pub enum Stop {
    Failed(String),
    /// A peer cannot be started.
    NoPeer(String),
}

impl Stop {
    pub fn status(&self) -> u8 {
        match self {
            Stop::Failed(_) => 1,
            Stop::NoPeer(_) => 2,
        }
    }

    pub fn reason(&self) -> &str {
        let (Stop::Failed(reason) | Stop::NoPeer(reason)) = self;
        reason
    }
}

/// The parts of the suite to run.
struct Plan {
    cases: Vec<Case>,
    curves: Vec<Curve>,
}

impl Plan {
    fn new(options: &Options, scale: Scale) -> Result<Plan, String> {
        let names = || WORKLOADS.iter().chain(CURVES).map(|(name, _)| *name);
        for only in &options.only {
            if !names().any(|name| name == only) {
                let names: Vec<&str> = names().collect();
                return Err(format!("no workload {only}; the workloads are: {}", names.join(", ")));
            }
        }
        let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
        let mut plan = Plan { cases: suite::cases(scale), curves: suite::curves(scale) };
        plan.cases.retain(|case| wanted(case.workload));
        plan.curves.retain(|curve| wanted(curve.name) && !options.no_growth);
        Ok(plan)
    }

    fn progress(&self, scale: Scale, pairs: usize) -> Progress {
        let paired = |case: &Case| {
            let rounds = |side: &Side| scale.rounds_of(side.peer(), pairs);
            case.about_seconds * rounds::sides(case).iter().map(rounds).sum::<usize>() as f64
        };
        let counted = |case: &Case| (counted_peers(case, scale).len() as f64) * COUNTING_SECONDS;
        let cases: f64 = self.cases.iter().map(|case| paired(case) + counted(case)).sum();
        let curves: f64 = self.curves.iter().map(|curve| growth::expected_seconds(scale, curve)).sum();
        Progress::new(self.cases.len() + self.curves.len(), cases + curves)
    }
}

/// The estimated seconds to count what one peer does.
const COUNTING_SECONDS: f64 = 0.5;

fn counted_peers(case: &Case, scale: Scale) -> Vec<Peer> {
    let wanted: &[Peer] = scale.pick(&Peer::ALL, &Peer::MAIN);
    let peers = wanted.iter().filter(|peer| case.peers.contains(peer) && !case.counting.is_empty());
    peers.copied().collect()
}

/// Everything that measuring a case needs.
struct Session {
    scale: Scale,
    pairs: usize,
    bench: Bench,
    counter: Counter,
    progress: Progress,
    document: Document,
}

pub fn measure(options: &Options) -> Result<Document, Stop> {
    let begun = Instant::now();
    let scale = Scale { quick: options.quick };
    let pairs = options.pairs.map_or(scale.pairs(), usize::from);
    let plan = Plan::new(options, scale).map_err(Stop::Failed)?;
    let bench = bench(options, scale).map_err(Stop::Failed)?;
    interrupt::listen();
    let counter = Counter::find();
    let header = header::header(&bench, &counter, scale, pairs);
    let header = header.map_err(|failure| Stop::NoPeer(failure.to_string()))?;
    let document = Document { header, rows: vec![], curves: vec![], latencies: vec![], failures: vec![] };
    let progress = plan.progress(scale, pairs);
    let mut session = Session { scale, pairs, bench, counter, progress, document };
    session.run(&plan);
    if interrupt::requested() {
        return Err(Stop::Failed("interrupted".to_owned()));
    }
    session.document.header.took_seconds = begun.elapsed().as_secs_f64().round();
    Ok(session.document)
}

fn bench(options: &Options, scale: Scale) -> Result<Bench, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.parent().expect("a program is in a directory");
    Ok(Bench {
        programs: options.programs.clone().unwrap_or_else(|| beside.to_owned()),
        scratch: Scratch::new(&target()),
        cores: Cores::find(),
        limit: Duration::from_secs(scale.pick(180, 60)),
    })
}

impl Session {
    fn run(&mut self, plan: &Plan) {
        if self.bench.cores.peer == self.bench.cores.driver {
            self.progress.print("only one core: servers share it with clients, so the figures mean little");
        }
        for case in &plan.cases {
            self.progress.part(format!("{} {}", case.workload, case.size));
            self.measure_case(case);
        }
        for curve in &plan.curves {
            self.progress.part(format!("growth: {}", curve.title));
            let (grown, failures) = growth::measure(&self.bench, curve, self.scale, &mut self.progress);
            self.document.curves.push(grown);
            for failure in failures {
                self.note_failure(failure);
            }
        }
        self.progress.end();
    }

    fn measure_case(&mut self, case: &Case) {
        let measured = rounds::measure(&self.bench, case, self.scale, self.pairs, &mut self.progress);
        let mut counted = Counted::new();
        for peer in counted_peers(case, self.scale) {
            self.progress.run(&format!("counting · {}", peer.program()), COUNTING_SECONDS);
            // A peer that cannot be measured would only fail again.
            if !measured.failures.contains_key(&Side::Peer(peer)) && !interrupt::requested() {
                counted.insert(peer, self.counter.count(&self.bench, case, peer));
            }
        }
        let runs = measured.failures.iter().map(|(side, failure)| (side.peer(), failure, ""));
        let counts =
            counted.iter().filter_map(|(&peer, counts)| Some((peer, counts.as_ref().err()?, ", counting")));
        for (peer, failure, when) in runs.chain(counts) {
            if let Failure::Failed(reason) = failure {
                let run = format!("{} {}, {}{when}", case.workload, case.size, peer.program());
                self.note_failure(format!("{run}: {reason}"));
            }
        }
        self.document.rows.extend(rows::rows(case, &measured, &counted));
        self.document.latencies.extend(rows::latencies(case, &measured));
    }

    fn note_failure(&mut self, failure: String) {
        // What an interrupt ended did not fail.
        if !interrupt::requested() {
            self.progress.print(&format!("failed: {failure}"));
            self.document.failures.push(failure);
        }
    }
}
