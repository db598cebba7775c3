//! The loop under load: many peers, many threads.
//!
//! ```text
//! cargo test --test stress                            # the quick version
//! SEED=123 cargo test --test stress                   # the same again, as far as the system repeats itself
//! cargo build --release --example echo_tcp
//! cargo test --release --test stress -- --ignored --nocapture     # the long version: minutes
//! ```
//!
//! Each test that makes random choices prints its seed; a failing test shows it.

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
