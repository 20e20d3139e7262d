//! What rules see of a message. It owns the [`Document`] trait, the [`Context`] of one decision, and the
//! HL7 v2 document; it owns no grammar and no rule.

use std::borrow::Cow;

use hie_hl7::{Message, Path};

/// Something with values at addresses.
///
/// Values are text, already unescaped and decoded from the message's character set.
pub trait Document {
    /// The value at a path without `(*)`; empty text when it is absent. For a whole segment that is there,
    /// some text that is not empty.
    fn value(&self, path: &Path) -> Cow<'_, str>;

    /// Shows each value at a path to `visit` until it answers true, and says whether it did.
    ///
    /// What is absent is shown once as empty text, so that every path has at least one value. A path
    /// without `(*)` has exactly one.
    fn any(&self, path: &Path, visit: &mut dyn FnMut(&str) -> bool) -> bool;
}

impl Document for Message<'_> {
    fn value(&self, path: &Path) -> Cow<'_, str> {
        text(self, self.get(path).unwrap_or_default())
    }

    fn any(&self, path: &Path, visit: &mut dyn FnMut(&str) -> bool) -> bool {
        if !path.is_plural() {
            return visit(&self.value(path));
        }
        let mut values = self.get_all(path).peekable();
        match values.peek() {
            None => visit(""),
            Some(_) => values.any(|raw| visit(&text(self, raw))),
        }
    }
}

/// Plain ASCII means itself in every character set of HL7 (table 0211) unless an escape is in it, and is
/// nearly all there is: it is shown where it lies, without a look at MSH-18.
fn text<'a>(message: &Message<'a>, raw: &'a [u8]) -> Cow<'a, str> {
    const ISO_2022_ESCAPE: u8 = 0x1b;
    let escape = message.delimiters().escape;
    let plain = |b: &u8| b.is_ascii() && *b != ISO_2022_ESCAPE && Some(*b) != escape;
    match std::str::from_utf8(raw) {
        Ok(text) if raw.iter().all(plain) => Cow::Borrowed(text),
        _ => message.decode(raw),
    }
}

/// What one decision is made from.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The message.
    pub document: &'a dyn Document,
    /// Name of the item that the message came from.
    pub source: &'a str,
}
