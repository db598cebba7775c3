//! What a peer was asked.

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
        let workload = arguments.next().ok_or("which workload? see the documentation of this crate")?;
        let mut values = BTreeMap::new();
        for argument in arguments {
            let (key, value) =
                argument.split_once('=').ok_or(format!("{argument}: key=value is expected"))?;
            values.insert(key.to_owned(), value.to_owned());
        }
        Ok(Arguments { workload, values })
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The value of `key`; ends the process when there is none or it cannot be read.
    pub fn get<T: FromStr>(&self, key: &str) -> T {
        self.find(key).unwrap_or_else(|| quit(&format!("{}: {key}=… is needed", self.workload)))
    }

    pub fn get_or<T: FromStr>(&self, key: &str, default: T) -> T {
        self.find(key).unwrap_or(default)
    }

    fn find<T: FromStr>(&self, key: &str) -> Option<T> {
        let text = self.values.get(key)?;
        Some(text.parse().unwrap_or_else(|_| quit(&format!("{key}={text}: cannot be read"))))
    }
}

impl Arguments {
    /// All is prepared, the operations are next. With `wait=1`, says so and waits for a line.
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

/// The `main` of every peer in Rust: reads the arguments, sees to the core, the descriptors and the parent's death, and runs
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

/// For a workload that a peer does not have.
pub fn missing(workload: &str) -> ! {
    eprintln!("{workload}: not in this peer");
    std::process::exit(3)
}

/// Says the version of a library from the registry: the one in the lock file, which all was built with.
pub fn announce_locked_version(name: &str) {
    let lock = include_str!("../Cargo.lock");
    let mut lines =
        lock.lines().skip_while(|line| line.strip_prefix("name = ") != Some(&format!("\"{name}\"")));
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    announce(&format!("version {name} {}", version.unwrap_or("unknown")));
}

/// Says where a server listens (`listening PORT`), or that it is `ready`.
pub fn announce(line: &str) {
    let mut out = io::stdout().lock();
    // Who no longer listens will not mind.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
