//! Cat: files to standard output.
//!
//!     cargo run --release --example cat Cargo.toml LICENSE-MIT
//!
//! Prints the files one after the other. Each block is read while the one before it is written, on a
//! worker: however slowly it is taken, the loop is free. What cannot be read is said on standard error; the
//! others are printed all the same, and the status is 1.

use std::{collections::VecDeque, io, io::Write, path::PathBuf, process::ExitCode};

use ringback::{Kind, Loop, Result, fs::File, work};

#[derive(Default)]
struct Cat {
    paths: VecDeque<PathBuf>,
    /// What is open, and where to read on.
    file: Option<(File, u64)>,
    reading: bool,
    /// What was read and is not being written yet.
    full: Option<Vec<u8>>,
    writing: bool,
    spare: Vec<Vec<u8>>,
    failed: bool,
}

impl Cat {
    /// Begins what can be begun. One read and one write at a time, so that everything stays in order.
    fn go_on(&mut self, lp: &mut Loop<Cat>) -> Result {
        if let Some(block) = self.full.take_if(|_| !self.writing) {
            self.writing = true;
            let write =
                move || io::stdout().write_all(&block).and_then(|()| io::stdout().flush()).map(|()| block);
            work::run(lp, write, |lp, cat: &mut Cat, block| {
                cat.writing = false;
                cat.spare.push(block??);
                cat.go_on(lp)
            })?;
        }
        if self.reading || self.full.is_some() {
            return Ok(());
        }
        self.reading = true;
        if let Some((file, offset)) = self.file {
            let block = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(64 << 10));
            file.read_at(lp, offset, block, move |lp, cat, block| {
                let block = block?;
                cat.reading = false;
                cat.file = Some((file, offset + block.len() as u64));
                if block.is_empty() {
                    cat.file = None;
                    file.close(lp);
                } else {
                    cat.full = Some(block);
                }
                cat.go_on(lp)
            })?;
        } else if let Some(path) = self.paths.pop_front() {
            File::open(lp, path, |lp, cat: &mut Cat, file| {
                let file = file?;
                (cat.file, cat.reading) = (Some((file, 0)), false);
                cat.go_on(lp)
            })?;
        }
        Ok(())
    }
}

fn main() -> Result<ExitCode> {
    let mut lp = Loop::new()?;
    lp.on_failure(|lp, cat: &mut Cat, failure| {
        if failure.origin.kind == Kind::Work {
            return Err(failure.error); // Nowhere to write to: that is the end.
        }
        eprintln!("cat: {}", failure.error);
        (cat.file, cat.reading, cat.failed) = (None, false, true);
        cat.go_on(lp)
    });

    let mut cat = Cat { paths: std::env::args_os().skip(1).map(PathBuf::from).collect(), ..Cat::default() };
    cat.go_on(&mut lp)?;
    let result = lp.run(&mut cat).or_else(|error| match error.io_kind() {
        Some(io::ErrorKind::BrokenPipe) => Ok(()), // Whoever was reading has seen enough.
        _ => Err(error),
    });
    if let Err(error) = &result {
        eprintln!("cat: standard output: {error}");
    }
    Ok(ExitCode::from(u8::from(cat.failed || result.is_err())))
}
