//! Behaviour, one subject a file. `semantics` is the contract; `stream` is what every byte stream does.

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with other test binaries, which need more of it")]
mod common;

mod channel;
mod close;
mod embed;
mod failure;
mod fs;
mod fs_paths;
mod hook;
mod inspect;
mod poll;
mod remote;
mod semantics;
mod signal;
mod stream;
mod tcp;
mod timer;
mod unix;
mod wake;
mod work;
