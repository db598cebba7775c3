//! Rust source as tokens: identifiers and numbers, `::`, strings, and single characters. No comments.

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// Splits source text into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), source, 1);
    while !rest.is_empty() {
        let len = token_len(rest);
        let (text, after) = rest.split_at(len);
        if !text.starts_with(char::is_whitespace) && !text.starts_with("//") && !text.starts_with("/*") {
            tokens.push(Token { text: text.into(), line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of the token, comment or white space at the start of `text`.
fn token_len(text: &str) -> usize {
    let first = text.chars().next().unwrap_or_default();
    let raw_string = text.trim_start_matches(['b', 'c']).strip_prefix('r').map(|rest| {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        (rest[hashes..].starts_with('"'), format!("\"{}", "#".repeat(hashes)))
    });
    if let Some((true, end)) = raw_string {
        let start = text.find('"').unwrap_or(0) + 1;
        return text[start..].find(&end).map_or(text.len(), |at| start + at + end.len());
    }
    if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        text.find("*/").map_or(text.len(), |at| at + 2)
    } else if text.starts_with("::") {
        2
    } else if first == '"' {
        quoted_len(text, '"')
    } else if first == '\'' && (text[1..].starts_with('\\') || text.chars().nth(2) == Some('\'')) {
        quoted_len(text, '\'') // Anything else with this mark is a lifetime.
    } else {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let word = text.find(|c| !is_word(c)).unwrap_or(text.len());
        word.max(first.len_utf8())
    }
}

fn quoted_len(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == mark => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The index after the bracket that closes the one at `open`.
pub(crate) fn matching(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match &*token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Whether the tokens at `at` have these texts.
pub(crate) fn are(tokens: &[Token], at: usize, texts: &[&str]) -> bool {
    tokens.len() >= at + texts.len()
        && texts.iter().zip(&tokens[at..]).all(|(text, token)| token.text == *text)
}

/// Removes the items that are compiled for tests only.
pub(crate) fn without_tests(mut tokens: Vec<Token>) -> Vec<Token> {
    let is_test = |tokens: &[Token], at| {
        are(tokens, at, &["#", "[", "cfg", "("])
            && tokens[at..matching(tokens, at + 1)].iter().any(|token| token.text == "test")
    };
    while let Some(start) = (0..tokens.len()).find(|&at| is_test(&tokens, at)) {
        let is_end = |at: &usize| matches!(&*tokens[*at].text, ";" | "{");
        let end = (start..tokens.len()).find(is_end).unwrap_or(tokens.len() - 1);
        tokens.drain(start..matching(&tokens, end));
    }
    tokens
}
