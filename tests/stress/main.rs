//! The loop under load, and under programs that make no sense.
//!
//! ```text
//! cargo test --test stress                            # the quick version
//! SEED=123 cargo test --test stress                   # the same again, as far as the system plays along
//! cargo build --release --example echo_tcp
//! cargo test --release --test stress -- --ignored --nocapture     # the long version: minutes
//! ```
//!
//! Each test prints the seed of what it did at random; a failing one shows it.

mod chaos;
mod client;
mod long;
mod quick;
#[path = "../common/random.rs"]
mod random;
#[allow(dead_code, reason = "shared with tests/faults, which needs all of it")]
mod server;
mod threads;
#[path = "../common/wait.rs"]
mod wait;
