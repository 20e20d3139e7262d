//! The keys of an item's `hooks:`, declared like all others (see [`keys`](super::keys)).

use super::keys::Shape;
use crate::setting::{SettingDef, SettingType};

/// The hooks of an item.
pub(crate) const HOOKS_SHAPE: Shape = Shape {
    what: "`hooks:`",
    values: &[],
    sections: &[
        &["on_before_process"],
        &["on_after_process"],
        &["on_process_error"],
    ],
    later: &[],
};

const HOOK_WHEN: SettingDef = SettingDef::host(
    "when",
    SettingType::Text,
    "",
    "The condition, an expression over the message; without one the hook always acts.",
)
.optional();

const HOOK_WHEN_OUTCOME: SettingDef = SettingDef::host(
    "when",
    SettingType::Text,
    "",
    "The condition, an expression over the message and what became of it: `Verdict` (completed, \
     discarded, failed, suspended, retry, disabled), `Reason` and `Attempts` (a number) are known \
     too. Without one the hook always acts.",
)
.optional();

const HOOK_TAG: SettingDef = SettingDef::host(
    "tag",
    SettingType::Checked(check_plain),
    "",
    "A remark that is shown in the trace.",
)
.optional();

/// One entry of `on_before_process`.
pub(crate) const BEFORE_HOOK_SHAPE: Shape = Shape {
    what: "an entry of `on_before_process:`",
    values: &[
        HOOK_WHEN,
        SettingDef::host(
            "reject",
            SettingType::Checked(check_plain),
            "",
            "Do not process the message: it ends in state Error with this reason, and a sender who \
             waits gets a negative answer with it. Hooks behind this one are not asked.",
        )
        .optional(),
        HOOK_TAG,
    ],
    sections: &[&["set"]],
    later: &["script", "transform"],
};

/// One entry of `on_after_process`.
pub(crate) const AFTER_HOOK_SHAPE: Shape = Shape {
    what: "an entry of `on_after_process:`",
    values: &[
        HOOK_WHEN_OUTCOME,
        SettingDef::host(
            "tag",
            SettingType::Checked(check_plain),
            "",
            "A remark that is shown in the trace.",
        )
        .required(),
    ],
    sections: &[],
    later: &["script"],
};

/// One entry of `on_process_error`.
pub(crate) const ERROR_HOOK_SHAPE: Shape = Shape {
    what: "an entry of `on_process_error:`",
    values: &[
        HOOK_WHEN_OUTCOME,
        SettingDef::host(
            "then",
            SettingType::Choice(&[&["suspend"], &["fail"], &["discard"], &["complete"]]),
            "",
            "What becomes of the message instead: suspended for a person, failed (state Error), \
             discarded, or completed as if nothing had happened. Not given: what was decided stays. \
             A service knows `fail` and `discard` alone.",
        )
        .optional(),
        SettingDef::host(
            "reply",
            SettingType::Choice(&[&["AE"], &["AR"]]),
            "",
            "The code of an HL7 acknowledgement, with the reason, that a caller who waits gets. Not \
             in services, whose NackErrorCode decides.",
        )
        .optional(),
        SettingDef::host(
            "reason",
            SettingType::Checked(check_plain),
            "",
            "The reason that is recorded instead; the first one stays in the trace.",
        )
        .optional(),
        HOOK_TAG,
    ],
    sections: &[],
    later: &["script"],
};

/// Text of hooks goes to logs, traces and senders, so it says nothing of the message, and somebody
/// who believes it does must be told.
fn check_plain(text: &str) -> Result<(), String> {
    const PLAIN_MAX: usize = 256;
    if text.trim().is_empty() {
        Err("the text is empty".into())
    } else if text.chars().count() > PLAIN_MAX {
        Err(format!("the text has at most {PLAIN_MAX} characters"))
    } else if text.chars().any(char::is_control) {
        Err("the text is one line without control characters".into())
    } else if text.contains(['{', '}']) {
        Err(
            "nothing of the message is put in here, because it goes to logs and senders: \
             write it without braces"
                .into(),
        )
    } else {
        Ok(())
    }
}
