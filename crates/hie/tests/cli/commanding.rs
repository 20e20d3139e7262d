//! `hie item`, and items that fail beside others that do not.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use crate::common::{
    Engine, Mllp, PATIENCE, Place, Receiver, eventually, get, message, nobody, production,
};

fn state(engine: &Engine<'_>, item: &str) -> String {
    engine.item(item)["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_paused_operation_keeps_its_queue_and_sends_it_in_order_when_resumed() {
    let place = Place::new();
    let receiver = Receiver::start();
    receiver.inner.keep_log();
    let engine = place.start(&production(receiver.addr()));
    let mut feed = Mllp::connect(engine.address("In"));
    let mut send = |ids: std::ops::Range<usize>| {
        for id in ids {
            feed.accepted(&message("ADT^A01", &id.to_string(), "7", "DOE"));
        }
    };
    send(0..20);
    let told = place.hie(["item", "pause", "EPR"]).ok().stdout;
    assert_eq!(told, "EPR: paused\n");
    let before = receiver.inner.log().len();
    send(20..60);
    engine.wait_for("Router", "completed", 60);
    let item = engine.item("EPR");
    assert_eq!(item["queued"], 60 - before, "{item}");
    assert_eq!(item["in_hand"], 0);
    assert_eq!(item["health"]["level"], "degraded");
    assert_eq!(receiver.inner.log().len(), before, "nothing went out");
    assert_eq!(
        engine.status()["ready"],
        true,
        "what an operator wants is no trouble"
    );
    place.hie(["item", "resume", "EPR"]).ok();
    receiver.wait_for(60);
    let expected: Vec<String> = (0..60).map(|id| id.to_string()).collect();
    assert_eq!(receiver.inner.log(), expected);
    let log = engine.log();
    assert!(
        log.contains("an operator's command") && log.contains("a command of user"),
        "{log}"
    );
}

#[test]
fn a_paused_operation_leaves_a_receiver_that_is_down_alone() {
    let place = Place::new();
    let mut receiver = Receiver::start();
    let config = production(receiver.addr());
    receiver.down();
    let engine = place.start(&config);
    Mllp::connect(engine.address("In")).accepted(&message("ADT^A01", "1", "7", "DOE"));
    engine.wait_for("EPR", "retries", 2);
    place.hie(["item", "pause", "EPR"]).ok();
    let item = engine.item("EPR");
    assert_eq!((&item["queued"], &item["in_hand"]), (&1.into(), &0.into()));
    let tries = item["retries"].clone();
    receiver.up();
    assert_eq!(receiver.inner.connections(), 0);
    assert_eq!(engine.item("EPR")["retries"], tries);
    place.hie(["item", "resume", "EPR"]).ok();
    receiver.wait_for(1);
}

#[test]
fn a_paused_service_answers_nothing_until_it_is_resumed_and_keeps_its_connections() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    let mut stream = TcpStream::connect(engine.address("In")).unwrap();
    let frame = |id: &str| {
        [
            &[0x0b],
            &message("ADT^A01", id, "7", "DOE")[..],
            &[0x1c, 0x0d],
        ]
        .concat()
    };
    let mut answer = [0; 1024];
    stream.write_all(&frame("1")).unwrap();
    assert!(stream.read(&mut answer).unwrap() > 0);
    place.hie(["item", "pause", "In"]).ok();
    stream.write_all(&frame("2")).unwrap();
    // Long enough for an answer that should not be; a slow machine can only hide one.
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let silence = stream.read(&mut answer).unwrap_err();
    assert!(
        matches!(silence.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silence}"
    );
    assert_eq!(engine.item("In")["received"], 1, "nothing was let in");
    assert_eq!(engine.item("In")["connections"], 1);
    place.hie(["item", "resume", "In"]).ok();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let count = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(answer.contains("MSA|AA|2"), "{answer}");
    receiver.wait_for(2);

    // A stop while it is paused says nothing either: the sender keeps its message.
    place.hie(["item", "pause", "In"]).ok();
    stream.write_all(&frame("3")).unwrap();
    assert_eq!(engine.stop(), 0);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn a_paused_file_service_leaves_its_folder_alone() {
    let place = Place::new();
    fs::create_dir(place.path("in")).unwrap();
    let files = "  - name: Files\n    class: HL7FileService\n    adapter: {FilePath: @/in, FileSpec: '*.hl7', \
                 PollInterval: 0.1}\n    host: {TargetConfigNames: Sink}\n";
    let config =
        production(nobody()).replace("  - name: Router", &format!("{files}  - name: Router"));
    let engine = place.start(&config);
    place.hie(["item", "pause", "Files"]).ok();
    place.write_bytes("in/one.hl7", &message("ORU^R01", "1", "7", "DOE"));
    // A second, busy feed passes meanwhile: the file service had every chance.
    let mut feed = Mllp::connect(engine.address("In"));
    for id in 0..50 {
        feed.accepted(&message("ORU^R01", &id.to_string(), "7", "DOE"));
    }
    assert!(place.path("in/one.hl7").exists());
    assert_eq!(engine.item("Files")["received"], 0);
    place.hie(["item", "resume", "Files"]).ok();
    engine.wait_for("Files", "received", 1);
}

#[test]
fn items_stop_start_restart_disable_and_enable_one_by_one() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    let mut feed = Mllp::connect(engine.address("In"));
    let mut id = 0;
    let mut send = || {
        id += 1;
        feed.accepted(&message("ADT^A01", &id.to_string(), "7", "DOE"));
    };
    send();
    receiver.wait_for(1);

    place.hie(["item", "stop", "EPR"]).ok();
    assert_eq!(state(&engine, "EPR"), "stopped");
    assert_eq!(engine.status()["ready"], false, "nothing goes out there");
    send();
    engine.wait_for("EPR", "queued", 1);
    place.hie(["item", "start", "EPR"]).ok();
    receiver.wait_for(2);
    let told = place.hie(["item", "start", "EPR"]).ok().stdout;
    assert!(told.contains("it runs already"), "{told}");

    place.hie(["item", "disable", "EPR"]).ok();
    assert_eq!(state(&engine, "EPR"), "disabled");
    assert_eq!(engine.status()["ready"], true, "it was told to be off");
    send();
    engine.wait_for("EPR", "queued", 1);
    let ran = place.hie(["item", "start", "EPR"]).exits(1);
    assert!(ran.stderr.contains("hie item enable EPR"), "{}", ran.stderr);
    place.hie(["item", "enable", "EPR"]).ok();
    receiver.wait_for(3);

    let connections = receiver.inner.connections();
    place.hie(["item", "restart", "EPR", "Router"]).ok();
    send();
    receiver.wait_for(4);
    assert!(
        receiver.inner.connections() > connections,
        "a new connection"
    );

    let rows = place
        .hie(["item", "pause", "EPR", "Sink", "--json"])
        .ok()
        .rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1]["state"], "paused");
    place.hie(["item", "stop", "Sink"]).ok();
    let ran = place.hie(["item", "pause", "Sink"]).exits(1);
    assert!(ran.stderr.contains("nothing to pause"), "{}", ran.stderr);

    let ran = place.hie(["item", "resume", "EPRR", "EPR"]).exits(9);
    assert!(ran.stderr.contains("did you mean EPR?"), "{}", ran.stderr);
    assert_eq!(state(&engine, "EPR"), "running", "the other one went on");
    assert_eq!(engine.stop(), 0);
}

/// A second service, on this port.
fn with_second(port: u16, host: &str) -> String {
    let second = format!(
        "  - name: In2\n    class: HL7TCPService\n    adapter: {{Port: {port}, IPAddress: 127.0.0.1}}\n    \
         host: {{TargetConfigNames: Router, {host}}}\n"
    );
    production(nobody()).replace("  - name: Router", &format!("{second}  - name: Router"))
}

#[test]
fn an_item_that_cannot_start_does_not_hinder_the_others_and_starts_when_it_can() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = with_second(port, "RestartDelay: 0.05");
    let engine = place.launch(&config, &[]);
    let screen = eventually("it runs", || {
        assert!(engine.ended().is_none(), "{}", engine.log());
        Some(engine.screen()).filter(|screen| screen.contains("Ctrl-C"))
    });
    assert!(
        screen.contains("! In2: error") && screen.contains("is in use"),
        "{screen}"
    );
    Mllp::connect(engine.address("In")).accepted(&message("ORU^R01", "1", "7", "DOE"));
    let item = engine.item("In2");
    assert_eq!(item["state"], "error");
    assert_eq!(item["health"]["level"], "failed");
    let url = engine.status()["metrics"].as_str().unwrap().to_owned();
    let (code, page) = get(&url.replace("/metrics", "/health"));
    assert_eq!(code, 503);
    assert!(page.contains("item In2 is error"), "{page}");
    engine.wait_for("In2", "restarts", 2);
    drop(taken);
    engine.wait_until_ready();
    Mllp::connect(engine.address("In2")).accepted(&message("ORU^R01", "2", "7", "DOE"));
    assert_eq!(engine.stop(), 0);

    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let engine = place.launch(&config, &["--strict"]);
    assert_eq!(engine.wait(), 4);
    assert!(engine.log().contains("item In2 cannot start"));
}

#[test]
fn giving_up_is_a_state_an_alert_and_a_figure_and_a_person_can_start_it_again() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let engine = place.launch(
        &with_second(port, "RestartDelay: 0.01, MaxRestarts: 2"),
        &[],
    );
    eventually("it is given up", || {
        assert!(engine.ended().is_none(), "{}", engine.log());
        let ran = place.hie(["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&ran.stdout).ok()?;
        let items = status["items"].as_array()?.clone();
        let item = items.into_iter().find(|item| item["name"] == "In2")?;
        (item["state"] == "failed").then_some(())
    });
    let item = engine.item("In2");
    assert_eq!(
        (&item["restarts"], &item["give_ups"]),
        (&2.into(), &1.into())
    );
    assert!(item["last_error_ms"].as_u64().unwrap() > 0);
    let error = item["last_error"].as_str().unwrap();
    assert!(error.contains("gave up, after 2 restarts"), "{error}");
    assert!(engine.log().contains("item-gave-up"), "{}", engine.log());
    let url = engine.status()["metrics"].as_str().unwrap().to_owned();
    let page = get(&url).1;
    for line in [
        r#"hie_item_give_ups_total{item="In2",class="HL7TCPService"} 1"#,
        r#"hie_item_restarts_total{item="In2",class="HL7TCPService"} 2"#,
        r#"hie_item_state{item="In2",state="failed"} 1"#,
        r#"hie_item_health{item="In2",class="HL7TCPService"} 2"#,
    ] {
        assert!(page.contains(line), "{line} is missing:\n{page}");
    }
    let ran = place.hie(["item", "start", "In2"]).exits(4);
    assert!(ran.stderr.contains("it did not start"), "{}", ran.stderr);
    drop(taken);
    place.hie(["item", "restart", "In2"]).ok();
    engine.wait_until_ready();
}

#[test]
fn items_can_wait_for_a_person_to_start_them() {
    let place = Place::new();
    let config = production(nobody()).replace(
        "ShutdownTimeout: 5",
        "ShutdownTimeout: 5\n  AutoStartItems: false",
    );
    let engine = place.launch(&config, &[]);
    eventually("it runs", || {
        assert!(engine.ended().is_none(), "{}", engine.log());
        engine.screen().contains("Ctrl-C").then_some(())
    });
    assert_eq!(state(&engine, "In"), "stopped");
    place.hie(["item", "start", "In", "Router", "Sink"]).ok();
    Mllp::connect(engine.address("In")).accepted(&message("ORU^R01", "1", "7", "DOE"));
    engine.wait_for("Sink", "discarded", 1);
    assert_eq!(state(&engine, "EPR"), "stopped");
}
