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

/// What `interest.rs` needs of the real thing.
mod backend {
    #[derive(Debug)]
    pub(crate) struct PageBuf(Vec<u8>);

    impl PageBuf {
        const SIZE: usize = 64 << 10;

        pub(crate) fn new() -> PageBuf {
            PageBuf(Vec::new())
        }

        pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
            let count = bytes.len().min(PageBuf::SIZE - self.0.len());
            self.0.extend_from_slice(&bytes[..count]);
            count
        }

        pub(crate) fn bytes(&self) -> &[u8] {
            &self.0
        }

        pub(crate) fn clear(&mut self) {
            self.0.clear();
        }
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Interest(pub(crate) u8);

    impl Interest {
        pub(crate) const NONE: Interest = Interest(0);
        pub(crate) const READ: Interest = Interest(1);
        pub(crate) const WRITE: Interest = Interest(2);
    }
}

/// What `table.rs` needs of the real thing.
mod error {
    pub(crate) type Result<T> = std::result::Result<T, Error>;

    #[derive(Debug)]
    pub(crate) enum Error {
        Closed { op: &'static str },
        WrongLoop { op: &'static str },
    }
}

#[path = "../../../src/backend/native/wait/registrations.rs"]
mod registrations;
// The stand-in of an error costs nothing to make.
#[allow(clippy::unnecessary_lazy_evaluations)]
#[path = "../../../src/handle"]
mod handle {
    mod id;
    pub(crate) mod flags;
    pub(crate) mod table;

    pub(crate) use id::{Handle, Key};
}
#[path = "../../../src/backend/native"]
mod native {
    mod cache_padded;
    mod sync;

    // Each model is a neighbour of its queue, which has no names beyond its folder.
    pub mod wake {
        mod mpsc;
        #[path = "../../../../tests/properties/src/blocks_model.rs"]
        pub mod blocks_model;
    }
    pub mod pool {
        mod job_queue;
        #[path = "../../../../tests/properties/src/ferry_model.rs"]
        pub mod ferry_model;
    }
}
#[path = "../../../src/queue"]
mod queue {
    pub(crate) mod deadlines;
    pub(crate) mod rounds;
    pub(crate) mod send_queue;
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

pub use native::{pool::ferry_model, wake::blocks_model};

#[cfg(test)]
mod random;
