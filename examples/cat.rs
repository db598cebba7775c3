//! Concatenates files to standard output.
//!
//!     cargo run --release --example cat Cargo.toml LICENSE-MIT
//!
//! A worker writes each block while the next one is read, so a slow output does not block the loop. A file
//! that cannot be read is reported and skipped; the exit status is then 1. Pipes have no offsets to read at.

use std::{collections::VecDeque, io, io::Write, path::PathBuf, process::ExitCode};

use ringback::{Kind, Loop, Result, fs::File, work};

#[derive(Default)]
struct Cat {
    paths: VecDeque<PathBuf>,
    /// The open file, and the offset of its next block.
    file: Option<(File, u64)>,
    /// An open or a read is in flight.
    reading: bool,
    /// The block to write next.
    block: Option<Vec<u8>>,
    writing: bool,
    failed: bool,
}

impl Cat {
    /// Starts the next operations. One read and one write at a time keep the output in order.
    fn advance(&mut self, lp: &mut Loop<Cat>) -> Result {
        if !self.writing {
            self.write_block(lp)?;
        }
        if !self.reading && self.block.is_none() {
            self.read_block(lp)?;
        }
        Ok(())
    }

    fn write_block(&mut self, lp: &mut Loop<Cat>) -> Result {
        let Some(block) = self.block.take() else { return Ok(()) };
        self.writing = true;
        let write = move || io::stdout().write_all(&block).and_then(|()| io::stdout().flush());
        work::run(lp, write, |lp, cat: &mut Cat, written| {
            written??; // The worker may have panicked, and the write may have failed.
            cat.writing = false;
            cat.advance(lp)
        })?;
        Ok(())
    }

    fn read_block(&mut self, lp: &mut Loop<Cat>) -> Result {
        let Some((file, offset)) = self.file else { return self.open_next(lp) };
        self.reading = true;
        file.read_at(lp, offset, Vec::with_capacity(64 << 10), move |lp, cat, block| {
            let block = block?;
            cat.reading = false;
            if block.is_empty() {
                cat.file = None;
                file.close(lp);
            } else {
                cat.file = Some((file, offset + block.len() as u64));
                cat.block = Some(block);
            }
            cat.advance(lp)
        })?;
        Ok(())
    }

    fn open_next(&mut self, lp: &mut Loop<Cat>) -> Result {
        let Some(path) = self.paths.pop_front() else { return Ok(()) };
        self.reading = true;
        File::open(lp, path, |lp, cat: &mut Cat, file| {
            cat.file = Some((file?, 0));
            cat.reading = false;
            cat.advance(lp)
        })?;
        Ok(())
    }
}

fn main() -> Result<ExitCode> {
    let mut lp = Loop::new()?;
    lp.on_failure(|lp, cat: &mut Cat, failure| {
        if failure.origin.kind == Kind::Work {
            return Err(failure.error); // The write failed: `run` returns the error.
        }
        eprintln!("cat: {}", failure.error);
        (cat.file, cat.reading, cat.failed) = (None, false, true);
        cat.advance(lp)
    });

    let mut cat = Cat { paths: std::env::args_os().skip(1).map(PathBuf::from).collect(), ..Cat::default() };
    cat.advance(&mut lp)?;
    if let Err(error) = lp.run(&mut cat) {
        // A broken pipe is no error: in `cat FILE | head`, the reader has seen enough.
        if error.io_kind() != Some(io::ErrorKind::BrokenPipe) {
            eprintln!("cat: standard output: {error}");
            cat.failed = true;
        }
    }
    Ok(ExitCode::from(u8::from(cat.failed)))
}
