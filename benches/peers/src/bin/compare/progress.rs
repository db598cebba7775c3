//! The progress, on standard error: one line that is overwritten on a terminal, and elsewhere one line for
//! each part.

use std::{
    io::{self, IsTerminal, Write},
    time::Instant,
};

use crate::format::about;

pub struct Progress {
    parts: usize,
    part: usize,
    what: String,
    /// The estimated seconds of what is done, and of everything.
    expected_done: f64,
    expected: f64,
    begun: Instant,
    is_terminal: bool,
}

impl Progress {
    pub fn new(parts: usize, expected_seconds: f64) -> Progress {
        Progress {
            parts,
            part: 0,
            what: String::new(),
            expected_done: 0.0,
            expected: expected_seconds,
            begun: Instant::now(),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Starts the next part.
    pub fn part(&mut self, what: String) {
        self.part += 1;
        self.what = what;
        if !self.is_terminal {
            eprintln!("[{}/{}] {} · {} left", self.part, self.parts, self.what, about(self.left()));
        }
    }

    /// Starts the next run of the part, which takes about so many seconds.
    pub fn run(&mut self, what: &str, seconds: f64) {
        let left = self.left();
        self.expected_done += seconds;
        if self.is_terminal {
            let line =
                format!("[{}/{}] {} · {what} · {} left", self.part, self.parts, self.what, about(left));
            let line: String = line.chars().take(width().saturating_sub(1)).collect();
            eprint!("\r\x1b[K{line}");
            let _ = io::stderr().flush();
        }
    }

    /// Prints a line that stays.
    pub fn print(&self, line: &str) {
        eprintln!("{}{line}", if self.is_terminal { "\r\x1b[K" } else { "" });
    }

    pub fn end(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }

    /// Returns the estimate of the remaining seconds, scaled by how long everything took so far.
    fn left(&self) -> f64 {
        // The first runs are not representative: until there are more, the estimate keeps some weight.
        let weight = 10.0;
        let pace = (self.begun.elapsed().as_secs_f64() + weight) / (self.expected_done + weight);
        (self.expected - self.expected_done).max(0.0) * pace
    }
}

/// Returns the number of the terminal's columns.
fn width() -> usize {
    // SAFETY: a size of all zeros is valid, and the pointer is to it.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &mut size);
        size
    };
    if size.ws_col == 0 { 100 } else { size.ws_col.into() }
}
