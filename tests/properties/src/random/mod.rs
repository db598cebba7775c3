//! Random operations, made by proptest: what fails is printed, made as small as can be.

mod blocks;
mod deadlines;
mod ferry;
mod interest;
mod rounds;
mod table;
mod writer;

/// So many cases, unless `PROPTEST_CASES` says otherwise.
fn cases(cases: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config { failure_persistence: None, ..Default::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => proptest::test_runner::Config { cases, ..config },
    }
}
