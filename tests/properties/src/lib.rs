//! ringback's containers and queues, each against a simple model: random operations here, and those that a
//! fuzzer finds in `tests/fuzz/`.
//!
//! ```text
//! cargo test -p ringback-properties
//! PROPTEST_CASES=100000 cargo test --release -p ringback-properties deadlines
//! ```
//!
//! A crate of its own, so that plain `cargo test` does not have to compile proptest. What it tests is private
//! to ringback, so the files are included by path, in the modules that they have there. Their unit tests come
//! along and run twice.

// The files have more than the models use.
#![allow(dead_code, unused_imports, unused_macros)]

#[path = "../../../src/backend"]
mod backend {
    mod readiness;

    pub mod native {
        mod cache_padded;
        pub(crate) mod pages;
        mod sync;
        mod tuning;

        // Each of these queues is private to its folder, so its model is included beside it.
        pub mod wake {
            mod backoff;
            mod mpsc;
            #[path = "../../../../tests/properties/src/mpsc_model.rs"]
            pub mod mpsc_model;
        }
        pub mod pool {
            mod completions;
            mod job_queue;
            #[path = "../../../../tests/properties/src/job_queue_model.rs"]
            pub mod job_queue_model;
            mod node;
        }
        pub(crate) mod wait {
            pub(crate) mod registrations;
        }
    }

    pub(crate) use native::pages::PageBuf;
    pub(crate) use readiness::Interest;
}
#[path = "../../../src/handle"]
mod handle {
    pub(crate) mod flags;
    mod id;
    pub(crate) mod table;

    pub(crate) use id::{Handle, Key};
}
#[path = "../../../src/queue"]
mod queue {
    pub(crate) mod deadlines;
    pub(crate) mod rounds;
    pub(crate) mod send_queue;
    pub(crate) mod slots;
    mod wheel;
}

#[path = "../../../src/payload.rs"]
mod payload;
#[path = "../../../src/time.rs"]
mod time;

pub mod deadlines_model;
pub mod registrations_model;
pub mod rounds_model;
pub mod send_queue_model;
pub mod table_model;

pub use backend::native::{pool::job_queue_model, wake::mpsc_model};

#[cfg(test)]
mod random;
