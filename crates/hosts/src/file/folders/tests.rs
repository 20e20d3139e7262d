//! The steps of the folders on real files.

use std::{io::Write as _, time::Duration};

use super::{
    super::{claim::Progress, complete::Looks, inbound::Confirm},
    *,
};

struct Case {
    place: tempfile::TempDir,
    folders: Folders,
}

impl Case {
    fn new(archive: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let folders = Folders {
            folder: at("in"),
            spec: FileSpec::parse("*.hl7").unwrap(),
            work_root: at("in/.hie-work"),
            work: at("in/.hie-work/In"),
            archive: archive.then(|| at("archive")),
            errors: at("in/error"),
            errors_given: false,
            max_bytes: 100,
            neighbours: vec!["In".into()],
        };
        fs::create_dir(at("in")).unwrap();
        folders.open().unwrap();
        Self { place, folders }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.place.path().join(name), text).unwrap();
    }

    /// Claims all that is there.
    fn claim(&self) -> Vec<Claim> {
        let files = self.folders.scan().unwrap();
        let first = Folders::next_number(&self.left());
        let (claims, troubles) = self.folders.claim(&files, first);
        assert_eq!(troubles, Vec::<String>::new());
        claims
    }

    fn left(&self) -> Vec<Claim> {
        self.folders.leftovers().unwrap().claims
    }

    fn read(&self, claim: &Claim) -> Found {
        self.folders.read(claim).unwrap()
    }
}

#[test]
fn a_growing_file_is_not_complete() {
    let case = Case::new(false);
    let mut looks = Looks::new(Confirm::Size);
    let mut complete = || looks.look(case.folders.scan().unwrap()).complete.len();
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(case.folders.folder.join("a.hl7"))
        .unwrap();
    for _ in 0..10 {
        file.write_all(b"more").unwrap();
        assert_eq!(complete(), 0);
    }
    assert_eq!(complete(), 1);
}

#[test]
fn files_are_found_oldest_first() {
    let case = Case::new(false);
    let at = |seconds| std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    for (name, seconds) in [("a.hl7", 30), ("b.hl7", 10), ("c.hl7", 20), ("d.hl7", 10)] {
        case.write(&format!("in/{name}"), "x");
        let file = File::options()
            .write(true)
            .open(case.folders.folder.join(name))
            .unwrap();
        file.set_modified(at(seconds)).unwrap();
    }
    let names: Vec<_> = case
        .folders
        .scan()
        .unwrap()
        .into_iter()
        .map(|file| file.name)
        .collect();
    assert_eq!(names, ["b.hl7", "d.hl7", "c.hl7", "a.hl7"]);
}

#[test]
fn a_claim_is_found_again_as_far_as_it_came() {
    let case = Case::new(true);
    case.write("in/a.b.hl7", "x");
    let mut claim = case.claim().remove(0);
    assert!(case.folders.scan().unwrap().is_empty());
    for progress in [
        Progress::Accepted(0),
        Progress::Accepted(17),
        Progress::Done,
    ] {
        claim.progress = progress;
        case.folders.note_progress(&mut claim).unwrap();
        let left = case.left();
        assert_eq!((left.len(), left[0].progress), (1, progress));
        assert_eq!(left[0].name, "a.b.hl7");
        assert!(left[0].possible_duplicate);
    }
    case.folders.finish(&case.left()[0], 0).unwrap();
    assert_eq!(
        fs::read(case.place.path().join("archive/a.b.hl7")).unwrap(),
        b"x"
    );
    assert!(case.left().is_empty());
}

#[test]
fn a_file_that_changed_since_it_was_seen_is_not_claimed() {
    let case = Case::new(false);
    case.write("in/a.hl7", "x");
    let seen = case.folders.scan().unwrap();
    case.write("in/a.hl7", "xy");
    let (claims, troubles) = case.folders.claim(&seen, 0);
    assert!(claims.is_empty() && troubles.is_empty());
    assert_eq!(case.folders.scan().unwrap().len(), 1);
}

#[test]
fn writing_to_a_file_after_it_was_read_is_noticed() {
    let case = Case::new(false);
    case.write("in/a.hl7", "x");
    let mut writer = File::options()
        .append(true)
        .open(case.folders.folder.join("a.hl7"))
        .unwrap();
    let mut claim = case.claim().remove(0);
    let Found::Whole(bytes, shape) = case.read(&claim) else {
        panic!("it must be whole")
    };
    assert_eq!(&bytes[..], b"x");
    claim.read = Some(shape);
    assert!(!case.folders.changed_since_read(&claim));
    writer.write_all(b"y").unwrap();
    assert!(case.folders.changed_since_read(&claim));
}

#[test]
fn what_cannot_be_a_message_is_unfit_with_a_reason() {
    let case = Case::new(false);
    case.write("in/large.hl7", &"x".repeat(101));
    let claim = case.claim().remove(0);
    let Found::Unfit(why) = case.read(&claim) else {
        panic!("it must be unfit")
    };
    assert!(why.contains("101") && why.contains("MaxFileSize"), "{why}");
    let aside = case.folders.set_aside(&claim, 0).unwrap();
    assert_eq!(aside, case.place.path().join("in/error/large.hl7"));
    assert!(matches!(case.read(&claim), Found::Gone));
}

#[test]
fn a_claim_that_was_not_begun_goes_back_unless_its_name_is_taken() {
    let case = Case::new(false);
    case.write("in/a.hl7", "old");
    let claim = case.claim().remove(0);
    case.write("in/a.hl7", "new");
    assert_eq!(
        case.folders.release(&claim).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    fs::remove_file(case.folders.folder.join("a.hl7")).unwrap();
    case.folders.release(&claim).unwrap();
    assert_eq!(fs::read(case.folders.folder.join("a.hl7")).unwrap(), b"old");
}

#[test]
fn files_of_an_item_that_was_renamed_are_not_forgotten() {
    let case = Case::new(false);
    fs::create_dir(case.folders.work_root.join("Old")).unwrap();
    case.write("in/.hie-work/Old/00000001.0.a.hl7", "x");
    case.write("in/.hie-work/In/strange", "x");
    let left = case.folders.leftovers().unwrap();
    assert_eq!(left.abandoned, [case.folders.work_root.join("Old")]);
    assert_eq!((left.claims.len(), left.strange), (0, 1));
}
