//! The hooks that the configuration gives an item, compiled, and what they say of a message.
//!
//! Owns their evaluation: plain functions from bytes and an outcome to a decision. Knows no host,
//! no queue and no file; nothing of a message gets into a note or a reason.

use std::borrow::Cow;

use bytes::Bytes;
use hie_hl7::{AckCode, Path};
use hie_rules::{Change, Context, Document, Expr, Word, apply};

use super::{rejected, remark};
use crate::host::{Outcome, Verdict};

/// Words that the conditions of `on_after_process` and `on_process_error` know besides those of
/// the rule language.
pub const OUTCOME_WORDS: &[Word] = &[
    Word {
        name: "Verdict",
        numeric: false,
    },
    Word {
        name: "Reason",
        numeric: false,
    },
    Word {
        name: "Attempts",
        numeric: true,
    },
];

/// The codes that `reply:` may name.
pub(crate) const REPLY_CODES: &[(&str, AckCode)] = &[("AE", AckCode::AE), ("AR", AckCode::AR)];

/// The hooks of one item, in the order of the file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hooks {
    pub(crate) before: Vec<BeforeHook>,
    pub(crate) after: Vec<AfterHook>,
    pub(crate) error: Vec<ErrorHook>,
}

/// One entry of `on_before_process`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct BeforeHook {
    pub(crate) when: Option<Expr>,
    pub(crate) reject: Option<String>,
    pub(crate) set: Vec<Change>,
    pub(crate) tag: Option<String>,
}

/// One entry of `on_after_process`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct AfterHook {
    pub(crate) when: Option<Expr>,
    pub(crate) tag: String,
}

/// One entry of `on_process_error`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ErrorHook {
    pub(crate) when: Option<Expr>,
    pub(crate) then: Option<Verdict>,
    pub(crate) reply: Option<AckCode>,
    pub(crate) reason: Option<String>,
    pub(crate) tag: Option<String>,
}

/// What the hooks before a message say.
#[derive(Default)]
pub(crate) struct Judged {
    /// The bytes to go on with, where they changed.
    pub(crate) body: Option<Bytes>,
    /// What is to be seen in the trace.
    pub(crate) note: String,
    /// Why it is not processed: the reason of a rejection, or of a hook that failed.
    pub(crate) end: Option<String>,
}

/// What an error hook makes of a failure.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Recovery {
    pub(crate) then: Option<Verdict>,
    pub(crate) reply: Option<AckCode>,
    pub(crate) reason: Option<String>,
}

impl Hooks {
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.error.is_empty()
    }

    /// Runs the entries of `on_before_process` in order; each sees what those before it changed.
    pub(crate) fn before(&self, body: &Bytes, source: &str) -> Judged {
        let mut judged = Judged::default();
        for hook in &self.before {
            let bytes = judged.body.as_ref().unwrap_or(body);
            if !holds(hook.when.as_ref(), bytes, source, &[]) {
                continue;
            }
            if let Some(tag) = &hook.tag {
                remark(&mut judged.note, &format!("on_before_process: tag {tag}"));
            }
            if let Some(reason) = &hook.reject {
                judged.end = Some(rejected(reason));
                return judged;
            }
            if hook.set.is_empty() {
                continue;
            }
            match changed(&hook.set, bytes, source) {
                Ok(new) if new == *bytes => {}
                Ok(new) => {
                    judged.body = Some(new);
                    let places = hook.set.iter().map(Change::place);
                    let places: Vec<String> = places.map(Path::to_string).collect();
                    let text = format!("on_before_process: {} set", places.join(", "));
                    remark(&mut judged.note, &text);
                }
                Err(why) => {
                    judged.body = None;
                    judged.end = Some(format!("on_before_process failed: {why}"));
                    return judged;
                }
            }
        }
        judged
    }

    /// What the entries of `on_after_process` note about an end.
    pub(crate) fn after(
        &self,
        body: &Bytes,
        source: &str,
        outcome: &Outcome,
        tries: u16,
    ) -> String {
        let mut note = String::new();
        if self.after.is_empty() {
            return note;
        }
        let tries = tries.to_string();
        let words = words(outcome, &tries);
        for hook in &self.after {
            if holds(hook.when.as_ref(), body, source, &words) {
                remark(&mut note, &format!("on_after_process: tag {}", hook.tag));
            }
        }
        note
    }

    /// What the entries of `on_process_error` make of a failure: the first that holds and does
    /// more than note a tag decides. The tags are added to `note`.
    pub(crate) fn error(
        &self,
        body: &Bytes,
        source: &str,
        outcome: &Outcome,
        tries: u16,
        note: &mut String,
    ) -> Option<Recovery> {
        if self.error.is_empty() {
            return None;
        }
        let tries = tries.to_string();
        let words = words(outcome, &tries);
        for hook in &self.error {
            if !holds(hook.when.as_ref(), body, source, &words) {
                continue;
            }
            if let Some(tag) = &hook.tag {
                remark(note, &format!("on_process_error: tag {tag}"));
            }
            let recovery = Recovery {
                then: hook.then,
                reply: hook.reply,
                reason: hook.reason.clone(),
            };
            if recovery != Recovery::default() {
                return Some(recovery);
            }
        }
        None
    }
}

/// The name of a verdict, as conditions compare it.
pub(crate) fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Completed => "completed",
        Verdict::Discarded => "discarded",
        Verdict::Failed => "failed",
        Verdict::Suspended => "suspended",
        Verdict::Retry(_) => "retry",
        Verdict::Disable => "disabled",
    }
}

/// The values of [`OUTCOME_WORDS`].
fn words<'a>(outcome: &'a Outcome, tries: &'a str) -> [&'a str; 3] {
    [verdict_name(outcome.verdict), &outcome.reason, tries]
}

fn holds(when: Option<&Expr>, body: &Bytes, source: &str, words: &[&str]) -> bool {
    let Some(when) = when else { return true };
    let message = hie_hl7::Message::parse(body);
    let document: &dyn Document = match &message {
        Ok(message) => message,
        Err(_) => &Nothing,
    };
    when.eval_with(&Context { document, source }, words)
}

fn changed(changes: &[Change], body: &Bytes, source: &str) -> Result<Bytes, String> {
    let message = hie_hl7::Message::parse(body).map_err(|error| error.to_string())?;
    let bytes = apply(changes, &message, source).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// What is no HL7 v2 has none of the places that conditions ask for.
struct Nothing;

impl Document for Nothing {
    fn value(&self, _: &Path) -> Cow<'_, str> {
        "".into()
    }

    fn any(&self, _: &Path, visit: &mut dyn FnMut(&str) -> bool) -> bool {
        visit("")
    }
}
