//! What a fuzzer runs: each target is a function of bytes, which panics if something is wrong.
//!
//! ```text
//! cargo test --manifest-path fuzz/Cargo.toml              # replays what is in corpus/, in seconds
//! scripts/fuzz 60                                         # fuzzes each target for a minute, and keeps what is new
//! cargo +nightly fuzz run http                            # one of them, until it finds something
//! cargo run --manifest-path fuzz/Cargo.toml --bin http FILE ...     # replays a finding
//! ```
//!
//! The bytes say what happens: what a client sends and in which pieces, which operations are carried out on a queue,
//! what programs do. Nothing else does, so a finding is a file. Servers are those of `examples/`, as they are, in a simulated
//! world; the models that queues are compared with are those of `properties/`; programs are those of `tests/sim/`.
//!
//! The corpus is small on purpose: what `scripts/fuzz` grows is merged down to inputs that differ in what they reach.

pub mod chat;
pub mod http;
// What follows is included from `tests/sim/`, which says `crate::` of its own.
#[allow(dead_code)]
#[path = "../../tests/sim/contract.rs"]
mod contract;
mod machines;
#[allow(dead_code, unused_imports, clippy::result_large_err)]
#[path = "../../tests/sim/model.rs"]
mod model;
mod network;
#[allow(dead_code)]
#[path = "../../tests/sim/program.rs"]
mod program;
pub mod programs;
mod random;

pub use machines::{deadlines, job_queue, mpsc, registrations, rounds, send_queue, table};

#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// What is run with bytes. Panics if something is wrong.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("chat", chat::chat),
    ("deadlines", deadlines),
    ("http", http::http),
    ("job_queue", job_queue),
    ("mpsc", mpsc),
    ("programs", programs::programs),
    ("registrations", registrations),
    ("rounds", rounds),
    ("send_queue", send_queue),
    ("table", table),
];

/// Runs the target of that name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(bytes);
}

/// The program of a target: one that fuzzes if it is compiled for that, or else one that replays files.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::run(stringify!($name), bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1).map(std::path::PathBuf::from) {
                $crate::run(stringify!($name), &std::fs::read(&path)?);
                println!("nothing wrong with {}", path.display());
            }
            Ok(())
        }
    };
}
