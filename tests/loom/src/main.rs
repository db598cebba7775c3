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

#[path = "../../../src/backend/native"]
mod native {
    mod cache_padded;
    #[path = "../../../tests/loom/src/models/mod.rs"]
    pub(crate) mod models;
    mod pool;
    #[path = "../../../tests/loom/src/sync.rs"]
    mod sync;
    mod wake {
        pub(super) mod mailbox;
        pub(super) mod mpsc;
        pub(super) mod notifier;
        #[path = "../../../../tests/loom/src/wake_fd.rs"]
        pub(super) mod wake_fd;

        pub(super) use notifier::Notifier;
    }

    /// What `pool` needs of the real thing.
    mod fs {
        pub(super) mod blocking {
            use crate::{
                backend::job::{Job, Outcome},
                error::Error,
            };

            pub(crate) fn perform(_: Job) -> Result<Outcome, Error> {
                Ok(Outcome)
            }
        }
    }
}

fn main() {
    native::models::run(std::env::args().skip(1));
}
