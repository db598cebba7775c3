//! Builds `c/counting.c`, the library that counts allocations, and passes its path to the programs in the
//! variable `RINGBACK_COUNTING_LIBRARY`. The path is empty where there is no glibc, whose allocations it
//! counts.

use std::{env, path::PathBuf};

const SOURCE: &str = "c/counting.c";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={SOURCE}");
    let library = match env::var("CARGO_CFG_TARGET_ENV").as_deref() {
        Ok("gnu") => build().display().to_string(),
        _ => String::new(),
    };
    println!("cargo:rustc-env=RINGBACK_COUNTING_LIBRARY={library}");
}

fn build() -> PathBuf {
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    let library = PathBuf::from(out).join("libringback_counting.so");
    // A compiler that knows what malloc means could turn one of these functions into a call of another.
    let flags = ["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fno-builtin"];
    let status = cc::Build::new()
        .get_compiler()
        .to_command()
        .args(flags)
        .arg(SOURCE)
        .arg("-o")
        .arg(&library)
        .status()
        .expect("there is a C compiler");
    assert!(status.success(), "{SOURCE} could not be built");
    library
}
