//! A peer's arguments, and its `main`.

use std::{
    collections::BTreeMap,
    error::Error,
    io::{self, Write},
    process::ExitCode,
    str::FromStr,
};

pub struct Arguments {
    pub workload: String,
    values: BTreeMap<String, String>,
}

impl Arguments {
    fn from_env() -> Result<Arguments, String> {
        let mut arguments = std::env::args().skip(1);
        let workload = arguments.next().ok_or("no workload given: see the documentation of this crate")?;
        let mut values = BTreeMap::new();
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or(format!("{argument}: expected key=value"))?;
            values.insert(key.to_owned(), value.to_owned());
        }
        Ok(Arguments { workload, values })
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Returns the value of `key`. Exits if there is none, or if it cannot be parsed.
    pub fn get<T: FromStr>(&self, key: &str) -> T {
        self.find(key).unwrap_or_else(|| quit(&format!("{}: {key}=… is missing", self.workload)))
    }

    pub fn get_or<T: FromStr>(&self, key: &str, default: T) -> T {
        self.find(key).unwrap_or(default)
    }

    fn find<T: FromStr>(&self, key: &str) -> Option<T> {
        let text = self.values.get(key)?;
        Some(text.parse().unwrap_or_else(|_| quit(&format!("{key}={text}: cannot be parsed"))))
    }

    /// Call this between the preparation and the operations. With `wait=1` it prints `ready` and waits for a
    /// line on stdin.
    pub fn ready(&self) {
        if self.get_or("wait", 0) != 0 {
            announce("ready");
            let _ = io::stdin().read_line(&mut String::new());
        }
    }
}

fn quit(reason: &str) -> ! {
    eprintln!("{reason}");
    std::process::exit(1)
}

/// The `main` of every peer: parses the arguments, pins the process, raises its descriptor limit, and runs
/// the workload.
pub fn main_of(run: impl FnOnce(&Arguments) -> Result<(), Box<dyn Error>>) -> ExitCode {
    let arguments = Arguments::from_env().unwrap_or_else(|reason| quit(&reason));
    crate::measure::die_with_parent();
    crate::measure::raise_descriptor_limit();
    if let Some(core) = arguments.find("core") {
        crate::measure::pin_to(core);
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", arguments.workload);
            ExitCode::FAILURE
        }
    }
}

/// Exits, because the peer does not have the workload.
pub fn missing(workload: &str) -> ! {
    eprintln!("{workload}: not in this peer");
    std::process::exit(3)
}

/// Prints the version of a library, from the lock file.
pub fn announce_locked_version(name: &str) {
    let lock = include_str!("../Cargo.lock");
    let mut lines =
        lock.lines().skip_while(|line| line.strip_prefix("name = ") != Some(&format!("\"{name}\"")));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    announce(&format!("version {name} {}", version.unwrap_or("unknown")));
}

/// Prints a line, such as `listening PORT` or `ready`, and flushes it.
pub fn announce(line: &str) {
    let mut out = io::stdout().lock();
    // If the reader is gone, the line does not matter.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
