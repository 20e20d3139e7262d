//! Names of files: which ones a service takes, and what an operation calls those it writes.
//!
//! Owns the wildcards of `FileSpec`, the codes of `Filename` (those of IRIS and those of the HIE
//! design), and what makes a name harmless. Touches no file system.

use std::fmt::Write as _;

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};

/// The longest name that a `Filename` may make, in bytes: with the suffix of its temporary file it
/// must stay below the 255 that file systems allow.
const NAME_MAX_BYTES: usize = 200;

/// Which names a service takes: wildcards, several of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec(Vec<String>);

impl FileSpec {
    /// Reads a list of wildcards, separated by `;` or `,`. `*` stands for any characters, `?` for
    /// one; upper and lower case count.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let list: Vec<String> = text
            .split([';', ','])
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect();
        if list.is_empty() {
            return Err(
                "there is no pattern in it; write e.g. `*.hl7`, or `*` for every file".into(),
            );
        }
        match list.iter().find(|one| one.contains('/')) {
            Some(_) => {
                Err("`/` is not allowed: patterns are for names, FilePath says the folder".into())
            }
            None => Ok(Self(list)),
        }
    }

    /// Whether a file of this name is meant. Hidden files and `.tmp` files are only taken by a
    /// pattern that says so: they are mostly files that somebody has not finished writing.
    pub fn takes(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| {
            let shown = !name.starts_with('.') || pattern.starts_with('.');
            let finished = !name.ends_with(".tmp") || pattern.ends_with(".tmp");
            shown && finished && matches(pattern, name)
        })
    }
}

/// The check of a `FileSpec` setting.
///
/// # Errors
/// See [`FileSpec::parse`].
pub fn check_file_spec(text: &str) -> Result<(), String> {
    FileSpec::parse(text).map(|_| ())
}

/// Whether the whole name fits the pattern. Goes back to the last `*` only, so that no pattern
/// takes more than pattern times name steps.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut retry = None;
    loop {
        let (mut pattern_rest, mut name_rest) = (pattern.clone(), name.clone());
        match (pattern_rest.next(), name_rest.next()) {
            (Some('*'), _) => {
                retry = Some((pattern_rest.clone(), name.clone()));
                pattern = pattern_rest;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, name) = (pattern_rest, name_rest);
            }
            (None, None) => return true,
            _ => {
                let Some((after_star, from)) = &mut retry else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                (pattern, name) = (after_star.clone(), from.clone());
            }
        }
    }
}

/// What a `Filename` may say of a message.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The id of its header.
    pub id: u64,
    /// Its type (`ADT_A01`), or `msg` where it has none. Only letters, digits and `_` are kept.
    pub kind: &'a str,
    /// When its header was made, in milliseconds since 1970 (UTC): a message that is delivered
    /// again gets the same name again.
    pub made_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Id,
    Kind,
    Odbc,
    Stamp,
    Date,
    Time,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Percent,
}

/// Longer codes first: `%date%` before `%d`.
const CODES: &[(&str, Code)] = &[
    ("%timestamp%", Code::Stamp),
    ("%type%", Code::Kind),
    ("%date%", Code::Date),
    ("%time%", Code::Time),
    ("%{MessageId}", Code::Id),
    ("%id%", Code::Id),
    ("%%", Code::Percent),
    ("%f", Code::Kind),
    ("%Q", Code::Odbc),
    ("%Y", Code::Year),
    ("%m", Code::Month),
    ("%d", Code::Day),
    ("%H", Code::Hour),
    ("%M", Code::Minute),
    ("%S", Code::Second),
];

impl Code {
    /// The most bytes that it can make.
    fn width(self) -> usize {
        match self {
            Self::Id => 20,
            Self::Kind => KIND_MAX_BYTES,
            Self::Odbc => 23,
            Self::Stamp => 17,
            Self::Date => 8,
            Self::Time => 6,
            Self::Year => 4,
            Self::Month | Self::Day | Self::Hour | Self::Minute | Self::Second => 2,
            Self::Percent => 1,
        }
    }

    fn write(self, out: &mut String, facts: &Facts<'_>, at: &ZonedDateTime) {
        let (year, month, day) = (at.year(), at.month(), at.day());
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        let milli = at.millisecond();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Id => write!(out, "{}", facts.id),
            Self::Kind => out.write_str(&kind(facts.kind)),
            Self::Odbc => out.write_str(&odbc(at)),
            Self::Stamp => {
                write!(
                    out,
                    "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{milli:03}"
                )
            }
            Self::Date => write!(out, "{year:04}{month:02}{day:02}"),
            Self::Time => write!(out, "{hour:02}{minute:02}{second:02}"),
            Self::Year => write!(out, "{year:04}"),
            Self::Month => write!(out, "{month:02}"),
            Self::Day => write!(out, "{day:02}"),
            Self::Hour => write!(out, "{hour:02}"),
            Self::Minute => write!(out, "{minute:02}"),
            Self::Second => write!(out, "{second:02}"),
            Self::Percent => out.write_str("%"),
        };
    }
}

/// The longest message type in a name.
const KIND_MAX_BYTES: usize = 41;

/// A message type as a part of a name: a sender decides what stands in MSH-9, so nothing but
/// letters, digits and `_` gets through.
fn kind(text: &str) -> String {
    let harmless = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let kind: String = text.chars().take(KIND_MAX_BYTES).map(harmless).collect();
    if kind.is_empty() { "msg".into() } else { kind }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Code(Code),
}

/// How an operation names its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(Vec<Piece>);

impl NamePattern {
    /// Reads a `Filename`.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, codes) = rest.split_at(rest.find('%').unwrap_or(rest.len()));
            if !literal.is_empty() {
                pieces.push(Piece::Text(check_literal(literal)?.to_owned()));
            }
            if codes.is_empty() {
                break;
            }
            let known = CODES
                .iter()
                .find_map(|(name, code)| Some((codes.strip_prefix(name)?, *code)));
            let Some((behind, code)) = known else {
                let before = text.len() - codes.len();
                return Err(unknown_code(
                    text.get(..before).unwrap_or_default().chars().count(),
                ));
            };
            pieces.push(Piece::Code(code));
            rest = behind;
        }
        check_pieces(&pieces)?;
        Ok(Self(pieces))
    }

    /// The name of the file of one message.
    pub fn name(&self, facts: &Facts<'_>) -> String {
        let at = local(facts.made_ms);
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Code(code) => code.write(&mut name, facts, &at),
            }
        }
        name
    }
}

fn check_literal(text: &str) -> Result<&str, String> {
    match text
        .chars()
        .find(|c| matches!(c, '/' | '\\') || c.is_control())
    {
        Some('/' | '\\') => {
            Err("`/` and `\\` are not allowed: it is a name, FilePath says the folder".into())
        }
        Some(_) => Err("control characters are not allowed in a name".into()),
        None => Ok(text),
    }
}

fn check_pieces(pieces: &[Piece]) -> Result<(), String> {
    let width = pieces.iter().map(|piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Code(code) => code.width(),
    });
    match pieces.first() {
        None => return Err("it is empty; write e.g. `msg_%timestamp%_%id%.hl7`".into()),
        Some(Piece::Text(text)) if text.starts_with('.') => {
            return Err("it begins with a dot, and receivers overlook hidden files".into());
        }
        _ => {}
    }
    if width.sum::<usize>() > NAME_MAX_BYTES {
        return Err(format!(
            "with its codes filled in it may become longer than {NAME_MAX_BYTES} bytes"
        ));
    }
    Ok(())
}

fn unknown_code(at: usize) -> String {
    let known: Vec<&str> = CODES.iter().map(|(name, _)| *name).collect();
    format!(
        "there is no such code at character {}; the codes are {}",
        at + 1,
        known.join(" ")
    )
}

/// The check of a `Filename` setting.
///
/// # Errors
/// See [`NamePattern::parse`].
pub fn check_file_name(text: &str) -> Result<(), String> {
    NamePattern::parse(text).map(|_| ())
}

/// Local time, as people and other programs on the machine read names.
fn local(ms: u64) -> ZonedDateTime {
    let at = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned_datetime(TimeZone::system())
}

/// The ODBC time stamp in the form of IRIS's `%Q` that file systems take:
/// `2026-01-31_17.05.09.123`.
fn odbc(at: &ZonedDateTime) -> String {
    let (year, month, day) = (at.year(), at.month(), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    format!(
        "{year:04}-{month:02}-{day:02}_{hour:02}.{minute:02}.{second:02}.{:03}",
        at.millisecond()
    )
}

/// [`odbc`] of a time in milliseconds since 1970 (UTC).
pub(crate) fn stamp(ms: u64) -> String {
    odbc(&local(ms))
}

/// The name of the folder that an item keeps for itself in a shared one. Different items get
/// different folders, whatever their names hold.
pub(crate) fn folder_of_item(item: &str) -> String {
    const FOLDER_MAX_BYTES: usize = 150;
    let mut folder = String::new();
    for byte in item.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => folder.push(byte.into()),
            b'.' if !folder.is_empty() => folder.push('.'),
            // Writing to a string cannot fail.
            _ => drop(write!(folder, "%{byte:02X}")),
        }
    }
    if folder.len() <= FOLDER_MAX_BYTES {
        return folder;
    }
    folder.truncate(FOLDER_MAX_BYTES); // ASCII throughout
    format!("{folder}~{:016x}", fnv1a(item.as_bytes()))
}

/// Fowler–Noll–Vo, 64 bits: tells long names apart that begin alike.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(spec: &str, name: &str) -> bool {
        FileSpec::parse(spec).unwrap().takes(name)
    }

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        assert!(takes("*.hl7", "a.hl7"));
        assert!(takes("*.hl7", "a.b.hl7"));
        assert!(!takes("*.hl7", "a.hl7.bak"));
        assert!(!takes("*.hl7", "A.HL7"));
        assert!(takes("*", "anything"));
        assert!(takes("A??-*.txt", "ABC-.txt"));
        assert!(takes("A??-*.txt", "Aäö-1.txt"));
        assert!(!takes("A??-*.txt", "AB-1.txt"));
        assert!(takes("*a*b*c", "xaxbxbxc"));
        assert!(!takes("*a*b*c", "xaxbxbx"));
    }

    #[test]
    fn several_patterns_are_parted_by_semicolon_or_comma() {
        for spec in ["*.hl7;*.txt", "*.hl7, *.txt", " *.hl7 ; ;*.txt "] {
            assert!(
                takes(spec, "a.hl7") && takes(spec, "a.txt") && !takes(spec, "a.dat"),
                "{spec}"
            );
        }
    }

    #[test]
    fn unfinished_files_are_only_taken_when_asked_for() {
        assert!(!takes("*", ".hidden"));
        assert!(!takes("*", "a.tmp"));
        assert!(takes(".*", ".hidden"));
        assert!(takes("*.tmp", "a.tmp"));
    }

    #[test]
    fn a_spec_says_what_is_wrong_with_it() {
        assert!(FileSpec::parse(" ; ").unwrap_err().contains("*.hl7"));
        assert!(
            FileSpec::parse("in/*.hl7")
                .unwrap_err()
                .contains("FilePath")
        );
    }

    #[test]
    fn a_matching_pattern_of_many_stars_ends_soon() {
        let name = "a".repeat(250);
        assert!(!takes(&format!("{}b", "*a".repeat(100)), &name));
    }

    fn name(pattern: &str) -> String {
        let facts = Facts {
            id: 42,
            kind: "ADT_A01",
            made_ms: 1_767_322_800_123,
        };
        NamePattern::parse(pattern).unwrap().name(&facts)
    }

    #[test]
    fn codes_of_both_families_are_filled_in() {
        assert_eq!(name("a_%id%_%{MessageId}.hl7"), "a_42_42.hl7");
        assert_eq!(name("%type%-%f-%%"), "ADT_A01-ADT_A01-%");
        assert_eq!(name("%date%%time%"), name("%Y%m%d%H%M%S"));
        assert_eq!(name("%timestamp%"), format!("{}123", name("%date%%time%")));
        assert_eq!(name("%Q"), name("%Y-%m-%d_%H.%M.%S.123"));
    }

    #[test]
    fn the_same_message_has_the_same_name_whenever_it_is_written() {
        assert_eq!(
            name("msg_%timestamp%_%id%.hl7"),
            name("msg_%timestamp%_%id%.hl7")
        );
    }

    #[test]
    fn what_a_sender_wrote_cannot_lead_out_of_the_folder() {
        let pattern = NamePattern::parse("%type%.hl7").unwrap();
        let named = |kind| {
            pattern.name(&Facts {
                id: 1,
                kind,
                made_ms: 0,
            })
        };
        assert_eq!(named("../../etc/passwd"), "______etc_passwd.hl7");
        assert_eq!(named(""), "msg.hl7");
        assert!(named(&"x".repeat(10_000)).len() < 60);
    }

    #[test]
    fn a_name_says_what_is_wrong_with_it() {
        let wrong = |text: &str| NamePattern::parse(text).unwrap_err();
        assert!(wrong("").contains("%id%"));
        assert!(wrong("a/b").contains("FilePath"));
        assert!(wrong("a\0b").contains("control"));
        assert!(wrong(".%id%").contains("dot"));
        assert!(wrong("a_%x").contains("character 3"), "{}", wrong("a_%x"));
        assert!(wrong("a%").contains("%timestamp%"));
        assert!(wrong(&"a".repeat(201)).contains("200 bytes"));
        assert!(wrong(&"%f".repeat(5)).contains("200 bytes"));
    }

    #[test]
    fn items_do_not_share_folders() {
        assert_eq!(folder_of_item("From ADT"), "From%20ADT");
        assert_eq!(folder_of_item(".."), "%2E.");
        assert_ne!(folder_of_item("a b"), folder_of_item("a_b"));
        let long = |end: &str| folder_of_item(&format!("{}{end}", "ä".repeat(100)));
        assert_ne!(long("1"), long("2"));
        assert!(long("1").len() < 255);
    }
}
