//! Words that the project no longer uses, each with the one that it uses instead.

/// Whole words, in any case; an underscore ends a word, so names are checked, too.
const RETIRED: &[(&str, &str)] = &[
    ("doorbell", "notifier"),
    ("bell", "notifier"),
    ("bells", "notifiers"),
    ("rung", "notified"),
    ("rings", "notifies"),
    ("alarm", "wake fd"),
    ("hush", "drain"),
    ("told", "notified, reported, delivered"),
    ("withdraw", "cancel"),
    ("withdrawn", "cancelled"),
    ("stock", "pool"),
    ("crowd", "burst"),
    ("says whether", "returns whether"),
    ("says how many", "returns the number of"),
    ("whoever", "the sender, the worker, the peer, the caller"),
    ("somebody", "the sender, the worker, the peer, the caller"),
    ("nobody", "no sender, no worker, no peer, no caller"),
    ("nobodys", "no sender's, no worker's, no peer's"),
    ("he", "it"),
    ("his", "its"),
    ("him", "it"),
    ("broken off", "interrupted"),
    ("by hand", "raw"),
    ("holds the loop", "keeps the loop alive"),
    ("goes on", "continues, resumes"),
    ("but for", "except"),
    ("shall", "must, will"),
    ("by and by", "later"),
    ("anew", "again"),
    ("amid", "during"),
    ("of use lately", "useful recently"),
];

/// A doc comment that begins with these words says nothing in rustdoc's lists, which print its first line
/// alone.
const EMPTY_BEGINNINGS: &[&str] = &["The same", "And "];

/// The retired words of a text, as `line: word; instead: word`.
pub(crate) fn retired(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_doc = false;
    for (number, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        for (word, instead) in RETIRED.iter().filter(|(word, _)| has_word(&lower, word)) {
            found.push(format!("{}: `{word}`; instead: {instead}", number + 1));
        }
        let doc = line.trim_start().strip_prefix("/// ").or(line.strip_prefix("//! "));
        for beginning in EMPTY_BEGINNINGS.iter().filter(|_| !in_doc) {
            if doc.is_some_and(|doc| doc.starts_with(beginning)) {
                found.push(format!("{}: a doc comment begins with `{beginning}`", number + 1));
            }
        }
        in_doc = line.trim_start().starts_with("///") || line.starts_with("//!");
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}
