//! Licence expressions (SPDX 2.3, annex D): reads one and says whether a list of licences allows it.
//! Owns the grammar, not the list. The old `MIT/Apache-2.0` of early crates means OR.

/// Whether `expression` can be fulfilled with the allowed licences; none if it cannot be read.
pub(crate) fn allows(expression: &str, allowed: &[String]) -> Option<bool> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut reader = Reader {
        tokens: spaced.split_whitespace().collect(),
        at: 0,
        allowed,
    };
    let answer = reader.any()?;
    (reader.at == reader.tokens.len()).then_some(answer)
}

struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    allowed: &'a [String],
}

impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| *token == word);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.take("OR") {
            answer |= self.all()?;
        }
        Some(answer)
    }

    fn all(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let answer = self.any()?;
            return self.take(")").then_some(answer);
        }
        let mut name = (*self.tokens.get(self.at)?).to_owned();
        self.at += 1;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.tokens.get(self.at)?);
            self.at += 1;
        }
        let is_name = !matches!(name.as_str(), "OR" | "AND" | ")");
        is_name.then(|| self.allowed.contains(&name))
    }
}

#[test]
fn expressions_are_judged() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    let allows = |expression| allows(expression, &allowed);
    assert_eq!(allows("MIT"), Some(true));
    assert_eq!(allows("GPL-3.0 OR MIT"), Some(true));
    assert_eq!(allows("GPL-3.0/MIT"), Some(true));
    assert_eq!(allows("GPL-3.0 AND MIT"), Some(false));
    assert_eq!(allows("(GPL-3.0 OR ISC) AND MIT"), Some(true));
    assert_eq!(allows("MIT WITH Some-exception"), Some(false));
    assert_eq!(allows("MIT OR"), None);
    assert_eq!(allows("(MIT"), None);
    assert_eq!(allows("MIT ISC"), None);
}
