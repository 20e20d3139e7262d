//! A Rust file as the rules see it: its text, its code with comments and literals blanked, and which
//! lines are test code. Owns that reading of the language, which is lexical and no more.
//!
//! Blanking keeps every line and column where it is, so a rule may search the code and point into
//! the text.

/// A Rust file, read.
#[derive(Debug)]
pub(crate) struct RustSource {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// As it stands on disk.
    pub(crate) text: String,
    /// The same with comments and the insides of literals turned into spaces.
    pub(crate) code: String,
    test_lines: Vec<bool>,
    test_modules: Vec<String>,
}

impl RustSource {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = Blanker::new(text).run();
        let all_test = is_test_path(path);
        let mut source = Self {
            path: path.to_owned(),
            text: text.to_owned(),
            test_lines: vec![all_test; text.lines().count() + 1],
            test_modules: Vec::new(),
            code,
        };
        source.find_test_items();
        source
    }

    /// Turns the files of modules declared as `#[cfg(test)] mod name;` into test code.
    pub(crate) fn mark_test_modules(sources: &mut [Self]) {
        let stems: Vec<String> = sources
            .iter()
            .flat_map(|source| source.test_modules.clone())
            .collect();
        for source in sources {
            if stems.iter().any(|stem| {
                source.path == format!("{stem}.rs") || source.path.starts_with(&format!("{stem}/"))
            }) {
                source.test_lines.fill(true);
            }
        }
    }

    /// Whether a line (from 1) is compiled for tests only.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.get(line - 1).copied().unwrap_or(false)
    }

    /// Lines outside of tests on which `pattern` stands in the code and starts a word.
    pub(crate) fn product_lines_with(&self, pattern: &str) -> Vec<usize> {
        self.lines_with(pattern)
            .into_iter()
            .filter(|line| !self.is_test_line(*line))
            .collect()
    }

    /// Lines on which `pattern` stands in the code and starts a word. Where it ends in a letter it
    /// ends a word, too.
    pub(crate) fn lines_with(&self, pattern: &str) -> Vec<usize> {
        self.code
            .match_indices(pattern)
            .filter(|(at, _)| is_whole(&self.code, *at, pattern))
            .map(|(at, _)| self.line_of(at))
            .collect()
    }

    /// The `use` declarations: line of each and its words.
    pub(crate) fn uses(&self) -> Vec<(usize, Vec<&str>)> {
        let starts = self
            .code
            .match_indices("use ")
            .filter(|(at, found)| is_whole(&self.code, *at, found));
        starts
            .map(|(at, _)| {
                let declaration = self.code[at..].split(';').next().unwrap_or_default();
                let words = declaration
                    .split(|c: char| !is_word(c))
                    .filter(|word| !word.is_empty());
                (self.line_of(at), words.collect())
            })
            .collect()
    }

    /// The `//!` paragraphs at the head of the file; empty where something else comes first.
    pub(crate) fn module_doc(&self) -> String {
        let mut rest = self.text.trim_start();
        while let Some((_, after)) = rest
            .strip_prefix("#!")
            .and_then(|attribute| attribute.split_once("]\n"))
        {
            rest = after.trim_start();
        }
        let doc = rest
            .lines()
            .map_while(|line| line.trim().strip_prefix("//!"));
        doc.map(str::trim).collect::<Vec<_>>().join("\n")
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    fn find_test_items(&mut self) {
        for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
            let starts: Vec<usize> = self
                .code
                .match_indices(attribute)
                .map(|(at, _)| at)
                .collect();
            starts.into_iter().for_each(|at| self.mark_test_item(at));
        }
    }

    /// Marks the item after an attribute: up to its closing brace, or the file of `mod name;`.
    fn mark_test_item(&mut self, at: usize) {
        let body = self.code[at..].find(['{', ';']).map(|offset| at + offset);
        let Some(body) = body else { return };
        let end = match self.code.as_bytes()[body] {
            b'{' => closing_brace(&self.code, body),
            _ => body,
        };
        let head = &self.code[at..body];
        if end == body
            && let Some((_, name)) = head.rsplit_once("mod ")
        {
            self.test_modules.push(module_stem(&self.path, name.trim()));
        }
        let (first, last) = (self.line_of(at), self.line_of(end));
        self.test_lines[first - 1..last].fill(true);
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_whole(code: &str, at: usize, pattern: &str) -> bool {
    let starts = !code[..at].chars().next_back().is_some_and(is_word);
    let word_end = pattern.chars().next_back().is_some_and(is_word);
    let goes_on = code[at + pattern.len()..]
        .chars()
        .next()
        .is_some_and(is_word);
    starts && !(word_end && goes_on)
}

fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/');
    path.ends_with("/tests.rs") || parts.any(|part| part == "tests" || part == "benches")
}

/// `crates/x/src/a.rs` declaring `mod b` → `crates/x/src/a/b`; `lib.rs`, `main.rs`, `mod.rs` → beside.
fn module_stem(path: &str, name: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    let folder = ["/lib", "/main", "/mod"]
        .iter()
        .find_map(|root| stem.strip_suffix(root))
        .unwrap_or(stem);
    format!("{folder}/{name}")
}

fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return open + offset;
        }
    }
    code.len()
}

/// Turns comments and the insides of literals into spaces, line by line in place.
struct Blanker {
    input: Vec<char>,
    at: usize,
    out: String,
}

impl Blanker {
    fn new(text: &str) -> Self {
        Self {
            input: text.chars().collect(),
            at: 0,
            out: String::with_capacity(text.len()),
        }
    }

    fn run(mut self) -> String {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.blank_while(|this| this.peek(0) != Some('\n')),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#')) if !self.after_word() => self.raw_string(),
                ('\'', Some(next)) if next == '\\' || self.peek(2) == Some('\'') => {
                    self.character()
                }
                _ => self.keep(),
            }
        }
        self.out
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.input.get(self.at + ahead).copied()
    }

    fn keep(&mut self) {
        self.out.push(self.input[self.at]);
        self.at += 1;
    }

    fn blank(&mut self) {
        self.out.push(if self.input[self.at] == '\n' {
            '\n'
        } else {
            ' '
        });
        self.at += 1;
    }

    fn blank_while(&mut self, go_on: impl Fn(&Self) -> bool) {
        while self.at < self.input.len() && go_on(self) {
            self.blank();
        }
    }

    /// `for`, `attr`: an `r` that ends a word; `br"…"` and `cr"…"` are raw strings still.
    fn after_word(&self) -> bool {
        let word: Vec<char> = self.input[..self.at]
            .iter()
            .rev()
            .take_while(|c| is_word(**c))
            .copied()
            .collect();
        !matches!(word[..], [] | ['b'] | ['c'])
    }

    fn block_comment(&mut self) {
        let mut depth = 0usize;
        while self.at < self.input.len() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.blank();
                    continue;
                }
            }
            self.blank();
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while let Some(c) = self.peek(0).filter(|c| *c != '"') {
            self.blank();
            if c == '\\' && self.peek(0).is_some() {
                self.blank();
            }
        }
        if self.peek(0).is_some() {
            self.keep();
        }
    }

    fn raw_string(&mut self) {
        let hashes = self.input[self.at + 1..]
            .iter()
            .take_while(|c| **c == '#')
            .count();
        if self.peek(hashes + 1) != Some('"') {
            return self.keep(); // a raw identifier: r#type
        }
        (0..hashes + 2).for_each(|_| self.keep());
        let closes = |this: &Self| {
            this.peek(0) == Some('"') && (1..=hashes).all(|n| this.peek(n) == Some('#'))
        };
        self.blank_while(|this| !closes(this));
        let rest = self.input.len() - self.at;
        (0..rest.min(hashes + 1)).for_each(|_| self.keep());
    }

    fn character(&mut self) {
        self.keep();
        self.blank(); // the character, or the backslash that makes the next one part of it
        if self.peek(0).is_some() && self.out.ends_with(' ') && self.input[self.at - 1] == '\\' {
            self.blank();
        }
        self.blank_while(|this| this.peek(0) != Some('\''));
        if self.peek(0).is_some() {
            self.keep();
        }
    }
}

#[test]
fn comments_and_literals_are_blanked_in_place() {
    let text = "let a = \"x // y\"; // z\nlet b = '\"'; /* \" /* */ */ let c: &'a str = r#\"q\"q\"#; b'\\'' b'{';";
    let code = RustSource::new("a.rs", text).code;
    assert_eq!(code.len(), text.len());
    assert_eq!(
        code,
        "let a = \"      \";     \nlet b = ' ';               let c: &'a str = r#\"   \"#; b'  ' b' ';"
    );
}

#[test]
fn test_modules_are_told_from_the_product() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { if x { y() } }\n}\nfn c() {}\n#[cfg(test)]\nmod far;\n";
    let mut sources = vec![
        RustSource::new("crates/x/src/lib.rs", text),
        RustSource::new("crates/x/src/far.rs", "fn d() {}\n"),
    ];
    RustSource::mark_test_modules(&mut sources);
    let lines: Vec<usize> = (1..=8)
        .filter(|line| sources[0].is_test_line(*line))
        .collect();
    assert_eq!(lines, [2, 3, 4, 5, 7, 8]);
    assert!(sources[1].is_test_line(1));
}

#[test]
fn words_are_whole() {
    let source = RustSource::new(
        "a.rs",
        "#![deny(unsafe_code)]\nunsafe { x }\nlet y = my_unsafe;\n",
    );
    assert_eq!(source.lines_with("unsafe"), [2]);
}

#[test]
fn the_module_doc_may_follow_inner_attributes() {
    let doc = |text| RustSource::new("a.rs", text).module_doc();
    assert_eq!(
        doc("#![allow(\n    missing_docs,\n)]\n\n//! One.\n//! Two.\nuse x;\n"),
        "One.\nTwo."
    );
    assert_eq!(doc("use x;\n//! late\n"), "");
    assert_eq!(doc("// plain\n//! late\n"), "");
}
