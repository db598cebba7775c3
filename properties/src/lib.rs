//! Property tests of ringback's pure machines: random operations, each against a simple model.
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

#![cfg(test)]
// Each machine has more than the models use.
#![allow(dead_code)]

/// What `interest.rs` needs of the real thing.
mod backend {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Interest(pub(crate) u8);

    impl Interest {
        pub(crate) const NONE: Interest = Interest(0);
        pub(crate) const READ: Interest = Interest(1);
        pub(crate) const WRITE: Interest = Interest(2);
    }
}

#[path = "../../src/backend/native/interest.rs"]
mod interest;
#[path = "../../src/net"]
mod net {
    /// What `writer.rs` needs of the real thing, on the heap.
    pub(crate) mod pages {
        #[derive(Debug)]
        pub(crate) struct Pages(Vec<u8>);

        impl Pages {
            const SIZE: usize = 64 << 10;

            pub(crate) fn new() -> Pages {
                Pages(Vec::new())
            }

            pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
                let count = bytes.len().min(Pages::SIZE - self.0.len());
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
    }

    pub(crate) mod payload;
    pub(crate) mod writer;
}
#[path = "../../src/queue"]
mod queue {
    pub(crate) mod deadlines;
    pub(crate) mod rounds;
    mod wheel;
}

/// So many cases, unless `PROPTEST_CASES` says otherwise. What failed is printed, made as small as can be.
fn cases(cases: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => proptest::test_runner::Config { cases, ..config },
    }
}

mod deadlines_model;
mod interest_model;
mod rounds_model;
mod writer_model;
