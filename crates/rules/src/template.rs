//! A text with values in it: `Ward {PV1-3.1}`. What stands in braces is a value of the rule language; all
//! else is itself. It owns the braces and what may stand between them; it changes no message.

use hie_hl7::Path;

use crate::document::Context;
use crate::error::CompileError;
use crate::parser;
use crate::scope::Scope;
use crate::value::Value;

/// Longest text of a template in bytes.
const TEMPLATE_MAX_BYTES: usize = 4 * 1024;

/// A text with values, compiled once.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Value(Value),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The first fault with its place in `text`.
    pub(crate) fn compile(text: &str) -> Result<Self, CompileError> {
        if text.len() > TEMPLATE_MAX_BYTES {
            let message = format!(
                "a value has at most {TEMPLATE_MAX_BYTES} bytes, this one {}",
                text.len()
            );
            return Err(CompileError::new(0, text.len(), message));
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = text.get(at..).unwrap_or("");
            match c {
                '{' | '}' if rest.starts_with("{{") || rest.starts_with("}}") => {
                    plain.push(c);
                    at += 2;
                }
                '{' => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    let inside = inside(rest, at)?;
                    parts.push(Part::Value(value(inside, at + 1)?));
                    at += inside.len() + 2;
                }
                '}' => {
                    return Err(
                        CompileError::new(at, 1, "nothing is open that this } closes")
                            .help("a plain } is written }}"),
                    );
                }
                '^' | '~' | '|' => {
                    let message = format!("{c} divides fields of HL7 and would be escaped here");
                    return Err(CompileError::new(at, 1, message).help(format!(
                        "give each component a line of its own, such as PV1-3.1 and PV1-3.2; \
                         for the character itself write {{\"{c}\"}}"
                    )));
                }
                _ => {
                    plain.push(c);
                    at += c.len_utf8();
                }
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { parts })
    }

    /// The path, when the whole template is one: `{PID-3}`.
    pub(crate) fn as_path(&self) -> Option<&Path> {
        match self.parts.as_slice() {
            [Part::Value(Value::Path(place))] => Some(&place.path),
            _ => None,
        }
    }

    /// The text for a message.
    pub(crate) fn render(&self, context: &Context<'_>) -> String {
        let scope = Scope {
            context,
            found: &[],
            words: &[],
        };
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(value) => {
                    value.any(&scope, &mut |text| {
                        out.push_str(text);
                        true
                    });
                }
            }
        }
        out
    }
}

/// What stands between the brace that `rest` begins with and the one that closes it; quotes hide a brace.
fn inside(rest: &str, at: usize) -> Result<&str, CompileError> {
    let mut quote = None;
    for (offset, c) in rest.char_indices().skip(1) {
        match (quote, c) {
            (None, '}') => return Ok(rest.get(1..offset).unwrap_or("")),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None, // a doubled one opens again at once
            _ => {}
        }
    }
    Err(CompileError::new(at, 1, "this { is never closed")
        .help("a value of the message is written {PID-5.1}, a plain { as {{"))
}

fn value(text: &str, at: usize) -> Result<Value, CompileError> {
    let shifted = |mut error: CompileError| {
        error.offset += at;
        error
    };
    if text.trim().is_empty() {
        return Err(
            CompileError::new(at - 1, 2, "nothing stands in these braces")
                .help("a value of the message is written {PID-5.1}"),
        );
    }
    let value = parser::parse_value(text).map_err(shifted)?;
    match value.is_many() {
        true => Err(
            CompileError::new(at, text.len(), "this names many values, and one is needed")
                .help("name one of them, such as PID-3(2).1"),
        ),
        false => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use hie_hl7::Message;

    use super::*;

    const ADT: &[u8] = b"MSH|^~\\&|PAS|ROYAL|||||ADT^A01|1|P|2.4\rPID|1||4001^^^R||O\\T\\B^Ann\r";

    fn render(template: &str) -> String {
        let message = Message::parse(ADT).expect("a message");
        let context = Context {
            document: &message,
            source: "PAS-In",
        };
        let template = Template::compile(template).unwrap_or_else(|e| panic!("{template}: {e}"));
        template.render(&context)
    }

    #[test]
    fn what_stands_in_braces_is_a_value_and_all_else_is_itself() {
        let rows = [
            ("NHS", "NHS"),
            ("", ""),
            ("{PID-3.1}", "4001"),
            ("{PID:3.1}", "4001"),
            ("{MSH-4}-{PID-3.1}", "ROYAL-4001"),
            ("{ToUpper(PID-5.2)} of {Source}", "ANN of PAS-In"),
            ("{MessageType}", "ADT^A01"),
            ("{PID-5.1}", "O&B"),
            ("{Piece(MessageType, '^', 2)}{\"}\"}", "A01}"),
            ("{{PID-3.1}}", "{PID-3.1}"),
            ("{ZZZ-1}", ""),
            ("a & b {\"^\"}", "a & b ^"),
        ];
        for (template, expected) in rows {
            assert_eq!(render(template), expected, "{template}");
        }
    }

    #[test]
    fn faults_have_their_place() {
        let rows = [
            ("x{PID-5.1", 1, "never closed"),
            ("x}", 1, "nothing is open"),
            ("{}", 0, "nothing stands"),
            ("ab{ToUper(PID-5)}", 3, "no function"),
            ("{PID-3(*).1}", 1, "many values"),
            ("{PID-5 = \"x\"}", 1, "a condition"),
            ("{PID}", 1, "whole segment"),
            ("{pid-3}", 1, ""),
            ("W^7", 1, "divides"),
        ];
        for (template, offset, part) in rows {
            let error = Template::compile(template).expect_err(template);
            assert_eq!(error.offset, offset, "{template}: {error}");
            assert!(error.message.contains(part), "{template}: {error}");
        }
        let long = "x".repeat(TEMPLATE_MAX_BYTES + 1);
        assert!(Template::compile(&long).is_err());
    }
}
