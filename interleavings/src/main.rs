//! Models of the parts of ringback that cross threads. loom runs each of them again and again: in every order of the
//! threads' steps that can matter, and with every value that a load may see by the rules of the language, which
//! are looser than any processor here.
//!
//! ```text
//! cargo run --profile models -p ringback-interleavings             as CI does
//! cargo run --profile models -p ringback-interleavings -- long     with one more preemption each; `long long`, two
//! cargo run --profile models -p ringback-interleavings -- pool     those with `pool` in their names
//! scripts/check-interleavings                                      all, and what they notice
//! ```
//!
//! The loop's own files are included here by path. What they name of the crate around them has a stand-in; above all
//! `sync`, which has loom's atomics, locks and threads under the standard library's names.

// Each file has more than the models use.
#![allow(dead_code)]

/// What `bell.rs` needs of the real thing.
mod handle {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Key(pub(crate) u64);
}

/// What `pool.rs` needs of the real thing.
mod error {
    #[derive(Debug)]
    pub(crate) struct Error;
}

/// What `pool.rs` needs of the real thing.
mod backend {
    pub(crate) mod job {
        use crate::error::Error;

        pub(crate) enum Job {
            Call(Box<dyn FnOnce() + Send>),
            File,
        }

        #[derive(Debug)]
        pub(crate) struct Outcome;

        #[derive(Debug)]
        pub(crate) struct Done {
            pub(crate) token: u64,
            pub(crate) result: Result<Outcome, Error>,
        }

        pub(crate) fn call(task: Box<dyn FnOnce() + Send>) -> Result<Outcome, Error> {
            task();
            Ok(Outcome)
        }
    }
}

#[path = "../../src/backend/native"]
mod native {
    #[path = "../../../interleavings/src/alarm.rs"]
    mod alarm;
    mod apart;
    mod bell;
    mod blocks;
    mod ferry;
    mod mailbox;
    #[path = "../../../interleavings/src/models/mod.rs"]
    pub(crate) mod models;
    mod pool;
    #[path = "../../../interleavings/src/sync.rs"]
    mod sync;

    use bell::Bell;

    /// What `pool.rs` needs of the real thing.
    mod file {
        use crate::{
            backend::job::{Job, Outcome},
            error::Error,
        };

        pub(super) fn perform(_: Job) -> Result<Outcome, Error> {
            Ok(Outcome)
        }
    }
}

fn main() {
    native::models::run(std::env::args().skip(1));
}
