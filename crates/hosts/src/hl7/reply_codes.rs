//! `ReplyCodeActions`: what an operation does with a reply, in the grammar that IRIS users know.
//!
//! A comma-separated list of `code=actions`. Codes test MSA-1 of the reply (`:AA` literally, `:?A`
//! AA or CA, `:?E`, `:?R`, `:_` empty, `:~` no MSA, `:*` any that nothing else matched), MSA-2
//! (`:I?` is not the control id that was sent), the reply's type (`:T?` is no acknowledgement),
//! or a failure before any reply (`E` any, `E*<text>` one whose words contain the text, `X` no
//! reply object). Entries with only `W` are all tested; of the rest the first match from the left
//! acts. Actions: `C` completed, `W` warn (and complete), `R` retry until `FailureTimeout` and
//! then the next letter, `S` suspend, `F` fail, `D` disable the item.

use hie_engine::host::{GiveUp, Outcome, Verdict};
use hie_hl7::ack::Ack;

/// The default of IRIS.
pub const DEFAULT: &str = ":?R=RF,:?E=S,:~=S,:?A=C,:*=S,:I?=W,:T?=C";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Code {
    /// A literal MSA-1.
    Literal(String),
    Accept,
    Error,
    Reject,
    Empty,
    Other,
    NoMsa,
    WrongId,
    WrongType,
    /// A failure before any reply; the text that its words must contain, empty for any.
    Failure(String),
    NoReply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Complete,
    Warn,
    Retry(GiveUp),
    Suspend,
    Disable,
    Fail,
}

/// A list of actions, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyCodeActions {
    entries: Vec<(Code, Action, bool)>,
}

/// What came of sending a message.
pub enum Reply<'a> {
    /// A reply with an MSA, and the control id that was sent.
    Ack(Ack<'a>, &'a [u8]),
    /// A reply without an MSA, or one that is no HL7 message at all.
    NoMsa,
    /// Nothing: the failure in words, without message content.
    Failure(&'a str),
}

/// For the settings table.
pub fn check(text: &str) -> Result<(), String> {
    ReplyCodeActions::parse(text).map(|_| ())
}

impl ReplyCodeActions {
    /// Reads a list; empty is the default. The error names the entry and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = if text.trim().is_empty() {
            DEFAULT
        } else {
            text
        };
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let entries = entries.map(parse_entry).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// What becomes of the message. `note` gets a line for each warning.
    pub fn judge(&self, reply: &Reply<'_>) -> Outcome {
        let mut notes = Vec::new();
        let mut decided = None;
        for (code, action, only_warns) in self.entries.iter().filter(|entry| entry.0 != Code::Other)
        {
            if !matches(code, reply) {
                continue;
            }
            if *only_warns {
                notes.push(describe(reply, code));
            } else if decided.is_none() {
                decided = Some((code, *action));
            }
        }
        let other = self.entries.iter().find(|entry| entry.0 == Code::Other);
        if decided.is_none() && matches!(reply, Reply::Ack(..)) {
            decided = other.map(|(code, action, _)| (code, *action));
        }
        let (why, action) = match decided {
            Some((code, action)) => (describe(reply, code), action),
            // What the list does not speak of: temporary failures are tried again, a reply that
            // nobody foresaw is for a person, and an entry that only warns has let it pass.
            None if !notes.is_empty() => (String::new(), Action::Complete),
            None => (describe(reply, &Code::Other), unforeseen(reply)),
        };
        outcome(action, why).with_note(notes.join("; "))
    }
}

fn unforeseen(reply: &Reply<'_>) -> Action {
    match reply {
        Reply::Failure(_) => Action::Retry(GiveUp::Fail),
        _ => Action::Suspend,
    }
}

fn outcome(action: Action, why: String) -> Outcome {
    match action {
        Action::Complete => Outcome::completed(),
        Action::Warn => Outcome::completed().with_note(why),
        Action::Retry(then) => Outcome::new(Verdict::Retry(then), why),
        Action::Suspend => Outcome::new(Verdict::Suspended, why),
        Action::Disable => Outcome::new(Verdict::Disable, why),
        Action::Fail => Outcome::new(Verdict::Failed, why),
    }
}

/// The reply in words: codes and ids' relations, never what the peer wrote in free text.
fn describe(reply: &Reply<'_>, code: &Code) -> String {
    match (reply, code) {
        (Reply::Failure(failure), _) => (*failure).to_owned(),
        (Reply::NoMsa, _) => "the reply has no MSA segment".into(),
        (Reply::Ack(..), Code::WrongId) => "the reply answers another control id (MSA-2)".into(),
        (Reply::Ack(..), Code::WrongType) => {
            "the reply is of another type than an acknowledgement".into()
        }
        (Reply::Ack(ack, _), _) => match ack.code {
            Some(code) => format!("the peer answered {}", code.as_str()),
            None if ack.raw_code.is_empty() => "the reply's MSA-1 is empty".into(),
            None => "the reply's MSA-1 is no known code".into(),
        },
    }
}

fn matches(code: &Code, reply: &Reply<'_>) -> bool {
    match reply {
        Reply::Failure(words) => match code {
            Code::Failure(text) => words.contains(text.as_str()),
            Code::NoReply => true,
            _ => false,
        },
        Reply::NoMsa => *code == Code::NoMsa,
        Reply::Ack(ack, sent) => match code {
            Code::Literal(literal) => ack.raw_code.trim_ascii() == literal.as_bytes(),
            Code::Accept => ack.code.is_some_and(hie_hl7::AckCode::is_accept),
            Code::Error => ack.code.is_some_and(hie_hl7::AckCode::is_error),
            Code::Reject => ack
                .code
                .is_some_and(|code| !code.is_accept() && !code.is_error()),
            Code::Empty => ack.raw_code.trim_ascii().is_empty(),
            Code::WrongId => ack.control_id != *sent,
            Code::WrongType => ack.message.header().message_code != b"ACK",
            Code::Other | Code::NoMsa | Code::Failure(_) | Code::NoReply => false,
        },
    }
}

fn parse_entry(entry: &str) -> Result<(Code, Action, bool), String> {
    let (code, actions) = entry
        .split_once('=')
        .ok_or_else(|| format!("{entry:?} lacks `=`: write code=actions, such as :?R=RF"))?;
    let code = parse_code(code.trim()).ok_or_else(|| {
        format!("{code:?} is no code; allowed: :AA and other codes, :?A, :?E, :?R, :_, :*, :~, :I?, :T?, E, E*<text>, X")
    })?;
    let letters = actions.trim();
    let action = parse_actions(letters).ok_or_else(|| {
        format!("{letters:?} is no action; allowed: C, W, S, D, F, R (bare), RF, RS, RD, RC, each also after W")
    })?;
    Ok((code, action, letters == "W"))
}

fn parse_code(code: &str) -> Option<Code> {
    Some(match code {
        ":?A" => Code::Accept,
        ":?E" => Code::Error,
        ":?R" => Code::Reject,
        ":_" => Code::Empty,
        ":*" => Code::Other,
        ":~" => Code::NoMsa,
        ":I?" => Code::WrongId,
        ":T?" => Code::WrongType,
        "E" => Code::Failure(String::new()),
        "X" => Code::NoReply,
        _ => match (code.strip_prefix(':'), code.strip_prefix("E*")) {
            (Some(literal), _)
                if literal.len() == 2 && literal.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                Code::Literal(literal.to_owned())
            }
            (_, Some(text)) if !text.is_empty() => Code::Failure(text.to_owned()),
            _ => return None,
        },
    })
}

fn parse_actions(letters: &str) -> Option<Action> {
    let acting = letters
        .strip_prefix('W')
        .filter(|rest| !rest.is_empty())
        .unwrap_or(letters);
    Some(match acting {
        "C" => Action::Complete,
        "W" => Action::Warn,
        "S" => Action::Suspend,
        "D" => Action::Disable,
        "F" => Action::Fail,
        "R" | "RC" => Action::Retry(GiveUp::Complete),
        "RF" => Action::Retry(GiveUp::Fail),
        "RS" => Action::Retry(GiveUp::Suspend),
        "RD" => Action::Retry(GiveUp::Disable),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(code: &str, id: &str, kind: &str) -> String {
        format!("MSH|^~\\&|A|B|C|D|20260101||{kind}|1|P|2.5\rMSA|{code}|{id}\r")
    }

    fn judged(list: &str, code: &str, id: &str) -> (Verdict, String) {
        let text = ack(code, id, "ACK");
        let reply = Reply::Ack(hie_hl7::ack::read(text.as_bytes()).unwrap(), b"ID1");
        let outcome = ReplyCodeActions::parse(list).unwrap().judge(&reply);
        (outcome.verdict, outcome.note)
    }

    #[test]
    fn the_default_acts_as_in_iris() {
        for (code, verdict) in [
            ("AA", Verdict::Completed),
            ("CA", Verdict::Completed),
            ("AE", Verdict::Suspended),
            ("CE", Verdict::Suspended),
            ("AR", Verdict::Retry(GiveUp::Fail)),
            ("CR", Verdict::Retry(GiveUp::Fail)),
            ("ZZ", Verdict::Suspended),
            ("", Verdict::Suspended),
        ] {
            assert_eq!(judged("", code, "ID1"), (verdict, String::new()), "{code}");
        }
        let (verdict, note) = judged("", "AA", "OTHER");
        assert_eq!(verdict, Verdict::Completed);
        assert!(note.contains("another control id"), "{note}");
        let all = ReplyCodeActions::parse("").unwrap();
        assert_eq!(all.judge(&Reply::NoMsa).verdict, Verdict::Suspended);
        assert_eq!(
            all.judge(&Reply::Failure("no reply")).verdict,
            Verdict::Retry(GiveUp::Fail)
        );
    }

    #[test]
    fn the_first_match_from_the_left_acts_and_the_star_comes_last() {
        assert_eq!(judged(":*=F,:AE=C", "AE", "ID1").0, Verdict::Completed);
        assert_eq!(judged(":?E=S,:AE=C", "AE", "ID1").0, Verdict::Suspended);
        assert_eq!(judged(":AE=C,:?E=S", "CE", "ID1").0, Verdict::Suspended);
        assert_eq!(judged(":?A=C,:*=F", "AR", "ID1").0, Verdict::Failed);
        assert_eq!(judged(":_=D,:?A=C", "", "ID1").0, Verdict::Disable);
        assert_eq!(
            judged(":?R=R", "AR", "ID1").0,
            Verdict::Retry(GiveUp::Complete)
        );
        assert_eq!(judged(":?E=W", "AE", "ID1").0, Verdict::Completed);
    }

    #[test]
    fn failures_before_a_reply_can_be_told_apart() {
        let list = ReplyCodeActions::parse("E*refused=D,E=RS").unwrap();
        assert_eq!(
            list.judge(&Reply::Failure("connection refused")).verdict,
            Verdict::Disable
        );
        assert_eq!(
            list.judge(&Reply::Failure("no reply within 30s")).verdict,
            Verdict::Retry(GiveUp::Suspend)
        );
        let list = ReplyCodeActions::parse("X=F").unwrap();
        assert_eq!(
            list.judge(&Reply::Failure("anything")).verdict,
            Verdict::Failed
        );
    }

    #[test]
    fn another_type_of_reply_is_seen() {
        let text = ack("AA", "ID1", "RSP^K22");
        let reply = Reply::Ack(hie_hl7::ack::read(text.as_bytes()).unwrap(), b"ID1");
        assert_eq!(
            ReplyCodeActions::parse(":T?=F")
                .unwrap()
                .judge(&reply)
                .verdict,
            Verdict::Failed
        );
        assert_eq!(
            ReplyCodeActions::parse("").unwrap().judge(&reply).verdict,
            Verdict::Completed
        );
    }

    #[test]
    fn wrong_lists_are_refused_with_what_is_allowed() {
        for (wrong, words) in [
            (":?R", "lacks `=`"),
            (":?Q=C", "is no code"),
            ("AA=C", "is no code"),
            (":AA=Z", "is no action"),
            (":AA=FR", "is no action"),
            (":AA=", "is no action"),
        ] {
            let error = ReplyCodeActions::parse(wrong).unwrap_err();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }
}
