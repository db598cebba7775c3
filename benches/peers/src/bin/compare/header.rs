//! The head of the report: the machine, the versions, and the settings.

use std::{fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

use crate::{
    counting::Counter,
    metric::Peer,
    run::{Attempt, Bench, failed},
    suite::Scale,
};

#[derive(Clone, Serialize, Deserialize)]
pub struct Header {
    pub date: String,
    pub ringback: String,
    pub commit: String,
    /// The name and the version of each peer.
    pub peers: Vec<(String, String)>,
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    pub memory: String,
    pub compiler: String,
    pub profile: String,
    pub strace: String,
    pub mode: String,
    pub pairs: usize,
    pub window_seconds: f64,
    pub took_seconds: f64,
}

/// Collects the facts. Fails if a peer cannot be started.
pub fn header(bench: &Bench, counter: &Counter, scale: Scale, pairs: usize) -> Attempt<Header> {
    let mut peers = Vec::new();
    for peer in Peer::ALL {
        peers.push((peer.program().to_owned(), version(bench, peer)?));
    }
    Ok(Header {
        date: date(),
        ringback: peers[0].1.clone(),
        commit: commit(),
        peers,
        kernel: read("/proc/sys/kernel/osrelease")
            .map_or("unknown".to_owned(), |text| format!("Linux {}", text.trim())),
        cpu: field("/proc/cpuinfo", "model name").unwrap_or("unknown".to_owned()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory: memory(),
        compiler: output(Command::new("rustc").arg("--version")).unwrap_or("unknown".to_owned()),
        profile: profile(include_str!("../../../Cargo.toml")),
        strace: counter.strace.clone().unwrap_or_else(|reason| format!("not counted: {reason}")),
        mode: scale.pick("full", "quick").to_owned(),
        pairs,
        window_seconds: scale.seconds(),
        took_seconds: 0.0,
    })
}

fn version(bench: &Bench, peer: Peer) -> Attempt<String> {
    let of_peer = |failure| failed(format!("{} cannot be started: {failure}", peer.program()));
    let mut process = bench.start(&mut bench.command(peer.program(), "version"))?;
    let text = process.expect("version").map_err(of_peer)?;
    // The line begins with the name.
    let version = text.strip_prefix(peer.program()).unwrap_or(&text).trim();
    Ok(version.to_owned())
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Returns the value of the first line `key : value`.
fn field(path: &str, key: &str) -> Option<String> {
    let text = read(path)?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> String {
    let kibibytes =
        field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    kibibytes.map_or("unknown".to_owned(), |size| format!("{:.1} GiB", size / f64::from(1 << 20)))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the commit of the repository that contains this program.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        output(Command::new("git").arg("-C").arg(Path::new(env!("CARGO_MANIFEST_DIR"))).args(arguments))
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else { return "unknown".to_owned() };
    let is_changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if is_changed { format!("{commit}, with changes") } else { commit }
}

/// Returns the settings under `[profile.release]`.
fn profile(manifest: &str) -> String {
    let (_, settings) = manifest.split_once("[profile.release]").unwrap_or(("", ""));
    let settings = settings.lines().skip(1).take_while(|line| !line.starts_with('['));
    let settings: Vec<&str> = settings.filter(|line| line.contains('=')).collect();
    format!("release: {}", settings.join(", "))
}

/// Returns the current time in UTC.
fn date() -> String {
    // SAFETY: both pointers are to valid values.
    let now = unsafe {
        let seconds = libc::time(std::ptr::null_mut());
        let mut now: libc::tm = std::mem::zeroed();
        libc::gmtime_r(&seconds, &mut now);
        now
    };
    let (year, month, day) = (now.tm_year + 1900, now.tm_mon + 1, now.tm_mday);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", now.tm_hour, now.tm_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_read_from_the_manifest() {
        assert_eq!(
            profile("[x]\na = 1\n\n[profile.release]\nlto = \"fat\"\ndebug = 1\n[y]\nb = 2"),
            "release: lto = \"fat\", debug = 1"
        );
        assert_eq!(profile(""), "release: ");
    }
}
