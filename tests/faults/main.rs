//! Real faults: what the system and its peers can do to a program, and what must hold afterwards. They are
//! done to the examples as they are built, and to loops in processes of their own.
//!
//! ```text
//! cargo test                                   # builds the examples and runs the short form of these tests
//! SEED=123 cargo test --test faults            # the same random choices again, as far as the system allows
//! cargo build --release --examples
//! cargo test --release --test faults -- --ignored --nocapture     # the long form; MINUTES=n, 2 by default
//! ```
//!
//! Each test prints on stderr what it tried and what came of it. No test asserts an absolute time, except as
//! a guard against hanging: latencies are compared with those measured in the same run, before the fault.
#![cfg(target_os = "linux")]

mod churn;
mod clock;
mod fd_exhaustion;
mod fd_limit;
mod fork;
mod interrupt;
mod malformed;
mod memory;
mod probe;
mod sigkill;
mod sigstop;
mod slow;
mod subprocess;

#[allow(dead_code, reason = "shared with tests/stress, which needs all of it")]
#[path = "../stress/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with tests/stress, which needs all of it")]
#[path = "../common/random.rs"]
mod random;
#[path = "../stress/server.rs"]
mod server;
#[path = "../common/wait.rs"]
mod wait;
