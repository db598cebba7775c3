//! The layering, and what is banned, as a test: each row says where a text may stand, and what to write
//! instead. See `docs/DESIGN.md` for the reasons.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text, the only paths it may stand under (none: nowhere in `src`), and what to write instead.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("libc::", &["src/backend/native/", "src/backend/sim/", "src/sim/"], "ask the backend"),
    ("polling::", &["src/backend/native/portable.rs"], "ask the backend"),
    ("socket2::", &["src/backend/native/"], "ask the backend"),
    ("unsafe ", &["src/backend/native/"], "safe code, or a small function in the backend"),
    ("allow(unsafe_code)", &["src/backend/mod.rs"], "safe code"),
    (
        "native::",
        &["src/backend/mod.rs", "src/backend/either.rs", "src/backend/sim/mod.rs"],
        "the backend's contract: `crate::backend`",
    ),
    ("Instant::now", &["src/backend/native/clock.rs"], "the loop's time: `core.now`"),
    ("SystemTime::now", &[], "nothing here needs the time of day"),
    ("thread::", &["src/backend/native/", "src/sim/check.rs"], "a job for the pool"),
    ("Mutex", &["src/backend/native/"], "a mailbox or a bell of the backend's"),
    ("Condvar", &["src/backend/native/"], "a mailbox of the backend's"),
    ("HashMap", &[], "an ordered map: a seed must replay"),
    ("HashSet", &[], "an ordered set: a seed must replay"),
    ("RefCell", &["src/backend/sim/", "src/sim/"], "`&mut`: callbacks never meet on the stack"),
    ("todo!(", &[], "the thing itself"),
    ("unimplemented!(", &[], "the thing itself"),
    ("dbg!(", &[], "nothing"),
    ("println!(", &[], "an error, or a failure: the application speaks to people"),
];

/// A layer, and what it must not name: arrows point one way.
const MUST_NOT_NAME: &[(&str, &[&str])] = &[
    ("src/queue/", &["crate::", "std::os", "std::io"]),
    ("src/handle/", &["crate::backend", "crate::event_loop", "crate::net", "crate::fs", "crate::timer"]),
    ("src/net/writer.rs", &["crate::", "Socket"]),
    ("src/net/payload.rs", &["crate::"]),
    (
        "src/backend/native/",
        &["crate::event_loop", "crate::net", "crate::timer", "crate::hook", "crate::signal"],
    ),
    (
        "src/event_loop/turn.rs",
        &["crate::timer", "crate::fs", "crate::poll", "crate::wake", "crate::channel"],
    ),
    ("src/event_loop/closing.rs", &["crate::net", "crate::fs", "crate::timer", "crate::poll"]),
    ("src/timer.rs", &["crate::net", "crate::fs", "crate::poll", "crate::signal"]),
    ("src/net/", &["crate::timer", "crate::fs", "crate::poll", "crate::signal", "std::fs"]),
    ("src/fs/", &["crate::timer", "crate::poll", "crate::signal"]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A file's code, line by line, without comments and without the tests at its foot.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let without_comment = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    code.lines().map(without_comment).enumerate().map(|(number, line)| (number + 1, line)).collect()
}

fn in_src() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
    sources(&root.join("src")).into_iter().map(|path| (name(&path), path)).collect()
}

#[test]
fn what_only_some_may_name_stands_nowhere_else() {
    let mut wrong = Vec::new();
    for (name, path) in in_src() {
        for (number, line) in code(&path) {
            for (text, allowed, instead) in ONLY_IN {
                if line.contains(text) && !allowed.iter().any(|place| name.starts_with(place)) {
                    wrong.push(format!("{name}:{number}: `{text}` does not belong here; instead: {instead}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn layers_name_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (name, path) in in_src() {
        for (number, line) in code(&path) {
            for (layer, banned) in MUST_NOT_NAME {
                for text in banned.iter().filter(|text| name.starts_with(layer) && line.contains(**text)) {
                    wrong.push(format!("{name}:{number}: {layer} must not name {text}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_first() {
    for (name, path) in in_src() {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{name} does not say what it is for");
    }
}

/// Functions that grow with every feature are watched: nobody lets one grow past this without noticing.
const LINES_MAX: usize = 70;

#[test]
fn no_function_grows_past_a_screen() {
    let mut wrong = Vec::new();
    for (name, path) in in_src() {
        let lines = code(&path);
        let mut open: Option<(usize, usize, String)> = None;
        for (number, line) in &lines {
            let indent = line.len() - line.trim_start().len();
            let starts = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn "]
                .iter()
                .any(|start| line.trim_start().starts_with(start));
            if starts && open.is_none() {
                open = Some((*number, indent, line.trim().to_owned()));
            }
            if let Some((begun, at, what)) = &open {
                if line.trim_end() == format!("{}}}", " ".repeat(*at))
                    || (line.trim_end().ends_with(';') && number == begun)
                {
                    if number - begun > LINES_MAX {
                        wrong.push(format!("{name}:{begun}: {} lines: {what}", number - begun));
                    }
                    open = None;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "longer than {LINES_MAX} lines:\n{}", wrong.join("\n"));
}

#[test]
fn one_place_calls_a_users_callback() {
    // The boxes are taken out of `callbacks` and `answers` in one file, and called there or in the
    // closing phase through it.
    let allowed = ["src/event_loop/dispatch.rs", "src/event_loop/closing.rs", "src/event_loop/mod.rs"];
    for (name, path) in in_src() {
        for (number, line) in code(&path) {
            let touches = ["callbacks[", "callbacks.get", "answers[", "answers.get", "take_callback("]
                .iter()
                .any(|text| line.contains(text));
            let verifies = name == "src/event_loop/verify.rs";
            assert!(!touches || verifies || allowed.contains(&name.as_str()), "{name}:{number}: {line}");
        }
    }
}

#[test]
fn the_readme_and_the_examples_name_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    for path in sources(&root.join("examples")) {
        if path.ends_with("common/mod.rs") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(readme.contains(&format!("`{name}")), "the README does not mention the example {name}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{name} does not say what it is");
        assert!(text.contains(&format!("--example {name}")), "{name} does not say how to run it");
        let lines = text.lines().count();
        assert!((15..=100).contains(&lines), "{name} has {lines} lines");
    }
}
