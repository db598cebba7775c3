//! Fuzz targets. Each is a function of bytes that panics if something is wrong.
//!
//! ```text
//! cargo test --manifest-path tests/fuzz/Cargo.toml        # replays corpus/, in seconds tests/fuzz/run 60
//! # fuzzes each target for a minute, and keeps what is new cargo +nightly fuzz run --fuzz-dir tests/fuzz
//! http      # fuzzes one target until it finds something cargo run --manifest-path tests/fuzz/Cargo.toml
//! --bin http FILE ...     # replays findings
//! ```
//!
//! The bytes decide everything: what a client sends and in which pieces, which operations are applied to a
//! queue, what programs do. So a finding is a file. Servers are those of `examples/`, unchanged, in a
//! simulated world. The models of containers and queues are those of `tests/properties/`, the programs and
//! their contract those of `tests/sim/`.
//!
//! The corpus is small on purpose: `tests/fuzz/run merge` keeps inputs that differ in what they reach.

pub mod chat;
pub mod http;
// The modules of `tests/sim/` refer to one another, and to `random`, by `crate::`.
#[allow(dead_code)]
#[path = "../../sim/contract.rs"]
mod contract;
mod machines;
#[allow(dead_code, unused_imports, clippy::result_large_err)]
#[path = "../../sim/model.rs"]
mod model;
mod network;
#[allow(dead_code, unused_imports)]
#[path = "../../sim/program/mod.rs"]
mod program;
pub mod programs;
mod random;

pub use machines::{deadlines, job_queue, mpsc, registrations, rounds, send_queue, table};

#[cfg(fuzzing)]
pub use libfuzzer_sys;

/// Runs with bytes. Panics if something is wrong.
pub type Target = fn(&[u8]);

/// All targets, by name.
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

/// Runs the target `name`.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.unwrap_or_else(|| panic!("no target is called {name}"));
    target(bytes);
}

/// Expands to the `main` of a target: a fuzzer under `cargo fuzz`, otherwise a program that replays files.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::run(stringify!($name), bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1).map(std::path::PathBuf::from) {
                $crate::run(stringify!($name), &std::fs::read(&path)?);
                println!("{}: ok", path.display());
            }
            Ok(())
        }
    };
}
