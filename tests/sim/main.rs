//! Programs in a simulated world. `cargo test --features sim --test sim`

mod both;
mod contract;
mod examples;
mod files;
mod kit;
mod model;
mod network;
mod program;
mod race;
#[allow(dead_code)]
#[path = "../common/random.rs"]
mod random;
mod system;
mod world;
