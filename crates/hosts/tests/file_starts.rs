//! What keeps a file service from starting, and what is refused before: each with its remedy.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test may end and print so

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::{Place, through};
use hie_engine::{production::StartError, stats::ItemState};

async fn refusal(place: &Place, adapter: &str) -> (&'static str, String) {
    match place.try_start(&through(adapter, "")).await {
        Err(StartError::Item { item, error }) => {
            assert_eq!(item, "In");
            (error.code, error.message)
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the production must not start"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_cannot_work_fail_the_start_with_a_remedy() {
    let place = Place::new();
    let (code, message) = refusal(&place, "").await;
    assert_eq!(code, "path-missing");
    assert!(message.contains("make the folder"), "{message}");

    fs::write(place.path("in"), "a file").unwrap();
    assert_eq!(refusal(&place, "").await.0, "not-a-folder");
    fs::remove_file(place.path("in")).unwrap();

    let input = place.folder("in");
    std::os::unix::fs::symlink(&input, place.path("again")).unwrap();
    assert_eq!(
        refusal(&place, "ArchivePath: @/again").await.0,
        "same-folder"
    );

    if Path::new("/dev/shm").is_dir() {
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        let (code, message) =
            refusal(&place, &format!("WorkPath: {}", other.path().display())).await;
        assert_eq!(code, "cross-device");
        assert!(message.contains("leave it out"), "{message}");
    } else {
        println!("skipped: no second file system at /dev/shm");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_folder_fails_the_start() {
    let place = Place::new();
    let input = place.folder("in");
    place.folder("work");
    fs::set_permissions(&input, fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser may write everywhere but there.
    let superuser = fs::write(input.join("x"), "").is_ok();
    let folder = if superuser {
        "/proc".into()
    } else {
        input.display().to_string()
    };
    let adapter = format!("FilePath: {folder}, WorkPath: @/work, CallInterval: 0.1");
    let items = through("", "").replacen("FilePath: @/in, CallInterval: 0.1, ", &adapter, 1);
    match place.try_start(&items).await {
        Err(StartError::Item { error, .. }) => {
            assert_eq!(error.code, "path-not-writable", "{error}");
            assert!(error.message.contains("write to FilePath"), "{error}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the production must not start"),
    }
    fs::set_permissions(&input, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_cannot_work_in_one_work_folder() {
    let (one, two) = (Place::new(), Place::new());
    one.folder("in");
    one.folder("out");
    let running = one.start(&through("", "")).await;
    let shared = one.path("in").display().to_string();
    let items = through("", "").replace("@/in", &shared);
    match two.try_start(&items).await {
        Err(StartError::Item { error, .. }) => assert_eq!(error.code, "folder-in-use", "{error}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the second must not start"),
    }
    assert_eq!(running.item("In").stats.state(), ItemState::Running);
    running.stop().await;
    two.try_start(&items).await.unwrap().stop().await;
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let place = Place::new();
    let refused = |items: String| {
        let errors = place.config(&items).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        (
            errors[0].setting.clone().unwrap_or_default(),
            errors[0].message.clone(),
        )
    };
    assert_eq!(refused(through("ArchivePath: @/in", "")).0, "ArchivePath");
    assert_eq!(refused(through("FileSpec: \"in/*\"", "")).0, "FileSpec");
    assert_eq!(refused(through("", "Filename: \"%x\"")).0, "Filename");
    assert_eq!(
        refused(through("", "MessageTerminator: CR")).0,
        "MessageTerminator"
    );
    let pool = through("", "").replacen(
        "class: HL7FileService",
        "class: HL7FileService\n    pool_size: 2",
        1,
    );
    assert!(refused(pool).1.contains("pool_size"));
    let stranger = through("", "").replacen(
        "TargetConfigNames: Out",
        "TargetConfigNames: Out, ResponseFrom: Other",
        1,
    ) + "  - name: Other\n    class: DiscardOperation\n";
    assert_eq!(refused(stranger).0, "ResponseFrom");
}
