//! The parts of a segment: field, repetition, component, subcomponent, each a
//! borrowed slice that is split when asked. Owns how HL7 counts (from 1, MSH-1
//! being the separator itself); decodes nothing.

use crate::{
    delimiters::Delimiters,
    pieces::{Pieces, nth_piece},
};

/// Where a part still splits; `None` where it does not (MSH-1, MSH-2, or a
/// message without a subcomponent delimiter).
#[derive(Clone, Copy)]
struct Splits {
    repetition: Option<u8>,
    component: Option<u8>,
    subcomponent: Option<u8>,
}

impl Splits {
    const NEVER: Self = Self {
        repetition: None,
        component: None,
        subcomponent: None,
    };

    #[inline]
    fn of(d: &Delimiters) -> Self {
        Self {
            repetition: Some(d.repetition),
            component: Some(d.component),
            subcomponent: d.subcomponent,
        }
    }
}

/// One segment: a line of the message.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    raw: &'a [u8],
    terminator: &'a [u8],
    delimiters: Delimiters,
}

impl<'a> Segment<'a> {
    #[inline]
    pub(crate) fn new(raw: &'a [u8], terminator: &'a [u8], delimiters: Delimiters) -> Self {
        Self {
            raw,
            terminator,
            delimiters,
        }
    }

    /// The segment without its terminator.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The line end behind it; empty if the message stops without one.
    pub fn terminator(&self) -> &'a [u8] {
        self.terminator
    }

    /// What stands before the first field separator: `PID`; empty for an empty
    /// line. Not checked: any bytes may stand there.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        let separator = self.delimiters.field;
        match self.raw {
            // The usual case, without a search.
            [a, b, c, after, ..] if *after == separator && ![a, b, c].contains(&&separator) => {
                self.raw.get(..3).unwrap_or_default()
            }
            _ => nth_piece(self.raw, Some(separator), 1).unwrap_or_default(),
        }
    }

    /// Whether this is MSH, BHS or FHS, whose first field is the separator.
    #[inline]
    pub fn is_header(&self) -> bool {
        matches!(self.raw, [b'M', b'S', b'H', s, ..] | [b'B' | b'F', b'H', b'S', s, ..]
            if *s == self.delimiters.field)
    }

    /// The `n`th field as HL7 counts: `field(3)` of PID is PID-3, `field(1)` of
    /// MSH is the separator, `field(2)` the encoding characters. `None` for 0
    /// and behind the last one.
    #[inline]
    pub fn field(&self, n: usize) -> Option<Field<'a>> {
        let separator = Some(self.delimiters.field);
        if !self.is_header() {
            let raw = nth_piece(self.raw, separator, n.checked_add(1).filter(|&n| n > 1)?)?;
            return Some(Field::new(raw, Splits::of(&self.delimiters)));
        }
        let (raw, splits) = match n {
            0 => return None,
            1 => (self.raw.get(3..4)?, Splits::NEVER),
            2 => (nth_piece(self.raw.get(4..)?, separator, 1)?, Splits::NEVER),
            _ => (
                nth_piece(self.raw.get(4..)?, separator, n - 1)?,
                Splits::of(&self.delimiters),
            ),
        };
        Some(Field::new(raw, splits))
    }

    /// All fields from field 1 on.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let header = self.is_header();
        let splits = Splits::of(&self.delimiters);
        let first = if header { self.raw.get(3..4) } else { None };
        let body = if header {
            self.raw.get(4..)
        } else {
            Some(self.raw)
        };
        let pieces = Pieces::new(body.unwrap_or_default(), Some(self.delimiters.field));
        let fixed = usize::from(header);
        first
            .map(|raw| Field {
                raw,
                splits: Splits::NEVER,
            })
            .into_iter()
            .chain(
                pieces
                    .enumerate()
                    .skip(1 - fixed)
                    .map(move |(i, raw)| Field {
                        raw,
                        splits: if header && i == 0 {
                            Splits::NEVER
                        } else {
                            splits
                        },
                    }),
            )
    }
}

/// Declares one kind of part: its raw bytes and the next smaller kind.
macro_rules! part {
    ($(#[$doc:meta])* $name:ident, $child:ident, $split:ident, $nth:ident, $all:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a> {
            raw: &'a [u8],
            splits: Splits,
        }

        impl<'a> $name<'a> {
            #[inline]
            fn new(raw: &'a [u8], splits: Splits) -> Self {
                Self { raw, splits }
            }

            /// The bytes as they stand in the message.
            pub fn raw(&self) -> &'a [u8] {
                self.raw
            }

            #[doc = concat!("The `n`th (from 1) ", $what, "; `None` for 0 and behind the last.")]
            #[inline]
            pub fn $nth(&self, n: usize) -> Option<$child<'a>> {
                let raw = nth_piece(self.raw, self.splits.$split, n)?;
                Some($child::new(raw, self.splits))
            }

            #[doc = concat!("Every ", $what, ", at least one, empty ones included.")]
            pub fn $all(&self) -> impl Iterator<Item = $child<'a>> + use<'a> {
                let splits = self.splits;
                Pieces::new(self.raw, splits.$split).map(move |raw| $child::new(raw, splits))
            }
        }

        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.raw.len())
            }
        }
    };
}

part!(
    /// One field with all its repetitions.
    Field, Repetition, repetition, repetition, repetitions, "repetition"
);
part!(
    /// One repetition of a field.
    Repetition, Component, component, component, components, "component"
);
part!(
    /// One component of a repetition.
    Component, Subcomponent, subcomponent, subcomponent, subcomponents, "subcomponent"
);

impl<'a> Field<'a> {
    /// The first repetition, and the field behind it if there is more.
    pub(crate) fn split_first(&self) -> (Repetition<'a>, Option<Field<'a>>) {
        let mut pieces = Pieces::new(self.raw, self.splits.repetition);
        let first = pieces.next().unwrap_or_default();
        let rest = pieces.rest().map(|raw| Self {
            raw,
            splits: self.splits,
        });
        (
            Repetition {
                raw: first,
                splits: self.splits,
            },
            rest,
        )
    }
}

/// The smallest part: it splits no further.
#[derive(Clone, Copy)]
pub struct Subcomponent<'a> {
    raw: &'a [u8],
}

impl<'a> Subcomponent<'a> {
    fn new(raw: &'a [u8], _: Splits) -> Self {
        Self { raw }
    }

    /// The bytes as they stand in the message.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

impl std::fmt::Debug for Subcomponent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subcomponent({} bytes)", self.raw.len())
    }
}

impl std::fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({} bytes)", self.raw.len())
    }
}
