//! Changes of a message told in words: `PID-3.4` becomes `NHS`. It owns which places may be set, what a
//! value is (a text, or the bytes of another place), and the making of the new bytes; the splicing is
//! `hie-hl7`'s, so what no change names stays identical byte for byte.

use hie_hl7::{
    Message, Path,
    edit::{Edit, EditError},
    path::Index,
};

use crate::document::Context;
use crate::error::CompileError;
use crate::path::parse_path;
use crate::template::Template;

/// One place and what is put there; compiled once.
#[derive(Debug, Clone)]
pub struct Change {
    place: Path,
    value: What,
    /// The value as it is written.
    text: Box<str>,
}

/// The same place and text mean the same.
impl PartialEq for Change {
    fn eq(&self, other: &Self) -> bool {
        (self.place, &self.text) == (other.place, &other.text)
    }
}

#[derive(Debug, Clone)]
enum What {
    /// The bytes of another place, with their escapes and their parts.
    Copy(Path),
    Text(Template),
}

/// What is wrong with a change, and in which of its two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeFault {
    /// In the place.
    Place(CompileError),
    /// In the value.
    Value(CompileError),
}

/// Why a change cannot be made to a message. Names places, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeError {
    /// The splice is not possible.
    Edit(EditError),
    /// The value has bytes that are not of the message's character set, so it cannot be told as text.
    NotText(Path),
}

impl std::fmt::Display for ChangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Edit(error) => error.fmt(f),
            Self::NotText(path) => write!(
                f,
                "{path} cannot be set: what it is made of has bytes that are not of the message's character set (MSH-18)"
            ),
        }
    }
}

impl std::error::Error for ChangeError {}

impl Change {
    /// Reads a change: the place in any spelling of a path, and its value, a text in which `{PID-5.1}`
    /// stands for a value of the message. A value that is nothing but one path copies that place as it
    /// is, components and escapes included; any other is put in as text, escaped and encoded.
    ///
    /// # Errors
    /// The first fault, with its place in the text it is in.
    pub fn compile(place: &str, value: &str) -> Result<Self, ChangeFault> {
        let path = parse_path(place).map_err(ChangeFault::Place)?;
        may_be_set(&path, place).map_err(ChangeFault::Place)?;
        let template = Template::compile(value).map_err(ChangeFault::Value)?;
        let what = match template.as_path() {
            Some(from) => {
                fits(&path, from, value).map_err(ChangeFault::Value)?;
                What::Copy(*from)
            }
            None => What::Text(template),
        };
        Ok(Change {
            place: path,
            value: what,
            text: value.into(),
        })
    }

    /// Where it puts its value.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    fn make(
        &self,
        edit: &mut Edit,
        message: &Message<'_>,
        context: &Context<'_>,
    ) -> Result<(), ChangeError> {
        let text = match &self.value {
            What::Copy(from) => {
                let raw = message.get(from).unwrap_or_default();
                return self.put(edit, raw.is_empty(), |edit| {
                    edit.set(&self.place, raw).map(drop)
                });
            }
            What::Text(template) => template.render(context),
        };
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Err(ChangeError::NotText(self.place));
        }
        self.put(edit, text.is_empty(), |edit| {
            edit.set_text(&self.place, &text).map(drop)
        })
    }

    /// Emptying what is absent changes nothing; a `Z` segment that is absent is added at the end.
    fn put(
        &self,
        edit: &mut Edit,
        empty: bool,
        put: impl FnOnce(&mut Edit) -> Result<(), EditError>,
    ) -> Result<(), ChangeError> {
        let now = Message::parse(edit.bytes());
        let held = |path: &Path| {
            now.as_ref()
                .is_ok_and(|now| !now.get_all(path).all(<[u8]>::is_empty))
        };
        let name = *self.place.segment();
        let segment = Path::from_parts(&name, Index::All, None);
        let absent = segment.is_none_or(|segment| !held(&segment));
        if (empty && !held(&self.place)) || (absent && self.place.occurrence() == Index::All) {
            return Ok(());
        }
        let first = matches!(self.place.occurrence(), Index::Default | Index::Nth(1));
        if absent && first && name.starts_with(b"Z") {
            edit.append_segment(&name).map_err(ChangeError::Edit)?;
        }
        put(edit).map_err(ChangeError::Edit)
    }
}

/// The message with all of the changes. Each value is had from the message as it is given, whatever the
/// changes before it did.
///
/// # Errors
/// The first change that cannot be made; then nothing is changed.
pub fn apply(
    changes: &[Change],
    message: &Message<'_>,
    source: &str,
) -> Result<Vec<u8>, ChangeError> {
    let context = Context {
        document: message,
        source,
    };
    let mut edit = Edit::new(message);
    for change in changes {
        change.make(&mut edit, message, &context)?;
    }
    Ok(edit.finish())
}

/// MSH-1, MSH-2 and MSH-18 say how all else is read, and a whole segment is no value.
fn may_be_set(path: &Path, text: &str) -> Result<(), CompileError> {
    let fault = |message: String| CompileError::new(0, text.len(), message);
    let header = matches!(path.segment(), b"MSH" | b"BHS" | b"FHS");
    match path.field() {
        None => Err(fault(format!("{path} names a whole segment"))
            .help(format!("name a field of it, such as {path}-1"))),
        Some(place) if header && matches!(place.field, 1 | 2) => Err(fault(format!(
            "{path} cannot be set: it says how the message is read"
        ))),
        Some(place) if path.segment() == b"MSH" && place.field == 18 => Err(fault(
            "MSH-18 cannot be set: it names the character set, and the text would not be brought into another"
                .into(),
        )),
        Some(_) => Ok(()),
    }
}

/// A field can hold a field, a component or less; a component cannot hold a field.
fn fits(place: &Path, from: &Path, text: &str) -> Result<(), CompileError> {
    let level = |path: &Path| match path.field() {
        Some(field) if field.subcomponent.is_some() => 3,
        Some(field) if field.component.is_some() => 2,
        _ => 1,
    };
    if level(from) >= level(place) {
        return Ok(());
    }
    const NAMES: [&str; 3] = ["a whole field", "a component", "a subcomponent"];
    let name = |path: &Path| NAMES.get(level(path) - 1).unwrap_or(&"");
    let message = format!(
        "{from} is {} and does not fit into {place}, {}",
        name(from),
        name(place)
    );
    Err(CompileError::new(0, text.len(), message)
        .help(format!("name a part of it, such as {{{from}.1}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADT: &str = "MSH|^~\\&|PAS|ROYAL|||2026||ADT^A01|1|P|2.4\rPID|1||4001^^^R&1.2~9^^^N||O\\T\\B^Ann\rOBX|1||a\rOBX|2||b\r";

    fn changed(changes: &[(&str, &str)]) -> Result<String, ChangeError> {
        let compile = |(place, value): &(&str, &str)| {
            Change::compile(place, value).unwrap_or_else(|e| panic!("{place}: {e:?}"))
        };
        let changes: Vec<Change> = changes.iter().map(compile).collect();
        let message = Message::parse(ADT.as_bytes()).expect("a message");
        let bytes = apply(&changes, &message, "In")?;
        Ok(String::from_utf8(bytes).expect("text"))
    }

    fn check(changes: &[(&str, &str)], from: &str, to: &str) {
        assert_eq!(
            changed(changes).expect("possible"),
            ADT.replacen(from, to, 1),
            "{changes:?}"
        );
    }

    #[test]
    fn only_the_named_place_changes() {
        check(&[("PID-3.1", "77")], "4001", "77");
        check(&[("{PID:8}", "F")], "^Ann\r", "^Ann|||F\r");
        check(&[("PID-3(2).4", "NHS & co")], "^^^N|", "^^^NHS \\T\\ co|");
        check(&[("OBX(*)-3", "x")], "|a\rOBX|2||b", "|x\rOBX|2||x");
        check(&[("PID-5.2", "")], "^Ann", "^");
    }

    #[test]
    fn one_path_alone_is_copied_as_it_is_and_with_text_it_is_text() {
        check(&[("PID-2", "{PID-3}")], "|1||4001", "|1|4001^^^R&1.2|4001");
        check(&[("PID-2", "{PID-5.1}")], "|1||4001", "|1|O\\T\\B|4001");
        check(&[("PID-2", "{PID-5.1}!")], "|1||4001", "|1|O\\T\\B!|4001");
        check(
            &[("PID-2", "{PID-3} ")],
            "|1||4001",
            "|1|4001\\S\\\\S\\\\S\\R\\T\\1.2 |4001",
        );
    }

    #[test]
    fn values_are_those_of_the_message_as_it_came() {
        check(
            &[("PID-5.1", "{PID-5.2}"), ("PID-5.2", "{PID-5.1}")],
            "O\\T\\B^Ann",
            "Ann^O\\T\\B",
        );
    }

    #[test]
    fn an_absent_z_segment_is_added_and_another_is_an_error() {
        let with = format!("{ADT}ZHI||x\r");
        assert_eq!(changed(&[("ZHI-2", "x")]).expect("possible"), with);
        let both = format!("{ADT}ZHI|y|x\r");
        assert_eq!(
            changed(&[("ZHI-2", "x"), ("ZHI-1", "y")]).expect("possible"),
            both
        );
        let error = changed(&[("PV1-2", "I")]).expect_err("no PV1");
        assert!(error.to_string().contains("PV1-2"), "{error}");
        assert!(changed(&[("ZHI(2)-1", "x")]).is_err());
    }

    #[test]
    fn emptying_what_is_absent_changes_nothing() {
        for place in [
            "PID-30", "ZHI-1", "PV1-2", "PID-3.9", "OBX(*)-9", "NK1(*)-1",
        ] {
            assert_eq!(changed(&[(place, "")]).expect("possible"), ADT, "{place}");
        }
        assert_eq!(changed(&[("NK1(*)-1", "x")]).expect("possible"), ADT);
    }

    #[test]
    fn what_cannot_be_set_is_said_when_it_is_read() {
        let place = |text: &str| match Change::compile(text, "x") {
            Err(ChangeFault::Place(error)) => error.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert!(place("PID").contains("PID-1"));
        assert!(place("MSH-2").contains("how the message is read"));
        assert!(place("MSH-18").contains("character set"));
        assert!(place("pid-3").contains("PID"));
        let value = |place: &str, text: &str| match Change::compile(place, text) {
            Err(ChangeFault::Value(error)) => error.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert!(value("PID-5.1", "{PID-3}").contains("does not fit"));
        assert!(value("PID-5", "{PID-3").contains("never closed"));
    }
}
