//! Real faults: what a system and its peers do to a program, done to the examples as they are built and to loops in
//! processes of their own, and what must hold after each.
//!
//! ```text
//! cargo test                                           # builds the examples, and has the short form of this
//! SEED=123 cargo test --test faults                    # the same again, as far as the system plays along
//! cargo build --release --examples
//! cargo test --release --test faults -- --ignored --nocapture     # the long form; MINUTES=n, else 2
//! ```
//!
//! Each says on the standard error what was tried and what it came to. There are no assertions on times, but for
//! guards against waiting for ever: delays are compared with those of the same run, before the fault.
#![cfg(target_os = "linux")]

mod clock;
mod crowd;
mod descriptors;
mod fork;
mod interrupt;
mod kill;
mod malformed;
mod memory;
mod parts;
mod slow;
mod stopped;
mod witness;

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
