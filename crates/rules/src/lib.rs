//! Expressions over messages, the routing rules built from them, and small changes told in words.
//!
//! This crate reads conditions such as `MSH-9.1 = "ADT" and not (PID-8 In ("U", "O"))`, checks them once
//! with errors that point into the text, and answers for each message which rules hold and which items get
//! it. It knows HL7 v2 messages and nothing of hosts, queues or stores: a [`Decision`] is a value, and the
//! routing engine carries it out. The language is told in `docs/reference/rules.md`.
//!
//! Invariants: what compiles evaluates without panic and in bounded time; nothing that is written is
//! silently false; no text of a message appears in an error, a decision or a log line.

mod change;
mod decision;
mod def;
mod document;
mod error;
mod expr;
mod lexer;
mod names;
mod number;
mod parser;
mod path;
mod pattern;
mod ruleset;
mod scope;
mod template;
mod value;
mod words;

pub use change::{Change, ChangeError, ChangeFault, apply};
pub use decision::{Decision, Match};
pub use def::{ActionDef, MatchMode, RuleDef, RuleSetDef};
pub use document::{Context, Document};
pub use error::CompileError;
pub use expr::{EXPRESSION_MAX_BYTES, EXPRESSION_MAX_DEPTH, Expr};
pub use path::parse_path;
pub use ruleset::{RuleError, RuleField, RuleSet};
pub use words::Word;
