//! Which source file names which: a resolver of imports, small but honest about re-exports and macros.
//!
//! It reads `use` trees and the paths written out in code, and follows `crate`, `self`, `super`, child
//! modules, and names that a `use` has brought into a module, down to the file that defines an item. A
//! re-export in between is not a dependency on the file that contains it. What a macro of the crate names
//! counts for its own file and for each that invokes it. Methods and fields are not followed: a type that is
//! used without being named is no import.

use std::collections::{BTreeMap, BTreeSet};

use crate::tokens::{Token, are, matching, tokens, without_tests};

/// Files by the file that names them.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// `a::b::C`, as it is written.
type Path = Vec<String>;

/// A module, or several that exclude each other by `cfg` and share a name.
#[derive(Default)]
struct Module {
    files: BTreeSet<String>,
    /// What `use` brings into it, by name.
    names: BTreeMap<String, Vec<Path>>,
    /// The paths that each file of it contains, those of `use` included.
    paths: Vec<(String, Path)>,
}

#[derive(Default)]
struct Crate {
    modules: BTreeMap<Path, Module>,
    /// The paths in each macro, and the files that invoke each.
    macros: BTreeMap<String, Vec<Path>>,
    invocations: Vec<(String, String)>,
}

/// Resolves the sources of a crate, by file name.
pub(crate) fn graph(sources: &BTreeMap<String, String>) -> Graph {
    let mut krate = Crate::default();
    krate.add_file(sources, Path::new(), "src/lib.rs");
    let mut graph: Graph = sources.keys().map(|file| (file.clone(), BTreeSet::new())).collect();
    let mut add = |file: &str, named: BTreeSet<String>| {
        graph.entry(file.into()).or_default().extend(named.into_iter().filter(|other| other != file));
    };
    for (name, module) in &krate.modules {
        for (file, path) in &module.paths {
            add(file, krate.resolve(name, path, 0));
        }
    }
    for (file, name) in &krate.invocations {
        for path in krate.macros.get(name).into_iter().flatten() {
            add(file, krate.resolve(&Path::new(), path, 0));
        }
    }
    graph
}

impl Crate {
    fn add_file(&mut self, sources: &BTreeMap<String, String>, module: Path, file: &str) {
        let Some(text) = sources.get(file) else { panic!("there is no {file}") };
        self.add(sources, module, file, &without_tests(tokens(text)));
    }

    /// Reads a module: its tokens, without those of the modules inside it.
    fn add(&mut self, sources: &BTreeMap<String, String>, module: Path, file: &str, code: &[Token]) {
        self.modules.entry(module.clone()).or_default().files.insert(file.into());
        let (mut at, mut path_attribute, mut own) = (0, None, Vec::new());
        while at < code.len() {
            let next = code.get(at + 1).map_or("", |token| &*token.text);
            match &*code[at].text {
                "path" if next == "=" && code[at + 2].text.starts_with('"') => {
                    path_attribute = Some(code[at + 2].text.trim_matches('"').to_owned());
                }
                "mod" if are(code, at + 2, &[";"]) => {
                    // What loom puts in the place of a file, or beside it, is not part of the crate.
                    let path = path_attribute.take().filter(|path| !path.contains("tests/"));
                    if next != "models" {
                        let child = child_file(sources, file, next, path);
                        self.add_file(sources, [&module[..], &[next.into()]].concat(), &child);
                    }
                }
                "mod" if are(code, at + 2, &["{"]) => {
                    let end = matching(code, at + 2);
                    self.add(sources, [&module[..], &[next.into()]].concat(), file, &code[at + 3..end - 1]);
                    at = end - 1;
                }
                "macro_rules" => {
                    let body = &code[at + 3..matching(code, at + 3)];
                    self.macros.entry(code[at + 2].text.clone()).or_default().extend(paths(body));
                }
                "use" if next != "<" => at = self.add_use(&module, file, code, at + 1),
                name => {
                    if next == "!" {
                        self.invocations.push((file.into(), name.into()));
                    }
                    own.push(code[at].clone());
                }
            }
            at += 1;
        }
        let found = paths(&own).into_iter().map(|path| (file.to_owned(), path));
        self.modules.entry(module).or_default().paths.extend(found);
    }

    /// Reads the tree of a `use`. Returns the index of its semicolon.
    fn add_use(&mut self, module: &Path, file: &str, code: &[Token], start: usize) -> usize {
        let here = self.modules.entry(module.clone()).or_default();
        let (mut prefixes, mut path, mut alias, mut at) = (Vec::new(), Path::new(), None, start);
        loop {
            let text = &*code[at].text;
            match text {
                "{" => prefixes.push(path.clone()),
                "as" => (alias, at) = (Some(code[at + 1].text.clone()), at + 1),
                "*" => panic!("{file}: a glob import hides what is named"),
                "," | "}" | ";" => {
                    // `{self}` names the module itself.
                    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                        path.pop();
                    }
                    let is_leaf = !are(code, at - 1, &["}"]) && !are(code, at - 1, &[","]);
                    if let (true, Some(name)) = (is_leaf, alias.take().or(path.last().cloned())) {
                        here.names.entry(name).or_default().push(path.clone());
                        here.paths.push((file.into(), path));
                    }
                    path = prefixes.last().cloned().unwrap_or_default();
                    if text == "}" {
                        prefixes.pop();
                    }
                    if text == ";" {
                        return at;
                    }
                }
                "::" | "$" => {}
                word => path.push(word.into()),
            }
            at += 1;
        }
    }

    /// The files that define what a path names, as it is written in a module. None for other crates.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> BTreeSet<String> {
        let Some(first) = path.first() else { return BTreeSet::new() };
        let here = &self.modules[module];
        let absolute = match &**first {
            "crate" => path[1..].to_vec(),
            "self" => [module, &path[1..]].concat(),
            "super" if path.get(1).is_some_and(|second| second == "super") => {
                return self.resolve(&module[..module.len() - 1], &path[1..], depth + 1);
            }
            "super" => [&module[..module.len() - 1], &path[1..]].concat(),
            name if self.modules.contains_key(&[module, &[name.into()]].concat()) => [module, path].concat(),
            name if here.names.contains_key(name) => [module, path].concat(),
            _ => return BTreeSet::new(),
        };
        let (mut at, mut rest) = (&absolute[..0], &absolute[..]);
        while !rest.is_empty() && self.modules.contains_key(&absolute[..=at.len()]) {
            (at, rest) = absolute.split_at(at.len() + 1);
        }
        let module = &self.modules[at];
        match rest.first().and_then(|name| Some((name, module.names.get(name)?))) {
            // A macro is exported by `use name;`.
            Some((name, targets)) if targets[..] != [vec![name.clone()]] => {
                assert!(depth < 20, "{path:?} resolves to itself");
                let follow = |target: &Path| self.resolve(at, &[&target[..], &rest[1..]].concat(), depth + 1);
                targets.iter().flat_map(follow).collect()
            }
            _ => module.files.clone(),
        }
    }
}

/// The paths that code contains, of two segments or more.
fn paths(code: &[Token]) -> Vec<Path> {
    let (mut paths, mut at) = (Vec::new(), 0);
    while at < code.len() {
        let mut path = vec![code[at].text.clone()];
        let starts = at == 0 || code[at - 1].text != "::";
        while are(code, at + 1, &["::"]) && code.get(at + 2).is_some_and(|token| is_name(&token.text)) {
            path.push(code[at + 2].text.clone());
            at += 2;
        }
        if starts && path.len() > 1 {
            paths.push(path);
        }
        at += 1;
    }
    paths
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The file of a module that is declared in another file.
fn child_file(
    sources: &BTreeMap<String, String>,
    file: &str,
    name: &str,
    path_attribute: Option<String>,
) -> String {
    let (dir, own) = file.rsplit_once('/').unwrap_or_default();
    if let Some(path) = path_attribute {
        return format!("{dir}/{path}");
    }
    let dir = match own {
        "lib.rs" | "mod.rs" => dir.to_owned(),
        _ => file.trim_end_matches(".rs").to_owned(),
    };
    let candidates = [format!("{dir}/{name}.rs"), format!("{dir}/{name}/mod.rs")];
    candidates
        .into_iter()
        .find(|path| sources.contains_key(path))
        .unwrap_or_else(|| panic!("no {dir}/{name}"))
}

/// The cycles: sets of files that all reach each other, the largest first.
pub(crate) fn cycles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|file| (file, reachable(graph, file))).collect();
    let mut cycles: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    for (file, others) in &reached {
        let cycle = others.iter().filter(|other| reached[**other].contains(file));
        cycles.insert(cycle.map(|&other| other.clone()).collect());
    }
    let mut cycles: Vec<_> = cycles.into_iter().filter(|cycle| !cycle.is_empty()).collect();
    cycles.sort_by_key(|cycle| std::cmp::Reverse(cycle.len()));
    cycles
}

/// The files that can be reached from one by one edge or more.
fn reachable<'a>(graph: &'a Graph, from: &'a String) -> BTreeSet<&'a String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        open.extend(graph[file].iter().filter(|other| found.insert(*other)));
    }
    found
}
