//! Writing files where something is there already, is missing, or is left of a crash.

use std::collections::BTreeMap;

use super::*;

struct Case {
    folder: tempfile::TempDir,
    out: Outbound,
}

impl Case {
    fn new(taken: Taken) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = Outbound {
            folder: folder.path().into(),
            names: NamePattern::parse("x").unwrap(),
            taken,
            suffix: ".tmp".into(),
            terminator: b"\n",
        };
        Self { folder, out }
    }

    fn write(&self, again: bool, body: &str) -> Written {
        self.out.write(
            Job {
                name: "a.hl7",
                id: 7,
                again,
            },
            body.as_bytes(),
        )
    }

    fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        entries
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().into(),
                    fs::read_to_string(&path).unwrap(),
                )
            })
            .collect()
    }

    fn expect(&self, files: &[(&str, &str)]) {
        let expected = files
            .iter()
            .map(|(name, body)| ((*name).into(), (*body).into()))
            .collect();
        assert_eq!(self.files(), expected);
    }
}

#[test]
fn a_file_that_is_there_is_kept_and_the_message_fails() {
    let case = Case::new(Taken::Error);
    assert_eq!(case.write(false, "one"), Written::Whole);
    let Written::Never(why) = case.write(false, "two") else {
        panic!("it must fail")
    };
    assert!(why.contains("a.hl7") && why.contains("%id%"), "{why}");
    case.expect(&[("a.hl7", "one")]);
}

#[test]
fn the_same_bytes_of_another_message_are_no_delivery() {
    let case = Case::new(Taken::Error);
    assert_eq!(case.write(false, "one"), Written::Whole);
    assert!(matches!(case.write(false, "one"), Written::Never(_)));
}

#[test]
fn a_message_that_was_written_before_is_not_written_twice() {
    for taken in [Taken::Error, Taken::Number, Taken::Append] {
        let case = Case::new(taken);
        assert_eq!(case.write(false, "one"), Written::Whole);
        let before = case.files();
        assert_eq!(case.write(true, "one"), Written::Already, "{taken:?}");
        assert_eq!(case.files(), before);
    }
    let case = Case::new(Taken::Number);
    assert_eq!(
        (case.write(false, "one"), case.write(false, "two")),
        (Written::Whole, Written::Whole)
    );
    assert_eq!(case.write(true, "two"), Written::Already);
    case.expect(&[("a.hl7", "one"), ("a_2.hl7", "two")]);
}

#[test]
fn numbers_give_every_message_its_file() {
    let case = Case::new(Taken::Number);
    for body in ["one", "two", "three"] {
        assert_eq!(case.write(false, body), Written::Whole);
    }
    case.expect(&[("a.hl7", "one"), ("a_2.hl7", "two"), ("a_3.hl7", "three")]);
}

#[test]
fn overwriting_replaces_the_whole_file() {
    let case = Case::new(Taken::Overwrite);
    assert_eq!(case.write(false, "a longer one"), Written::Whole);
    assert_eq!(case.write(false, "two"), Written::Whole);
    case.expect(&[("a.hl7", "two")]);
}

#[test]
fn appending_parts_messages_by_the_terminator_even_behind_a_torn_one() {
    let case = Case::new(Taken::Append);
    assert_eq!(
        (case.write(false, "one"), case.write(false, "two")),
        (Written::Whole, Written::Whole)
    );
    case.expect(&[("a.hl7", "one\ntwo\n")]);
    fs::write(case.folder.path().join("a.hl7"), "one\ntw").unwrap();
    assert_eq!(case.write(true, "two"), Written::Whole);
    case.expect(&[("a.hl7", "one\ntw\ntwo\n")]);
}

#[test]
fn what_a_crash_left_half_written_is_replaced() {
    let case = Case::new(Taken::Error);
    fs::write(case.folder.path().join("a.hl7.7.tmp"), "on").unwrap();
    assert_eq!(case.write(true, "one"), Written::Whole);
    case.expect(&[("a.hl7", "one")]);
}

#[test]
fn a_link_in_place_of_the_temporary_file_is_not_followed() {
    let case = Case::new(Taken::Error);
    let victim = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::symlink(victim.path(), case.folder.path().join("a.hl7.7.tmp")).unwrap();
    assert_eq!(case.write(false, "one"), Written::Whole);
    assert_eq!(fs::read(victim.path()).unwrap(), b"");
    case.expect(&[("a.hl7", "one")]);
}

#[test]
fn a_missing_folder_is_tried_again_and_never_made() {
    let mut case = Case::new(Taken::Error);
    case.out.folder.push("gone");
    let Written::NotNow(why) = case.write(false, "one") else {
        panic!("it must be tried again")
    };
    assert!(why.contains("FilePath") && why.contains("mount"), "{why}");
    assert!(!case.out.folder.exists());
}

#[test]
fn a_name_that_is_too_long_is_not_tried_again() {
    let case = Case::new(Taken::Error);
    let name = "n".repeat(300);
    let written = case.out.write(
        Job {
            name: &name,
            id: 1,
            again: false,
        },
        b"x",
    );
    assert!(matches!(written, Written::Never(_)), "{written:?}");
}

#[test]
fn a_suffix_must_be_harmless() {
    assert!(check_suffix(".tmp").is_ok());
    for wrong in ["", "/x", "a b", ".0123456789012345678901"] {
        assert!(check_suffix(wrong).is_err(), "{wrong:?}");
    }
}
