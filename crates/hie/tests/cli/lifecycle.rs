//! `hie run` and `hie status`: start, refusals to start, stop.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::net::UnixListener};

use rustix::process::Signal;

use crate::common::{Mllp, Place, Receiver, eventually, get, message, nobody, production};

#[test]
fn one_screen_says_what_listens_where_and_what_to_try() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    let screen = eventually("the screen is there", || {
        Some(engine.screen()).filter(|screen| screen.contains("Ctrl-C"))
    });
    let address = engine.address("In");
    let status = engine.status();
    for part in [
        "Test",
        &format!("listens {address}"),
        "Router",
        "EPR, Sink",
        "sends to 127.0.0.1:",
        status["data"].as_str().unwrap(),
        status["metrics"].as_str().unwrap(),
        "hie send --to",
        "hie status --watch",
        "hie messages",
    ] {
        assert!(screen.contains(part), "{part} is missing:\n{screen}");
    }
    assert!(screen.lines().count() < 30, "more than a screen:\n{screen}");
    assert!(!screen.contains('\x1b'), "colours on a pipe");
}

#[test]
fn the_data_folder_and_the_socket_are_for_their_owner_alone() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.data()), 0o700);
    assert_eq!(mode(place.data().join("control.sock")), 0o600);
    assert_eq!(engine.stop(), 0);
    assert!(
        !place.data().join("control.sock").exists(),
        "the socket outlives its engine"
    );
}

#[test]
fn what_was_accepted_survives_a_stop_and_a_kill() {
    let place = Place::new();
    let mut receiver = Receiver::start();
    let config = production(receiver.addr());
    receiver.down();
    let engine = place.start(&config);
    let mut feed = Mllp::connect(engine.address("In"));
    feed.accepted(&message("ADT^A01", "1", "77", "DOE"));
    assert_eq!(engine.stop(), 0);

    let engine = place.start(&config);
    Mllp::connect(engine.address("In")).accepted(&message("ADT^A01", "2", "77", "DOE"));
    engine.kill();
    assert!(
        place.data().join("control.sock").exists(),
        "a killed engine cannot remove its socket"
    );

    receiver.up();
    let engine = place.start(&config); // over the stale socket of the killed one
    receiver.wait_for(2);
    assert_eq!(engine.status()["recovered"]["orphaned"], 0);
    engine.wait_for("EPR", "completed", 2);
    assert_eq!(engine.stop(), 0);
}

#[test]
fn a_stop_answers_nothing_positive_any_more() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    let address = engine.address("In");
    Mllp::connect(address).accepted(&message("ADT^A01", "1", "7", "DOE"));
    assert_eq!(engine.stop(), 0);
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "the port is still open"
    );
    let log = engine.log();
    assert!(log.contains("stopping") && log.contains("SIGTERM"), "{log}");
}

#[test]
fn a_second_signal_stops_at_once_and_loses_nothing() {
    let place = Place::new();
    // A receiver that never answers keeps the operation busy beyond the patience of this test.
    let mut receiver = Receiver::start();
    receiver.inner.set(hie_load::receiver::Behaviour::of(
        hie_load::receiver::Answer::Silence,
    ));
    let config = production(receiver.addr()).replace("ShutdownTimeout: 5", "ShutdownTimeout: 3600");
    let config = config.replace(
        "IPAddress: 127.0.0.1, Port: ",
        "ReplyTimeout: 3600, IPAddress: 127.0.0.1, Port: ",
    );
    let engine = place.start(&config);
    Mllp::connect(engine.address("In")).accepted(&message("ADT^A01", "1", "7", "DOE"));
    receiver.wait_for(1);
    engine.signal(Signal::TERM);
    eventually("the stop begins", || {
        engine.log().contains("stopping").then_some(())
    });
    engine.signal(Signal::INT);
    assert_eq!(engine.wait(), 11);

    place.hie(["journal", "verify"]).ok();
    receiver.down();
    receiver.up();
    receiver.inner.set(hie_load::receiver::Behaviour::default());
    let engine = place.start(&config);
    engine.wait_for("EPR", "completed", 1);
    let hop = place
        .hie(["messages", "--item", "EPR", "--json"])
        .ok()
        .rows()
        .remove(0);
    assert_eq!(hop["state"], "Completed");
    assert_eq!(
        hop["possible_duplicate"], true,
        "it went out before the stop, and again after it"
    );
}

#[test]
fn a_hangup_with_the_same_file_changes_nothing() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    engine.signal(Signal::HUP);
    eventually("the log says so", || {
        engine
            .log()
            .contains("the configuration is the same")
            .then_some(())
    });
    let status = engine.status();
    assert_eq!(status["ready"], true);
    assert_eq!(status["configuration"]["generation"], 1);
    engine.signal(Signal::INT);
    assert_eq!(engine.wait(), 0);
}

#[test]
fn a_used_port_is_one_sentence_and_exit_code_4() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = production(nobody());
    let engine = place.launch(
        &config.replacen("Port: 0", &format!("Port: {port}"), 1),
        &[],
    );
    assert_eq!(engine.wait(), 4);
    let log = engine.log();
    assert!(
        log.contains("item In cannot start") && log.contains(&port.to_string()),
        "{log}"
    );

    let config = config.replace(
        "MetricsAddress: 127.0.0.1:0",
        &format!("MetricsAddress: 127.0.0.1:{port}"),
    );
    let engine = place.launch(&config, &[]);
    assert_eq!(engine.wait(), 4);
    assert!(engine.log().contains("MetricsAddress"), "{}", engine.log());
    place.start(&production(nobody())); // a failed start leaves nothing in the way
}

#[test]
fn a_second_engine_on_the_same_store_is_refused_with_exit_code_5() {
    let place = Place::new();
    let first = place.start(&production(nobody()));
    let second = place.launch(&production(nobody()), &[]);
    assert_eq!(second.wait(), 5);
    let log = second.log();
    assert!(
        log.contains("locked by another engine") && log.contains(&first.pid().to_string()),
        "{log}"
    );
    assert_eq!(first.status()["ready"], true, "the first one does not mind");
    Mllp::connect(first.address("In")).accepted(&message("ADT^A01", "1", "7", "DOE"));
}

#[test]
fn a_folder_that_cannot_be_written_is_one_sentence_and_exit_code_6() {
    let place = Place::new();
    // A file where the folder should be fails for every user, root too.
    place.write("data", "not a folder");
    let engine = place.launch(&production(nobody()), &[]);
    assert_eq!(engine.wait(), 6);
    assert!(engine.log().contains("data folder"), "{}", engine.log());

    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(place.data().join("probe"), "").is_ok() {
        println!("skipped: this user may write to a read-only folder");
        return;
    }
    let engine = place.launch(&production(nobody()), &[]);
    assert_eq!(engine.wait(), 6);
    assert!(engine.log().contains("help:"), "{}", engine.log());
}

#[test]
fn a_disk_without_room_is_one_sentence_and_exit_code_6() {
    let place = Place::new();
    // A limit on the size of files stands for a disk that has no room for the first segment.
    let config = place.write("production.yaml", &production(nobody()));
    let (binary, config) = (env!("CARGO_BIN_EXE_hie"), config.display());
    let shell = format!("trap '' XFSZ; ulimit -f 64; exec {binary} run {config}");
    let output = std::process::Command::new("sh")
        .args(["-c", &shell])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(
        said.contains("error:") && said.contains("journal"),
        "{said}"
    );
}

#[test]
fn a_data_folder_whose_path_is_too_long_for_a_socket_is_told_so() {
    let place = Place::new();
    let long = "x".repeat(120);
    let engine = place.launch(
        &production(nobody()).replace("@/data", &format!("@/{long}")),
        &[],
    );
    assert_eq!(engine.wait(), 6);
    assert!(engine.log().contains("shorter"), "{}", engine.log());
}

#[test]
fn a_wrong_configuration_starts_nothing_and_lists_every_error() {
    let place = Place::new();
    let config = production(nobody()).replace("class: DiscardOperation", "class: DiscardOperatoin");
    let engine = place.launch(
        &config.replace("RetryInterval: 0.1", "RetryIntervall: 0.1"),
        &[],
    );
    assert_eq!(engine.wait(), 3);
    let log = engine.log();
    for part in [
        "DiscardOperatoin",
        "`DiscardOperation`",
        "RetryIntervall",
        "`RetryInterval`",
        "2 errors",
    ] {
        assert!(log.contains(part), "{part} is missing:\n{log}");
    }
    assert!(!place.data().exists(), "it touched the disk");
}

#[test]
fn a_damaged_journal_is_refused_with_exit_code_7_and_can_be_repaired() {
    let place = Place::new();
    let receiver = Receiver::start();
    let config = production(receiver.addr());
    let engine = place.start(&config);
    let mut feed = Mllp::connect(engine.address("In"));
    for nth in 0..20 {
        feed.accepted(&message("ADT^A01", &nth.to_string(), "7", "DOE"));
    }
    engine.wait_for("EPR", "completed", 20);
    engine.kill();
    crate::upkeep::damage(&place.data(), 4096);

    // Without the checkpoint everything is read anew, so the damage is met at the start.
    let engine = place.launch(&config, &[]);
    assert_eq!(engine.wait(), 7);
    assert!(
        engine.log().contains("hie journal repair"),
        "{}",
        engine.log()
    );
    place.hie(["journal", "verify"]).exits(7);
    place.hie(["journal", "repair"]).ok();
    place.hie(["journal", "verify"]).ok();
    place.start(&config);
}

#[test]
fn data_can_lie_where_the_environment_says() {
    let place = Place::new();
    let config =
        production(nobody()).replace("DataPath: @/data", "DataPath: ${HIE_DATA:-nowhere}/of-test");
    let engine = place.launch(&config, &[]);
    let other = place.data().join("of-test");
    eventually("it runs on that folder", || {
        assert!(engine.ended().is_none(), "{}", engine.log());
        let ran = place.hie(["status", "--json", "--data", other.to_str().unwrap()]);
        (ran.code == 0 && ran.json()["ready"] == true).then_some(())
    });
    assert_eq!(engine.stop(), 0);
}

#[test]
fn commands_on_a_folder_without_data_say_so_with_exit_code_8() {
    let place = Place::new();
    for command in [
        &["status"][..],
        &["queues"],
        &["messages"],
        &["show", "1"],
        &["journal", "verify"],
    ] {
        let ran = place.hie(command).exits(8);
        assert!(
            ran.stderr.contains("no journal") && ran.stderr.contains("--data"),
            "{}",
            ran.stderr
        );
    }
    for command in [&["resend", "1"][..], &["purge", "--before", "now"]] {
        let ran = place.hie(command).exits(8);
        assert!(ran.stderr.contains("no engine runs"), "{}", ran.stderr);
    }
}

#[test]
fn a_socket_that_nobody_answers_counts_as_stopped() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    assert_eq!(engine.stop(), 0);
    drop(UnixListener::bind(place.data().join("control.sock")).unwrap());
    let ran = place.hie(["status", "--json"]).ok();
    assert_eq!(ran.json()["running"], false);
    assert!(ran.stderr.contains("no engine runs"), "{}", ran.stderr);
}

#[test]
fn metrics_and_health_tell_how_it_is() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    let mut feed = Mllp::connect(engine.address("In"));
    for id in ["1", "2", "3"] {
        feed.accepted(&message("ADT^A01", id, "7", "SECRETNAME"));
    }
    engine.wait_for("EPR", "completed", 3);
    let url = engine.status()["metrics"].as_str().unwrap().to_owned();
    let (code, page) = get(&url);
    assert_eq!(code, 200);
    for line in [
        r#"hie_item_received_messages_total{item="In",class="HL7TCPService"} 3"#,
        r#"hie_item_completed_messages_total{item="EPR",class="HL7TCPOperation"} 3"#,
        r#"hie_item_queue_messages{item="EPR",class="HL7TCPOperation"} 0"#,
        r#"hie_item_state{item="In",state="running"} 1"#,
        "hie_ready 1",
        "hie_journal_poisoned 0",
        "# EOF",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is missing:\n{page}"
        );
    }
    assert!(
        page.contains("process_resident_memory_bytes ")
            && page.contains("process_cpu_seconds_total ")
    );
    assert!(!page.contains("SECRETNAME"));

    let reference = include_str!("../../../../docs/reference/metrics.md");
    for family in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = family.split_once(' ').unwrap();
        let end = if kind == "counter" { "_total" } else { "" };
        let row = format!("| `{name}{end}` | {kind} |");
        assert!(
            reference.contains(&row),
            "docs/reference/metrics.md has no row {row}"
        );
    }

    let health = url.replace("/metrics", "/health");
    let json = |page: &str| serde_json::from_str::<serde_json::Value>(page).unwrap();
    let (code, page) = get(&format!("{health}/live"));
    assert_eq!((code, json(&page)["live"].as_bool()), (200, Some(true)));
    let (code, page) = get(&format!("{health}/ready"));
    assert_eq!((code, json(&page)["ready"].as_bool()), (200, Some(true)));
    let (code, page) = get(&health);
    assert_eq!(code, 200);
    assert_eq!(json(&page)["items"].as_array().unwrap().len(), 4);
    assert_eq!(get(&url.replace("/metrics", "/nothing")).0, 404);
}

#[test]
fn a_full_disk_refuses_what_comes_in_and_health_says_why() {
    let place = Place::new();
    let disk = rustix::fs::statvfs(place.path("")).unwrap();
    if disk.f_bavail.saturating_mul(disk.f_frsize) > 1 << 40 {
        println!("skipped: the disk has more room than the largest reserve");
        return;
    }
    // A reserve that this disk does not have: as if the last free bytes were reached.
    let config = production(nobody()).replace("JournalReserve: 1 MiB", "JournalReserve: 1 TiB");
    let engine = place.launch(&config, &[]);
    let page = eventually("it runs", || {
        assert!(engine.ended().is_none(), "{}", engine.log());
        let ran = place.hie(["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&ran.stdout).ok()?;
        Some(status["metrics"].as_str()?.to_owned())
    });
    let answer = Mllp::connect(engine.address("In")).send(&message("ADT^A01", "1", "7", "DOE"));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.contains("MSA|AE|1") || answer.contains("MSA|AR|1"),
        "{answer}"
    );
    let (code, ready) = get(&page.replace("/metrics", "/health/ready"));
    assert_eq!(code, 503, "{ready}");
    assert!(ready.contains("the disk is full"), "{ready}");
    assert_eq!(get(&page.replace("/metrics", "/health")).0, 503);
    assert_eq!(get(&page.replace("/metrics", "/health/live")).0, 200);
    let metrics = get(&page).1;
    assert!(
        metrics.contains("hie_journal_disk_full 1") && metrics.contains("hie_ready 0"),
        "{metrics}"
    );
    let shown = place.hie(["status"]).ok().stdout;
    assert!(
        shown.contains("not ready") && shown.contains("the disk is full"),
        "{shown}"
    );
    assert_eq!(
        place.hie(["messages", "--json"]).ok().rows().len(),
        0,
        "nothing was accepted"
    );
    assert_eq!(engine.stop(), 0);
}
