//! Programs in a simulated world. `cargo test --features sim --test sim`

mod atomic;
mod both;
mod contract;
mod examples;
mod files;
mod kit;
mod model;
mod network;
mod program;
mod race;
mod random;
mod supported;
mod system;
mod unix;
mod world;
