//! The delimiters a message declares in MSH-1 and MSH-2, read leniently. Owns
//! their meaning and their defaults; where they are applied is elsewhere.

/// The characters that structure one message (HL7 v2 chapter 2, "Message
/// delimiters").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delimiters {
    /// MSH-1, usually `|`.
    pub field: u8,
    /// First character of MSH-2, usually `^`.
    pub component: u8,
    /// Second character of MSH-2, usually `~`.
    pub repetition: u8,
    /// Third character of MSH-2, usually `\`; `None` if the message has none.
    pub escape: Option<u8>,
    /// Fourth character of MSH-2, usually `&`; `None` if the message has none.
    pub subcomponent: Option<u8>,
    /// Fifth character of MSH-2 since 2.7, usually `#`.
    pub truncation: Option<u8>,
}

impl Default for Delimiters {
    /// `|^~\&`, no truncation character.
    fn default() -> Self {
        Self {
            field: b'|',
            component: b'^',
            repetition: b'~',
            escape: Some(b'\\'),
            subcomponent: Some(b'&'),
            truncation: None,
        }
    }
}

impl Delimiters {
    /// Reads MSH-1 and the raw MSH-2; never fails.
    ///
    /// * Three to five characters mean what the standard says.
    /// * A character that is doubled counts once: `^~\\&` is a `^~\&` that went
    ///   through a string literal.
    /// * `^~&` is a `^~\&` that lost its backslash in one: `&` in third place
    ///   and last is the subcomponent delimiter, and there is no escape.
    /// * Letters, digits, blanks and bytes above 0x7E delimit nothing: they end
    ///   the list, for the field is damaged from there on.
    /// * What is missing before component and repetition is `^` and `~`; an
    ///   MSH-2 that yields nothing at all gives the defaults.
    pub fn read(field: u8, encoding_characters: &[u8]) -> Self {
        if field == b'|' && encoding_characters == b"^~\\&" {
            return Self::default(); // nearly every message
        }
        let mut found = [0u8; 5];
        let mut len = 0;
        for &byte in encoding_characters {
            if byte.is_ascii_alphanumeric() || byte == b' ' || byte > 0x7E || len == found.len() {
                break;
            }
            let known = byte == field || found.iter().take(len).any(|&f| f == byte);
            if let (false, Some(slot)) = (known, found.get_mut(len)) {
                *slot = byte;
                len += 1;
            }
        }
        match *found.get(..len).unwrap_or(&[]) {
            [] => Self::defaults_beside(field),
            [component] => {
                let repetition = unused(b'~', &[field, component]);
                Self {
                    field,
                    component,
                    repetition,
                    escape: None,
                    subcomponent: None,
                    truncation: None,
                }
            }
            [component, repetition] => Self {
                field,
                component,
                repetition,
                escape: None,
                subcomponent: None,
                truncation: None,
            },
            [component, repetition, b'&'] => Self {
                field,
                component,
                repetition,
                escape: None,
                subcomponent: Some(b'&'),
                truncation: None,
            },
            [component, repetition, escape, ref rest @ ..] => Self {
                field,
                component,
                repetition,
                escape: Some(escape),
                subcomponent: rest.first().copied(),
                truncation: rest.get(1).copied(),
            },
        }
    }

    /// MSH-2 as these delimiters are written: two to five characters.
    pub fn encoding_characters(&self) -> impl Iterator<Item = u8> + use<> {
        [
            Some(self.component),
            Some(self.repetition),
            self.escape,
            self.subcomponent,
            self.truncation,
        ]
        .into_iter()
        .flatten()
    }

    /// The defaults, with another character where the field separator is one of
    /// them.
    fn defaults_beside(field: u8) -> Self {
        let component = unused(b'^', &[field]);
        let repetition = unused(b'~', &[field, component]);
        let escape = unused(b'\\', &[field, component, repetition]);
        let subcomponent = unused(b'&', &[field, component, repetition, escape]);
        Self {
            field,
            component,
            repetition,
            escape: Some(escape),
            subcomponent: Some(subcomponent),
            truncation: None,
        }
    }
}

/// `wanted`, or the first stand-in that is not yet taken.
fn unused(wanted: u8, taken: &[u8]) -> u8 {
    [wanted, b'|', b'!', b'@', b'$', b'%']
        .into_iter()
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msh_2_is_read_as_written_or_as_meant() {
        // MSH-1, MSH-2, expected: component, repetition, escape, subcomponent, truncation (`-` none)
        let table: &[(u8, &[u8], &[u8; 5])] = &[
            (b'|', b"^~\\&", b"^~\\&-"),
            (b'|', b"^~\\&#", b"^~\\&#"),
            (b'|', b"^~\\", b"^~\\--"),
            (b'|', b"^~", b"^~---"),
            (b'|', b"^", b"^~---"),
            (b'|', b"", b"^~\\&-"),
            (b'|', b"^~\\\\&", b"^~\\&-"),
            (b'|', b"^~&", b"^~-&-"),
            (b'|', b"blah", b"^~\\&-"),
            (b'@', b"~&#\\", b"~&#\\-"),
            (b'#', b"!@%*", b"!@%*-"),
            (b'^', b"", b"|~\\&-"),
            (b'|', b"^~\\&#!!!", b"^~\\&#"),
            (b'^', b"~\\&|CDC", b"~\\&|-"),
        ];
        for (field, msh_2, want) in table {
            let d = Delimiters::read(*field, msh_2);
            let or = |b: Option<u8>| b.unwrap_or(b'-');
            let got = [
                d.component,
                d.repetition,
                or(d.escape),
                or(d.subcomponent),
                or(d.truncation),
            ];
            assert_eq!(&got, *want, "MSH-2 {:?}", String::from_utf8_lossy(msh_2));
        }
    }

    #[test]
    fn encoding_characters_read_back_the_same() {
        for msh_2 in [&b"^~\\&"[..], b"^~\\&#", b"^~&", b"^~\\", b"^~"] {
            let d = Delimiters::read(b'|', msh_2);
            let written: Vec<u8> = d.encoding_characters().collect();
            assert_eq!(written, msh_2);
        }
    }
}
