//! Programs in a simulated world. `cargo test --features sim --test sim`

mod examples;
mod files;
mod kit;
mod network;
mod race;
mod world;
