//! `hie new host`: starters whose tests pass, and files that are never overwritten.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::common::Place;

/// The SDK's sources, beside the crates.
fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/src")
}

/// Whether there is a python3 that the SDK runs on; says so where there is none.
fn python() -> bool {
    let new_enough = "import sys; sys.exit(sys.version_info < (3, 9))";
    let there = Command::new("python3")
        .args(["-c", new_enough])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: no python3 (3.9 or newer) here, the starters were not run");
    }
    there
}

#[test]
fn the_starter_of_each_kind_passes_its_own_test_and_is_described() {
    let place = Place::new();
    for (kind, class) in [
        ("process", "BedFinder"),
        ("operation", "custom.nhs.pager.Pager"),
        ("service", "HL7Drop"),
    ] {
        let ran = place
            .hie([
                "new", "host", "--python", class, "--kind", kind, "--dir", kind,
            ])
            .ok();
        assert!(
            ran.stdout.contains("ExecutionMode: multiprocess"),
            "{}",
            ran.stdout
        );
        if !python() {
            continue;
        }
        let folder = place.path(kind);
        let tested = Command::new("python3")
            .args(["-m", "unittest", "discover", "-s", "tests"])
            .current_dir(&folder)
            .env("PYTHONPATH", sdk())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&tested.stderr);
        assert!(
            tested.status.success() && said.contains("\nOK"),
            "{kind}:\n{said}"
        );

        let full = ran
            .stdout
            .lines()
            .find_map(|line| line.trim().strip_prefix("class: "))
            .unwrap();
        let described = Command::new("python3")
            .args(["-m", "hie.describe", full, "--path"])
            .arg(&folder)
            .env("PYTHONPATH", sdk())
            .output()
            .unwrap();
        let described: serde_json::Value = serde_json::from_slice(&described.stdout).unwrap();
        assert_eq!(described["kind"].as_str().unwrap().to_lowercase(), kind);
        for row in described["settings"].as_array().unwrap() {
            let setting = format!("{}: ", row["name"].as_str().unwrap());
            assert!(
                ran.stdout.contains(&setting),
                "{setting} is not shown:\n{}",
                ran.stdout
            );
        }
    }
}

#[test]
fn nothing_is_overwritten_and_wrong_names_are_refused() {
    let place = Place::new();
    place.hie(["new", "host", "--python", "BedFinder"]).ok();
    let module = place.path("python/custom/local/bed_finder.py");
    std::fs::write(&module, "mine").unwrap();
    let ran = place.hie(["new", "host", "--python", "BedFinder"]).exits(2);
    assert!(
        ran.stderr.contains("bed_finder.py is there already"),
        "{}",
        ran.stderr
    );
    assert_eq!(std::fs::read_to_string(&module).unwrap(), "mine");

    // The test alone is there: then the module is not written either.
    std::fs::remove_file(&module).unwrap();
    place.hie(["new", "host", "--python", "BedFinder"]).exits(2);
    assert!(!module.exists());

    for wrong in ["bed", "../Bed", "custom.Bed", "Bed Finder"] {
        let ran = place.hie(["new", "host", "--python", wrong]).exits(2);
        assert!(
            ran.stderr.contains("cannot name a host class"),
            "{}",
            ran.stderr
        );
    }
    let ran = place.hie(["new", "host", "Bed"]).exits(2);
    assert!(ran.stderr.contains("--python"), "{}", ran.stderr);
}
