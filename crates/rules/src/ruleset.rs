//! A compiled rule set. It owns the checks of a definition and the order in which rules are asked; it
//! sends nothing: the routing engine does what the [`Decision`] says.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

use smallvec::SmallVec;

use crate::decision::{Decision, Match};
use crate::def::{ActionDef, MatchMode, RuleDef, RuleSetDef};
use crate::document::Context;
use crate::error::CompileError;
use crate::expr::Expr;
use crate::scope::{Places, Scope};

/// A fault of a rule set's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// Place of the rule in the set, from 0; `None` for what belongs to the set itself.
    pub rule_index: Option<usize>,
    /// The key that is wrong.
    pub field: RuleField,
    /// For a list, which entry, from 0.
    pub entry: Option<usize>,
    /// First faulty byte within the value of that key.
    pub offset: usize,
    /// Length of the faulty part in bytes; 0 where something is missing.
    pub len: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be said.
    pub help: Option<String>,
}

/// The keys of a definition that can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleField {
    /// `name` of the rule or the set.
    Name,
    /// `when` of a rule.
    When,
    /// `send` of a rule or of the default.
    Send,
    /// `delete` of a rule or of the default.
    Delete,
    /// `default` of the set.
    Default,
}

impl RuleField {
    /// The key as it is written in YAML.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            RuleField::Name => "name",
            RuleField::When => "when",
            RuleField::Send => "send",
            RuleField::Delete => "delete",
            RuleField::Default => "default",
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule_index {
            Some(index) => write!(
                f,
                "rule {}, {}: {}",
                index + 1,
                self.field.key(),
                self.message
            )?,
            None => write!(f, "{}: {}", self.field.key(), self.message)?,
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RuleError {}

/// Index into the targets of a set.
type Target = usize;

#[derive(Debug, Clone, PartialEq)]
struct Action {
    send: Box<[Target]>,
    delete: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    name: Box<str>,
    enabled: bool,
    when: Expr,
    action: Action,
}

/// Rules that are ready to decide.
#[derive(Debug, Clone)]
pub struct RuleSet {
    name: Box<str>,
    match_mode: MatchMode,
    rules: Box<[Rule]>,
    default: Option<Action>,
    targets: Vec<Box<str>>,
    places: Places,
}

/// The same rules decide the same. What is derived from them needs no look.
impl PartialEq for RuleSet {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.match_mode == other.match_mode
            && self.targets == other.targets
            && self.rules == other.rules
            && self.default == other.default
    }
}

impl RuleSet {
    /// Checks and compiles a definition.
    ///
    /// # Errors
    /// Every fault of the set at once, in the order of the rules.
    pub fn compile(def: &RuleSetDef) -> Result<Self, Vec<RuleError>> {
        let mut compiler = Compiler::default();
        if def.name.trim().is_empty() {
            compiler.fault(None, RuleField::Name, "a rule set needs a name");
        }
        let rules = def
            .rules
            .iter()
            .enumerate()
            .map(|(at, rule)| compiler.rule(def, at, rule))
            .collect::<Vec<_>>();
        let default = def
            .default
            .as_ref()
            .map(|action| compiler.action(None, action));
        if !compiler.errors.is_empty() {
            return Err(compiler.errors);
        }
        let rules = rules.into_iter().flatten().collect();
        let (name, match_mode) = (def.name.as_str().into(), def.match_mode);
        Ok(RuleSet {
            name,
            match_mode,
            rules,
            default,
            targets: compiler.targets,
            places: compiler.places,
        })
    }

    /// Name of the set.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every item that the set names, once, in the order of first mention, rules that are off included.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|name| &**name)
    }

    /// Says what is to be done with a message.
    #[must_use]
    pub fn decide(&self, context: &Context<'_>) -> Decision<'_> {
        let found: SmallVec<[OnceCell<Cow<'_, str>>; 16]> =
            (0..self.places.len()).map(|_| OnceCell::new()).collect();
        let scope = Scope {
            context,
            found: &found,
            words: &[],
        };
        let mut decision = Decision::new(&self.name);
        for (index, rule) in self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.enabled)
        {
            let Some(clause) = rule.when.why_in(&scope) else {
                continue;
            };
            decision.matched.push(Match {
                index,
                name: &rule.name,
                clause,
            });
            self.apply(&rule.action, &mut decision);
            if self.match_mode == MatchMode::First {
                break;
            }
        }
        if decision.matched.is_empty()
            && let Some(action) = &self.default
        {
            decision.defaulted = true;
            self.apply(action, &mut decision);
        }
        decision
    }

    fn apply<'r>(&'r self, action: &Action, decision: &mut Decision<'r>) {
        decision.deleted |= action.delete;
        for name in action
            .send
            .iter()
            .filter_map(|target| self.targets.get(*target))
        {
            decision.send(name);
        }
    }
}

#[derive(Default)]
struct Compiler {
    errors: Vec<RuleError>,
    targets: Vec<Box<str>>,
    places: Places,
}

impl Compiler {
    fn rule(&mut self, def: &RuleSetDef, at: usize, rule: &RuleDef) -> Option<Rule> {
        self.name(def, at, rule);
        let when = Expr::compile(rule.when.as_deref().unwrap_or(""));
        let mut when = when.map_err(|error| self.when(at, error)).ok();
        if let Some(when) = &mut when {
            when.number(&mut self.places);
        }
        let action = ActionDef {
            send: rule.send.clone(),
            delete: rule.delete,
        };
        let action = self.action(Some(at), &action);
        Some(Rule {
            name: rule.name.as_str().into(),
            enabled: rule.enabled,
            when: when?,
            action,
        })
    }

    fn name(&mut self, def: &RuleSetDef, at: usize, rule: &RuleDef) {
        if rule.name.trim().is_empty() {
            self.fault(Some(at), RuleField::Name, "a rule needs a name");
        } else if let Some(first) = def
            .rules
            .iter()
            .take(at)
            .position(|other| other.name == rule.name)
        {
            let message = format!("rule {} has the name {:?} already", first + 1, rule.name);
            let error = self.fault(Some(at), RuleField::Name, message);
            (error.len, error.help) = (
                rule.name.len(),
                Some("names tell rules apart in logs and traces".into()),
            );
        }
    }

    fn when(&mut self, at: usize, error: CompileError) {
        let CompileError {
            offset,
            len,
            message,
            help,
        } = error;
        let (rule_index, field, entry) = (Some(at), RuleField::When, None);
        self.errors.push(RuleError {
            rule_index,
            field,
            entry,
            offset,
            len,
            message,
            help,
        });
    }

    fn action(&mut self, at: Option<usize>, action: &ActionDef) -> Action {
        if action.delete && !action.send.is_empty() {
            let error = self.fault(
                at,
                RuleField::Delete,
                "send and delete contradict each other",
            );
            error.help =
                Some("leave delete out: a message that is sent on needs no deleting".into());
        }
        if !action.delete && action.send.is_empty() {
            let field = if at.is_some() {
                RuleField::Send
            } else {
                RuleField::Default
            };
            let error = self.fault(at, field, "this does nothing with the message");
            error.help =
                Some("name targets, send: [EPR], or say that it ends here, delete: true".into());
        }
        let mut send: Vec<Target> = Vec::with_capacity(action.send.len());
        for (entry, name) in action.send.iter().enumerate() {
            if name.trim().is_empty() {
                self.fault(at, RuleField::Send, "a target needs a name")
                    .entry = Some(entry);
                continue;
            }
            let target = self.target(name);
            if !send.contains(&target) {
                send.push(target);
            }
        }
        Action {
            send: send.into(),
            delete: action.delete,
        }
    }

    fn target(&mut self, name: &str) -> Target {
        let known = self.targets.iter().position(|known| **known == *name);
        known.unwrap_or_else(|| {
            self.targets.push(name.into());
            self.targets.len() - 1
        })
    }

    fn fault(
        &mut self,
        rule_index: Option<usize>,
        field: RuleField,
        message: impl Into<String>,
    ) -> &mut RuleError {
        let (entry, offset, len, message, help) = (None, 0, 0, message.into(), None);
        self.errors.push_mut(RuleError {
            rule_index,
            field,
            entry,
            offset,
            len,
            message,
            help,
        })
    }
}
