//! Behaviour, in sentences. One binary, a file a subject; `semantics` is the contract.

mod channel;
mod close;
mod embed;
mod failure;
mod fs;
mod hook;
mod inspect;
mod poll;
mod remote;
mod semantics;
mod signal;
mod tcp;
mod timer;
mod wake;
mod work;
mod world;
