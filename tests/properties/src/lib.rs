//! ringback's pure machines, each against a simple model: random operations here, and those that a fuzzer finds in
//! `fuzz/`.
//!
//! ```text
//! cargo test -p ringback-properties
//! PROPTEST_CASES=100000 cargo test --release -p ringback-properties deadlines
//! ```
//!
//! A crate of its own, because proptest is a lot to compile for who only wants to test the loop. The
//! machines have no public names, so their files are included here by path; what they name of the crate
//! around them (`crate::backend::Interest`) has a stand-in, or is included, too. Their unit tests come
//! along and run twice: no harm.

// Each machine has more than the models use.
#![allow(dead_code, unused_imports, unused_macros)]

#[path = "../../../src/backend"]
mod backend {
    mod readiness;

    pub mod native {
        mod cache_padded;
        pub(crate) mod pages;
        mod sync;

        // Each of these queues is private to its folder, so its model is included beside it.
        pub mod wake {
            #[path = "../../../../tests/properties/src/blocks_model.rs"]
            pub mod blocks_model;
            mod mpsc;
        }
        pub mod pool {
            #[path = "../../../../tests/properties/src/ferry_model.rs"]
            pub mod ferry_model;
            mod job_queue;
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
pub mod interest_model;
pub mod rounds_model;
pub mod table_model;
pub mod writer_model;

pub use backend::native::{pool::ferry_model, wake::blocks_model};

#[cfg(test)]
mod random;
