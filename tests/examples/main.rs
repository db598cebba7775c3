//! Runs the examples as programs, and checks that each does what its first page says.
//!
//! A plain `cargo test` builds the examples first. With `--test`, `--examples` or `--all-targets` cargo does
//! not, and these tests would run stale ones: call `cargo build --examples` before, in the same profile.
//!
//! `RUNNER` names a command that runs each example:
//!
//! ```text
//! RUNNER='valgrind -q --error-exitcode=99 --leak-check=full' cargo test --test examples
//! ```

mod cat;
mod chat;
mod graceful;
mod harness;
mod http;
mod servers;
mod standalone;
mod unix;
#[path = "../common/wait.rs"]
mod wait;
