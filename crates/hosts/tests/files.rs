//! The file classes in a running production: every file comes in once and whole, goes out as it
//! came, and what fails stays visible and keeps its bytes.

#![allow(clippy::unwrap_used)] // a test may end so

mod common;

use std::{fs, path::Path};

use common::{Place, files, through, until, well_formed};
use hie_store::State;

const A: &str = "MSH|^~\\&|A|||||ADT^A01|1|P|2.5\rPID|1||77\r";
const B: &str = "MSH|^~\\&|B|||||ADT^A02|2|P|2.5\rPID|1||78\r";

/// Puts a file there the way a careful sender does.
fn drop_file(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let temp = folder.join(format!(".{name}.part"));
    fs::write(&temp, bytes).unwrap();
    fs::rename(temp, folder.join(name)).unwrap();
}

fn bodies(folder: &Path) -> Vec<Vec<u8>> {
    let mut bodies: Vec<_> = files(folder)
        .iter()
        .map(|name| fs::read(folder.join(name)).unwrap())
        .collect();
    bodies.sort();
    bodies
}

/// The work folder of the item `In`, where nothing else is said.
const WORK: &str = "in/.hie-work/In";

#[tokio::test(flavor = "multi_thread")]
async fn every_well_formed_message_comes_out_byte_identical() {
    let Some(messages) = well_formed() else {
        return;
    };
    assert!(
        messages.len() > 400,
        "the manifest has {} well-formed messages",
        messages.len()
    );
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    for (nth, (_, bytes)) in messages.iter().enumerate() {
        drop_file(&input, &format!("{nth:04}.hl7"), bytes);
    }
    let running = place
        .start(&through(
            "ConfirmComplete: None, ArchivePath: @/archive",
            "Filename: \"%id%.hl7\"",
        ))
        .await;
    until("all files to be archived", || {
        files(&place.path("archive")).len() == messages.len()
    })
    .await;
    let sent = || {
        running
            .item("Out")
            .stats
            .completed
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    let received = || {
        running
            .item("In")
            .stats
            .received
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    until("all messages to be written", || sent() == received()).await;

    // Ids are given in order and one item writes in order, so sorted by id the messages are the
    // files again, one after the other.
    let mut written = files(&out);
    written.sort_by_key(|name| name.trim_end_matches(".hl7").parse::<u64>().unwrap());
    let written = written
        .iter()
        .flat_map(|name| fs::read(out.join(name)).unwrap());
    let mut names: Vec<_> = files(&place.path("archive"));
    names.sort_by_key(|name| {
        let found = fs::metadata(place.path("archive").join(name)).unwrap();
        (found.modified().unwrap(), name.clone())
    });
    let original = names
        .iter()
        .flat_map(|name| messages[name[..4].parse::<usize>().unwrap()].1.clone());
    assert!(written.eq(original), "what came out is not what went in");
    assert_eq!(
        running
            .item("In")
            .stats
            .rejected
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_polls_and_takes_files_that_come_later() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    let running = place.start(&through("", "")).await;
    for nth in 0..3 {
        drop_file(&input, &format!("{nth}.hl7"), A);
        until("the file to come out", || files(&out).len() == nth + 1).await;
    }
    until("the files to be deleted", || {
        files(&input).is_empty() && files(&place.path(WORK)) == [".lock"]
    })
    .await;
    assert!(bodies(&out).iter().all(|body| body == A.as_bytes()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_waits_for_its_writer() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    drop_file(&input, "a-empty.hl7", "");
    drop_file(&input, "b.hl7", A);
    let running = place.start(&through("ConfirmComplete: None", "")).await;
    until("the other file to come out", || files(&out).len() == 1).await;
    assert_eq!(files(&input), ["a-empty.hl7"]);
    fs::write(input.join("a-empty.hl7"), B).unwrap();
    until("the file to come out", || {
        bodies(&out) == [A.as_bytes(), B.as_bytes()]
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_in_the_work_folder_is_taken_up_where_it_was() {
    let place = Place::new();
    let out = place.folder("out");
    let work = place.folder(WORK);
    place.folder("in");
    fs::write(work.join("00000003.0.fresh.hl7"), A).unwrap();
    fs::write(work.join("00000004.1.two.hl7"), format!("{A}{B}")).unwrap();
    fs::write(work.join("00000005.done.done.hl7"), A).unwrap();
    fs::write(work.join("readme.txt"), "not ours").unwrap();
    let running = place
        .start(&through("ArchivePath: @/archive", "Filename: \"%id%.hl7\""))
        .await;
    until("all to be archived", || {
        files(&place.path("archive")) == ["done.hl7", "fresh.hl7", "two.hl7"]
    })
    .await;
    until("both messages to come out", || files(&out).len() == 2).await;
    assert_eq!(
        bodies(&out),
        [A.as_bytes(), B.as_bytes()],
        "neither the done file nor the counted message again"
    );
    let origins: Vec<String> = running
        .rows("In")
        .await
        .into_iter()
        .map(|row| row.origin)
        .collect();
    assert_eq!(
        origins,
        [
            "fresh.hl7 (possible duplicate)",
            "two.hl7 (message 2 of 2, possible duplicate)"
        ]
    );
    assert_eq!(
        files(&work),
        [".lock", "readme.txt"],
        "strange files are left alone"
    );

    drop_file(&place.path("in"), "later.hl7", A);
    until("a new file to be taken", || {
        files(&place.path("archive")).contains(&"later.hl7".into())
    })
    .await;
    let last = running.rows("In").await.pop().unwrap();
    assert_eq!(
        last.origin, "later.hl7",
        "no mark on what was never in doubt"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_nothing_and_a_restart_takes_the_rest() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    const FILES: usize = 200;
    for nth in 0..FILES {
        drop_file(
            &input,
            &format!("{nth:03}.hl7"),
            A.replace("|1|P|", &format!("|{nth:03}|P|")),
        );
    }
    let settings = through("ConfirmComplete: None", "Filename: \"%id%.hl7\"");
    let running = place.start(&settings).await;
    until("some to come out", || !files(&out).is_empty()).await;
    running.stop().await;
    let running = place.start(&settings).await;
    until("all to come out", || files(&out).len() >= FILES).await;
    until("the folder to be empty", || files(&input).is_empty()).await;
    running.stop().await;
    let mut found = bodies(&out);
    found.dedup();
    assert_eq!(found.len(), FILES, "each message");
    assert_eq!(files(&out).len(), FILES, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_accepted_stays_and_is_accepted_later() {
    let mut place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    drop_file(&input, "a.hl7", format!("{A}{B}"));
    place.reserve = "1 TiB";
    let running = place
        .start(&through("ConfirmComplete: None", "Filename: \"%id%.hl7\""))
        .await;
    let trying = || running.item("In").stats.trying().unwrap_or_default();
    until("the trouble to be shown", || {
        trying().contains("stays in WorkPath") && trying().contains("disk")
    })
    .await;
    drop_file(&input, "b.hl7", A);
    running.stop().await;
    let waiting = ["a.hl7", "b.hl7"];
    assert_eq!(
        files(&input),
        waiting,
        "nothing of it was written, so it goes back"
    );
    assert!(files(&out).is_empty());
    place.reserve = "0";
    let running = place
        .start(&through("ConfirmComplete: None", "Filename: \"%id%.hl7\""))
        .await;
    until("all to come out", || {
        bodies(&out) == [A.as_bytes(), A.as_bytes(), B.as_bytes()]
    })
    .await;
    until("the folder to be empty", || files(&input).is_empty()).await;
    let origins = running.rows("In").await.into_iter().map(|row| row.origin);
    let expected = ["a.hl7 (message 1 of 2)", "a.hl7 (message 2 of 2)", "b.hl7"];
    assert_eq!(origins.collect::<Vec<_>>(), expected);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_taken_lose_no_file_in_the_archive() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    let archive = place.folder("archive");
    fs::write(archive.join("same.hl7"), "older").unwrap();
    let running = place.start(&through("ArchivePath: @/archive", "")).await;
    drop_file(&input, "same.hl7", A);
    until("it to be archived", || files(&archive).len() == 2).await;
    drop_file(&input, "same.hl7", B);
    until("the next to be archived", || files(&archive).len() == 3).await;
    until("both to come out", || files(&out).len() == 2).await;
    assert_eq!(bodies(&archive), [A.as_bytes(), B.as_bytes(), b"older"]);
    assert_eq!(fs::read(archive.join("same.hl7")).unwrap(), b"older");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_set_aside_and_recorded() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    let running = place
        .start(&through("MaxFileSize: 1 KiB, ErrorPath: @/bad", ""))
        .await;
    let large = format!("{A}{}", "NTE|1\r".repeat(1000));
    drop_file(&input, "large.hl7", &large);
    drop_file(&input, "small.hl7", A);
    until("the small one to come out", || files(&out).len() == 1).await;
    until("the large one to be set aside", || {
        files(&place.path("bad")) == ["large.hl7"]
    })
    .await;
    assert_eq!(bodies(&place.path("bad")), [large.as_bytes()]);
    let rows = running.rows("In").await;
    let bad = rows.iter().find(|row| row.origin == "large.hl7").unwrap();
    assert_eq!(bad.state, State::Error);
    assert!(
        bad.reason.contains("MaxFileSize") && bad.reason.contains("1024"),
        "{}",
        bad.reason
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_kept_in_error_with_its_bytes() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    let running = place.start(&through("ArchivePath: @/archive", "")).await;
    drop_file(&input, "mixed.hl7", format!("NO|MESSAGE\r{A}"));
    until("it to be archived", || {
        files(&place.path("archive")) == ["mixed.hl7"]
    })
    .await;
    until("the good one to come out", || {
        bodies(&out) == [A.as_bytes()]
    })
    .await;
    let rows = running.rows("In").await;
    let bad = rows.iter().find(|row| row.state == State::Error).unwrap();
    assert_eq!(bad.origin, "mixed.hl7 (message 1 of 2)");
    assert!(bad.reason.contains("MSH"), "{}", bad.reason);
    assert_eq!(
        &running.0.broker.store.body(bad.body).unwrap()[..],
        b"NO|MESSAGE\r"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_go_to_their_handler_and_plain_files_pass_as_they_are() {
    let place = Place::new();
    let (input, bad) = (place.folder("in"), place.folder("bad"));
    let (raw, raw_out) = (place.folder("raw"), place.folder("raw-out"));
    let running = place
        .start(
            "  - name: In
    class: EnsLib.HL7.Service.FileService
    adapter: { FilePath: @/in, CallInterval: 0.1 }
    host: { TargetConfigNames: Drop, BadMessageHandler: Bad }
  - name: Raw
    class: EnsLib.File.PassthroughService
    adapter: { FilePath: @/raw, CallInterval: 0.1, FileSpec: \"*.pdf;*.bin\" }
    host: { TargetConfigNames: RawOut }
  - name: Bad
    class: FileOperation
    adapter: { FilePath: @/bad }
  - name: RawOut
    class: EnsLib.File.PassthroughOperation
    adapter: { FilePath: @/raw-out }
  - name: Drop
    class: DiscardOperation
    host: { Reason: nobody wants it }
",
        )
        .await;
    let odd: Vec<u8> = (0..=255).cycle().take(5000).collect();
    drop_file(&raw, "a.bin", &odd);
    drop_file(&raw, "b.txt", "not asked for");
    drop_file(&input, "bad.hl7", "no message");
    drop_file(&input, "good.hl7", A);
    until("the plain file to come out", || {
        bodies(&raw_out) == [odd.as_slice()]
    })
    .await;
    until("the bad one to reach its handler", || {
        bodies(&bad) == [b"no message"]
    })
    .await;
    let discarded = || {
        running
            .item("Drop")
            .stats
            .discarded
            .load(std::sync::atomic::Ordering::Relaxed)
    };
    until("the good one to be dropped", || discarded() == 1).await;
    let dropped = running.rows("Drop").await.remove(0);
    assert_eq!(
        (dropped.state, dropped.reason.as_str()),
        (State::Discarded, "nobody wants it")
    );
    assert_eq!(files(&raw), ["b.txt"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_hidden_files_are_not_taken() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    fs::write(place.path("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(place.path("secret"), input.join("a-link.hl7")).unwrap();
    fs::write(input.join(".hidden.hl7"), A).unwrap();
    fs::create_dir(input.join("folder.hl7")).unwrap();
    drop_file(&input, "z.hl7", A);
    let running = place.start(&through("", "")).await;
    until("the file to come out", || bodies(&out) == [A.as_bytes()]).await;
    assert_eq!(files(&input), [".hidden.hl7"]);
    assert!(input.join("a-link.hl7").is_symlink() && input.join("folder.hl7").is_dir());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_folder_that_is_missing_makes_messages_wait() {
    let place = Place::new();
    let input = place.folder("in");
    let running = place.start(&through("", "")).await;
    drop_file(&input, "a.hl7", A);
    let trying = || running.item("Out").stats.trying().unwrap_or_default();
    until("the operation to try again", || {
        trying().contains("FilePath")
    })
    .await;
    let out = place.folder("out");
    until("the message to come out", || bodies(&out) == [A.as_bytes()]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_fails_holds_up_no_other_file() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    let running = place.start(&through("ArchivePath: @/archive", "")).await;
    fs::remove_dir(place.path("archive")).unwrap();
    drop_file(&input, "a.hl7", A);
    until("the trouble to be shown", || {
        running
            .item("In")
            .stats
            .trying()
            .is_some_and(|it| it.contains("ArchivePath"))
    })
    .await;
    drop_file(&input, "b.hl7", B);
    until("both to come out", || {
        bodies(&out) == [A.as_bytes(), B.as_bytes()]
    })
    .await;
    place.folder("archive");
    until("both to be archived", || {
        files(&place.path("archive")) == ["a.hl7", "b.hl7"]
    })
    .await;
    until("the trouble to be over", || {
        running.item("In").stats.trying().is_none()
    })
    .await;
    assert_eq!(files(&out).len(), 2, "nothing is accepted twice");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_messages_are_parted_by_a_line_feed() {
    let place = Place::new();
    let (input, out) = (place.folder("in"), place.folder("out"));
    drop_file(&input, "both.hl7", format!("{A}{B}"));
    let running = place
        .start(&through("", "Overwrite: append, Filename: all.hl7"))
        .await;
    until("both to be written", || {
        bodies(&out) == [format!("{A}\n{B}\n").into_bytes()]
    })
    .await;
    running.stop().await;
}

/// A fresh installation has no folders yet: those below `DataPath` are the engine's to make.
#[tokio::test(flavor = "multi_thread")]
async fn folders_below_the_data_path_are_made_and_others_are_not() {
    let place = Place::new();
    let below = "  - {name: In, class: FileService, adapter: {FilePath: '${DataPath}/in'}, host: {TargetConfigNames: Out}}
  - {name: Out, class: FileOperation, adapter: {FilePath: '${DataPath}/out', Filename: 'a'}}
";
    let running = place.start(below).await;
    assert!(place.path("data/in").is_dir() && place.path("data/out").is_dir());
    running.stop().await;
    let elsewhere = below.replace("${DataPath}/in", "@/mounted/in");
    let error = place.try_start(&elsewhere).await.err().expect("refused");
    assert!(error.to_string().contains("mounted/in"), "{error}");
    assert!(!place.path("mounted").exists());
}
