//! What a rule set says about one message. It owns the single copy of each target and the line for the
//! rule log; how it comes about is in the rule set.

use std::fmt;

use smallvec::SmallVec;

/// A rule that held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'r> {
    /// Place of the rule in the set, from 0.
    pub index: usize,
    /// Name of the rule.
    pub name: &'r str,
    /// The part of its condition that held, as written; empty for a rule without a condition.
    pub clause: &'r str,
}

/// What is to be done with one message, and why.
///
/// Its [`Display`](fmt::Display) is the line for the rule log: names and the rule's own text, nothing of
/// the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'r> {
    /// Name of the set that decided.
    pub ruleset: &'r str,
    /// The items that get the message, each once, in the order the rules name them.
    pub sends: SmallVec<[&'r str; 4]>,
    /// Whether a rule that held, or the default, says the message ends here on purpose. Targets of other
    /// rules stand all the same: a rule to delete never takes a message from who else should get it.
    pub deleted: bool,
    /// Whether no rule held and the set's default action was taken.
    pub defaulted: bool,
    /// The rules that held.
    pub matched: SmallVec<[Match<'r>; 4]>,
}

impl<'r> Decision<'r> {
    pub(crate) fn new(ruleset: &'r str) -> Self {
        let (sends, matched) = (SmallVec::new(), SmallVec::new());
        Decision {
            ruleset,
            sends,
            deleted: false,
            defaulted: false,
            matched,
        }
    }

    /// Adds a target that is not named yet.
    pub(crate) fn send(&mut self, target: &'r str) {
        if !self.sends.contains(&target) {
            self.sends.push(target);
        }
    }

    /// Whether the set says nothing about the message: no rule held and it has no default. The routing
    /// engine's own default targets are for this case, and an empty list there must be reported.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.matched.is_empty() && !self.defaulted
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.ruleset)?;
        for (n, rule) in self.matched.iter().enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            let clause = if rule.clause.trim().is_empty() {
                "always"
            } else {
                rule.clause.trim()
            };
            write!(
                f,
                "{separator}rule {} {:?} [{clause}]",
                rule.index + 1,
                rule.name
            )?;
        }
        match (self.matched.is_empty(), self.defaulted) {
            (true, true) => f.write_str("no rule, default")?,
            (true, false) => f.write_str("no rule, no default")?,
            _ => {}
        }
        match (self.sends.is_empty(), self.deleted) {
            (true, true) => f.write_str(" -> deleted"),
            (true, false) => f.write_str(" -> nobody"),
            (false, _) => write!(f, " -> {}", self.sends.join(", ")),
        }
    }
}
