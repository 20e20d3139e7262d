//! The Python example of the SDK's README, as a reader would run it.

#![allow(clippy::unwrap_used)] // a test may end so

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use common::{Mllp, Place, eventually};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

#[test]
fn the_example_traces_a_patient_and_tells_the_ward() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3 on this machine");
        return;
    }
    let (place, root) = (Place::new(), root());
    let text = std::fs::read_to_string(root.join("examples/python-hosts.yaml")).unwrap();
    let port = "Port: 2585";
    assert!(text.contains(port));
    let here = |path: &str| root.join(path).display().to_string();
    let text = text
        .replace(port, "Port: 0")
        .replace("DataPath: hie-python-data", "DataPath: @/data")
        .replace(
            "PythonPath: python, ../sdk/python/src",
            &format!(
                "PythonPath: {}, {}",
                here("examples/python"),
                here("sdk/python/src")
            ),
        );
    let engine = place.start(&text);
    let mut sender = Mllp::connect(engine.address("From-PAS"));
    sender.accepted(
        b"MSH|^~\\&|PAS|TRUST|HIE|TRUST|20260301||ADT^A08|77|P|2.4\rPID|1||9990000026^^^NHS^NH||BAKER^TOM\r",
    );
    engine.wait_for("To-Ward", "completed", 1);
    engine.wait_for("Audit", "completed", 1);
    let written = eventually("the ward's file", || {
        let mut files = std::fs::read_dir(place.path("data/ward")).ok()?;
        std::fs::read_to_string(files.next()?.ok()?.path()).ok()
    });
    assert!(written.contains("|BAKER^THOMAS"), "{written}");
    let audit = std::fs::read_to_string(place.path("data/audit.jsonl")).unwrap();
    assert!(audit.contains("\"control_id\": \"77\""), "{audit}");
    let trace = place.hie(["trace", "1"]).ok().stdout;
    assert!(trace.contains("PDS → Demographics"), "{trace}");
    assert_eq!(engine.stop(), 0, "{}", engine.log());
}
