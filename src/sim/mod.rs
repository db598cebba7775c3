//! Deterministic simulation: the same programs, unchanged, in a world in memory. Time jumps, the network
//! fails on purpose, and a seed replays everything. Needs the feature `sim`.
//!
#![doc = include_str!("guide.md")]

mod check;
mod control;
mod files;
mod host;
mod link;
mod network;
mod program;
mod timeline;
mod world;

pub use check::check;
pub use files::Files;
pub use host::{AnyHost, Host};
pub use link::Link;
pub use timeline::Timeline;
pub use world::World;

pub use crate::backend::sim::FileOp;
