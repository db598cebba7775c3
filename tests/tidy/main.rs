//! Rules of the source that the compiler does not check: where a name may stand, which file may name which,
//! how long files and functions may be. CONTRIBUTING and DESIGN give the reasons.

mod imports;
mod tokens;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use tokens::{are, matching, tokens, without_tests};

/// A name, the only paths it may stand under (none: nowhere in `src`), and what to use instead.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("libc", &["src/backend/native/", "src/backend/sim/", "src/sim/"], "the backend"),
    ("polling::", &["src/backend/native/wait/portable.rs"], "the backend"),
    ("socket2", &["src/backend/native/"], "the backend"),
    ("unsafe", &["src/backend/native/"], "safe code, or a small function in the backend"),
    ("allow(unsafe_code", &["src/backend/mod.rs"], "safe code"),
    ("native", &["src/backend/mod.rs", "src/backend/either/", "src/backend/sim/"], "`crate::backend`"),
    ("Instant", &[], "the loop's time: `core.now`"),
    ("SystemTime::now", &[], "the loop's time: nothing needs the time of day"),
    ("thread", &["src/backend/native/", "src/sim/check.rs"], "a job for the pool"),
    ("Mutex", &["src/backend/native/"], "a mailbox or a notifier of the backend"),
    ("Condvar", &["src/backend/native/"], "a mailbox of the backend"),
    ("HashMap", &[], "an ordered map: a seed must replay"),
    ("HashSet", &[], "an ordered set: a seed must replay"),
    ("RefCell", &["src/backend/sim/", "src/sim/"], "`&mut`: callbacks never meet on the stack"),
    ("todo!", &[], "an implementation"),
    ("unimplemented!", &[], "an implementation"),
    ("dbg!", &[], "nothing"),
    ("println!", &[], "an error, or a failure: the application prints"),
];

const BELOW_KINDS: [&str; 5] =
    ["src/event_loop/", "src/handle/", "src/backend/", "src/error.rs", "src/time.rs"];

const BELOW_STREAMS: [&str; 8] = [
    "src/event_loop/",
    // A stream tells its listener that it was closed.
    "src/net/listener.rs",
    "src/handle/",
    "src/backend/",
    "src/error.rs",
    "src/time.rs",
    "src/payload.rs",
    "src/queue/send_queue.rs",
];

/// What the files of a layer may name besides each other: paths, or folders.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("src/time.rs", &[]),
    ("src/payload.rs", &[]),
    ("src/queue/", &["src/time.rs", "src/payload.rs", "src/backend/native/pages.rs"]),
    ("src/handle/", &["src/queue/slots.rs"]),
    ("src/error.rs", &["src/handle/"]),
    (
        "src/backend/",
        &["src/handle/", "src/error.rs", "src/time.rs", "src/fs/options.rs", "src/fs/metadata.rs"],
    ),
    (
        "src/backend/native/",
        &[
            "src/backend/either/descriptor.rs",
            "src/backend/files.rs",
            "src/backend/job.rs",
            "src/backend/options.rs",
            "src/backend/readiness.rs",
            "src/handle/",
            "src/error.rs",
            "src/time.rs",
            "src/fs/options.rs",
            "src/fs/metadata.rs",
        ],
    ),
    ("src/event_loop/turn.rs", &["src/event_loop/", "src/handle/", "src/error.rs", "src/time.rs"]),
    ("src/event_loop/closing.rs", &["src/event_loop/", "src/handle/", "src/backend/", "src/error.rs"]),
    ("src/timer.rs", &BELOW_KINDS),
    ("src/hook.rs", &BELOW_KINDS),
    ("src/wake.rs", &BELOW_KINDS),
    ("src/remote.rs", &BELOW_KINDS),
    ("src/channel.rs", &BELOW_KINDS),
    ("src/signal.rs", &BELOW_KINDS),
    ("src/poll.rs", &BELOW_KINDS),
    ("src/work.rs", &BELOW_KINDS),
    ("src/stream/", &BELOW_STREAMS),
    (
        "src/net/",
        &[
            "src/event_loop/",
            "src/handle/",
            "src/backend/",
            "src/error.rs",
            "src/time.rs",
            "src/payload.rs",
            "src/stream/",
        ],
    ),
    ("src/fs/", &BELOW_STREAMS),
];

/// The cycles: sets of files that reach each other. The loop and its kinds need each other and may stay one
/// knot. Everything else is to be layered, so these sets must only shrink.
const KNOTS: &[&[&str]] = &[&[
    "src/channel.rs",
    "src/event_loop/core.rs",
    "src/event_loop/dispatch.rs",
    "src/event_loop/inspect.rs",
    "src/event_loop/kinds.rs",
    "src/event_loop/mod.rs",
    "src/event_loop/options.rs",
    "src/event_loop/turn.rs",
    "src/event_loop/typed.rs",
    "src/fs/file.rs",
    "src/fs/operation.rs",
    "src/hook.rs",
    "src/net/listener.rs",
    "src/poll.rs",
    "src/remote.rs",
    "src/signal.rs",
    "src/stream/drive.rs",
    "src/stream/idle.rs",
    "src/stream/mod.rs",
    "src/stream/read.rs",
    "src/stream/state.rs",
    "src/stream/typed.rs",
    "src/stream/write.rs",
    "src/timer.rs",
    "src/wake.rs",
]];

/// Functions that are longer than [`FUNCTION_LINES_MAX`], to be split.
const LONG_FUNCTIONS: &[&str] = &[];

/// In lines: a function fits on a screen.
const FUNCTION_LINES_MAX: usize = 45;

/// Files that are longer than [`FILE_LINES_MAX`], to be split.
const LONG_FILES: &[&str] = &[];

const FILE_LINES_MAX: usize = 500;

/// Reads the files of a folder, and of those in it, that have one of these extensions.
fn files(dir: &str, extensions: &[&str]) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root.join(dir)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.join("CACHEDIR.TAG").exists() {
            // What cargo has built, next to a manifest of its own.
        } else if path.is_dir() {
            found.extend(files(&name, extensions));
        } else if extensions.iter().any(|extension| name.ends_with(extension)) {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// The library's sources, by path.
fn sources() -> BTreeMap<String, String> {
    files("src", &[".rs"])
}

/// Panics unless the list is empty.
#[track_caller]
fn assert_none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n{}\n", wrong.join("\n"));
}

#[test]
fn names_stand_only_where_they_belong() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let code = without_tests(tokens(&text));
        for (name, allowed, instead) in ONLY_IN {
            let name_tokens = tokens(name);
            let texts: Vec<&str> = name_tokens.iter().map(|token| &*token.text).collect();
            for at in (0..code.len()).filter(|&at| are(&code, at, &texts)) {
                if !allowed.iter().any(|path| file.starts_with(path)) {
                    wrong.push(format!("{file}:{}: `{name}`; instead: {instead}", code[at].line));
                }
            }
        }
    }
    assert_none("names that do not belong there", &wrong);
}

#[test]
fn layers_name_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (file, named) in imports::graph(&sources()) {
        for (layer, allowed) in MAY_NAME.iter().filter(|(layer, _)| file.starts_with(layer)) {
            let is_allowed = |other: &String| {
                other.starts_with(layer) || allowed.iter().any(|path| other.starts_with(path))
            };
            wrong.extend(
                named.iter().filter(|other| !is_allowed(other)).map(|other| format!("{file}: {other}")),
            );
        }
    }
    assert_none("files that name what is not below them", &wrong);
}

#[test]
fn the_loop_and_its_kinds_are_the_only_cycle() {
    let graph = imports::graph(&sources());
    let cycles = imports::cycles(&graph);
    let expected: Vec<BTreeSet<String>> =
        KNOTS.iter().map(|knot| knot.iter().map(|&file| file.to_owned()).collect()).collect();
    let listed: Vec<String> =
        cycles.iter().map(|cycle| format!("{} files: {cycle:#?}", cycle.len())).collect();
    for c in &cycles {
        for f in c {
            for o in graph[f].iter().filter(|o| c.contains(*o)) {
                println!("EDGE {f} -> {o}");
            }
        }
    }
    assert!(cycles == expected, "the cycles are:\n{}", listed.join("\n"));
}

/// The resolver is code, too: a crate in which each way of naming a file occurs once.
#[test]
fn imports_are_followed_through_reexports_macros_and_modules() {
    let sources: BTreeMap<String, String> = [
        ("src/lib.rs", "mod deep; mod a; mod b; mod c; mod d; pub use deep::{Thing, other as another};"),
        (
            "src/deep/mod.rs",
            "mod thing; #[path = \"elsewhere.rs\"] mod o; pub use self::{thing::Thing, o::other};",
        ),
        ("src/deep/thing.rs", "/* crate::a::X */ pub struct Thing; // crate::b::f()"),
        ("src/deep/elsewhere.rs", "pub fn other() -> &'static str { \"crate::c::f\" }"),
        ("src/a.rs", "macro_rules! call { () => { $crate::b::f() } } use call;"),
        ("src/b.rs", "use crate::Thing; #[cfg(test)] mod tests { use crate::c; }"),
        ("src/c.rs", "use {super::a::call, std::io}; fn f() -> io::Error { call!(); crate::another() }"),
        ("src/d.rs", "mod m { use super::super::deep::Thing as _; } use crate::{b as e}; fn f() { e::f() }"),
    ]
    .map(|(file, text)| (file.to_owned(), text.to_owned()))
    .into();
    let mut graph = imports::graph(&sources);
    let named = |file: &str| graph[file].iter().map(|other| &other[4..]).collect::<Vec<_>>().join(" ");
    assert_eq!(named("src/lib.rs"), "deep/elsewhere.rs deep/thing.rs");
    assert_eq!(named("src/deep/thing.rs"), "");
    assert_eq!(named("src/deep/elsewhere.rs"), "");
    assert_eq!(named("src/a.rs"), "b.rs");
    assert_eq!(named("src/b.rs"), "deep/thing.rs");
    assert_eq!(named("src/c.rs"), "a.rs b.rs deep/elsewhere.rs");
    assert_eq!(named("src/d.rs"), "b.rs deep/thing.rs");
    assert_eq!(imports::cycles(&graph), []);
    graph.get_mut("src/deep/thing.rs").unwrap().insert("src/a.rs".into());
    let cycle = ["src/a.rs", "src/b.rs", "src/deep/thing.rs"].map(String::from).into();
    assert_eq!(imports::cycles(&graph), [cycle]);
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let without = sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(file, _)| file);
    assert_none("files without a first line that says what they are for", &without.collect::<Vec<_>>());
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut long = Vec::new();
    for (file, text) in sources() {
        let code = without_tests(tokens(&text));
        for at in (0..code.len()).filter(|&at| code[at].text == "fn") {
            // The body is the first brace before a semicolon that stands in no bracket.
            let mut open = at;
            while open < code.len() && !matches!(&*code[open].text, "{" | ";") {
                open = if matches!(&*code[open].text, "(" | "[") { matching(&code, open) } else { open + 1 };
            }
            let lines = code[matching(&code, open) - 1].line - code[at].line + 1;
            if are(&code, open, &["{"]) && lines > FUNCTION_LINES_MAX {
                long.push((format!("{file}::{}", code[at + 1].text), lines));
            }
        }
    }
    assert_listed("functions", FUNCTION_LINES_MAX, &long, LONG_FUNCTIONS);
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let lines = sources().into_iter().map(|(file, text)| (file, text.lines().count()));
    let long: Vec<_> = lines.filter(|(_, lines)| *lines > FILE_LINES_MAX).collect();
    assert_listed("files", FILE_LINES_MAX, &long, LONG_FILES);
}

/// Panics unless the long ones are exactly those that are listed as exceptions.
#[track_caller]
fn assert_listed(what: &str, max: usize, long: &[(String, usize)], exceptions: &[&str]) {
    let names: Vec<&str> = long.iter().map(|(name, _)| &**name).collect();
    let new = long.iter().filter(|(name, _)| !exceptions.contains(&&**name));
    let gone = exceptions.iter().filter(|name| !names.contains(name));
    let new: Vec<String> = new.map(|(name, lines)| format!("{name}: {lines} lines")).collect();
    let gone: Vec<String> = gone.map(|name| format!("{name}: no longer, so remove the exception")).collect();
    assert_none(&format!("{what} of more than {max} lines"), &[new, gone].concat());
}

#[test]
fn one_place_calls_a_users_callback() {
    // Boxed callbacks are taken out of the loop's lists in one file, and called there or, in the closing
    // phase, through it.
    let allowed = [
        "src/event_loop/dispatch.rs",
        "src/event_loop/closing.rs",
        "src/event_loop/mod.rs",
        "src/event_loop/verify.rs",
    ];
    let mut wrong = Vec::new();
    for (file, text) in sources().iter().filter(|(file, _)| !allowed.contains(&&***file)) {
        let code = without_tests(tokens(text));
        for at in 0..code.len() {
            let is_list = matches!(&*code[at].text, "callbacks" | "answers" | "completions")
                && (are(&code, at + 1, &["["]) || are(&code, at + 1, &[".", "get"]));
            if is_list || are(&code, at, &["take_callback", "("]) {
                wrong.push(format!("{file}:{}", code[at].line));
            }
        }
    }
    assert_none("places that reach for a user's callback", &wrong);
}

#[test]
fn the_readme_and_the_examples_name_each_other() {
    let readme = files(".", &["README.md"]).remove("README.md").unwrap();
    let programs = files("examples", &[".rs"]).into_iter().filter(|(file, _)| !file.contains("/common/"));
    for (file, text) in programs {
        let name = file.trim_start_matches("examples/").trim_end_matches(".rs");
        assert!(readme.contains(&format!("`{name}")), "the README does not mention the example {name}");
        assert!(text.starts_with("//! "), "{name} does not say what it is");
        assert!(text.contains(&format!("--example {name}")), "{name} does not say how to run it");
        let lines = text.lines().count();
        assert!((15..=100).contains(&lines), "{name} has {lines} lines");
    }
}

/// A name that is skipped and no longer exists skips nothing.
#[test]
fn tests_that_the_sanitizers_skip_exist() {
    let script = fs::read_to_string("tests/sanitizers/check").unwrap();
    let all =
        [sources(), files("tests", &[".rs"])].map(|files| files.into_values().collect::<String>()).concat();
    let mut words = script.split_whitespace();
    let mut missing = Vec::new();
    while let Some(word) = words.next() {
        let name = if word == "--skip" { words.next().unwrap() } else { continue };
        let exists =
            all.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")).any(|f| f.contains(name));
        missing.extend((!exists).then(|| name.to_owned()));
    }
    assert_none("skipped tests that do not exist", &missing);
}

/// Everything that people read, except these rules, which quote what they forbid.
fn prose() -> BTreeMap<String, String> {
    let mut all = files("src", &[".rs", ".md"]);
    all.extend(files("tests", &[".rs", ".md", "check", "run", "suppressions"]));
    all.extend(files("examples", &[".rs"]));
    all.extend(fs::read_dir(".").unwrap().chain(fs::read_dir("benches").unwrap()).filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_prose = path.extension().is_some_and(|extension| extension == "md" || extension == "rs");
        is_prose.then(|| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
    }));
    all.retain(|file, _| !file.starts_with("tests/tidy/"));
    all
}

#[test]
fn retired_words_are_gone() {
    let found = prose().into_iter().flat_map(|(file, text)| {
        words::retired(&text).into_iter().map(move |line| format!("{file}:{line}")).collect::<Vec<_>>()
    });
    assert_none("words that are no longer used", &found.collect::<Vec<_>>());
}

#[test]
fn no_line_is_longer_than_110_columns() {
    let mut long = Vec::new();
    // The three programs stand there as documents show them.
    let checked = |file: &str| file.ends_with(".rs") && file != "tests/programs.rs";
    for (file, text) in prose().iter().filter(|(file, _)| checked(file)) {
        let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > 110);
        long.extend(lines.map(|(number, _)| format!("{file}:{}", number + 1)));
    }
    assert_none("lines of more than 110 columns", &long);
}
