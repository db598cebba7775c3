//! `cat`: every byte, and what it does about errors on either side.

use std::{io::Read, path::PathBuf, process::Stdio};

use tempfile::{TempDir, tempdir};

use crate::harness::{Process, command, run};

fn file(dir: &TempDir, name: &str, contents: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, contents).expect("the disk is not full");
    path
}

/// Bytes that are the same in every run, and nowhere periodic.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

#[test]
fn cat_prints_files_of_any_size_exactly() {
    let dir = tempdir().expect("a directory can be created");
    let lengths = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 3_000_000, 10];
    let all: Vec<Vec<u8>> = lengths.into_iter().map(noise).collect();
    let paths: Vec<_> = all.iter().enumerate().map(|(n, bytes)| file(&dir, &n.to_string(), bytes)).collect();
    let output = run("cat", &paths);
    assert!(output.status.success(), "{}", output.status);
    assert!(output.stdout == all.concat(), "{} bytes, or others", output.stdout.len());
    assert!(output.stderr.is_empty());
}

#[test]
fn cat_reports_unreadable_files_and_prints_the_others() {
    let dir = tempdir().expect("a directory can be created");
    let (first, last) = (file(&dir, "first", b"first\n"), file(&dir, "last", b"last"));
    let output = run("cat", &[&first, &dir.path().join("missing"), &dir.path().to_owned(), &last]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"first\nlast");
    let errors = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert!(errors.contains("missing") && errors.contains("irectory"), "{errors}");
}

#[test]
fn cat_exits_quietly_when_its_reader_is_gone() {
    let dir = tempdir().expect("a directory can be created");
    let path = file(&dir, "large", &noise(5_000_000));
    let mut command = command("cat");
    let mut process = Process::start(command.arg(path).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut beginning = [0; 10];
    let mut stdout = process.0.stdout.take().expect("stdout is piped");
    stdout.read_exact(&mut beginning).expect("cat prints");
    assert_eq!(beginning[..], noise(10)[..]);
    drop(stdout);
    assert_eq!(process.wait().code(), Some(0));
    assert_eq!(errors_of(&mut process), "");
}

#[cfg(target_os = "linux")]
#[test]
fn cat_reports_that_its_output_is_full() {
    let dir = tempdir().expect("a directory can be created");
    for length in [10, 1_000_000] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has one");
        let mut command = command("cat");
        command.arg(file(&dir, "some", &noise(length))).stdout(full).stderr(Stdio::piped());
        let mut process = Process::start(&mut command);
        assert_eq!(process.wait().code(), Some(1));
        let errors = errors_of(&mut process);
        assert!(errors.contains("No space left"), "{errors}");
    }
}

/// What a process that has exited wrote to its stderr.
fn errors_of(process: &mut Process) -> String {
    let mut errors = String::new();
    process.0.stderr.take().expect("stderr is piped").read_to_string(&mut errors).expect("stderr is UTF-8");
    errors
}
