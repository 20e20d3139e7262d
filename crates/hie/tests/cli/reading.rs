//! `messages`, `show`, `trace`, `queues`, `status`: the same on a running engine and on a stopped
//! one, and never a patient's data where it was not asked for.

use serde_json::Value;

use crate::common::{Engine, Mllp, Place, Ran, Receiver, message, nobody, production};

/// Everything that only reads.
const READING: [&[&str]; 9] = [
    &["messages", "--json"],
    &["messages", "--item", "EPR", "--json"],
    &["messages", "--patient", "4711", "--json"],
    &["messages", "--text", "smith", "--json"],
    &["messages", "--state", "queued,Suspended", "--json"],
    &["show", "1", "--json"],
    &["show", "1", "--raw"],
    &["trace", "1", "--json"],
    &["trace", "2"],
];

/// Two ADT for a receiver that is there, and a result for the sink.
fn three_messages(engine: &Engine<'_>) {
    let mut feed = Mllp::connect(engine.address("In"));
    feed.accepted(&message("ADT^A01", "M1", "4711", "SMITH"));
    feed.accepted(&message("ADT^A08", "M2", "4712", "JONES"));
    feed.accepted(&message("ORU^R01", "M3", "4711", "SMITH"));
    engine.wait_for("EPR", "completed", 2);
    engine.wait_for("Sink", "discarded", 1);
}

fn ids(ran: &Ran) -> Vec<String> {
    let id = |row: &Value| {
        format!(
            "{}→{} {}",
            row["source"].as_str().unwrap(),
            row["target"].as_str().unwrap(),
            row["control_id"].as_str().unwrap()
        )
    };
    let mut ids: Vec<_> = ran.rows().iter().map(id).collect();
    ids.sort();
    ids
}

#[test]
fn a_stopped_engine_answers_what_a_running_one_does() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    three_messages(&engine);
    let running: Vec<Ran> = READING.iter().map(|args| place.hie(*args).ok()).collect();
    assert!(
        running.iter().all(|ran| ran.stderr.is_empty()),
        "it speaks of a stopped engine"
    );
    assert_eq!(engine.stop(), 0);
    for (args, running) in READING.iter().zip(running) {
        let stopped = place.hie(*args).ok();
        assert_eq!(stopped.stdout, running.stdout, "{args:?}");
        assert!(
            stopped.stderr.contains("no engine runs"),
            "{}",
            stopped.stderr
        );
    }
    let status = place.hie(["status", "--json"]).ok().json();
    assert_eq!(status["running"], false);
    let items = status["items"].as_array().unwrap();
    let epr = items.iter().find(|item| item["name"] == "EPR").unwrap();
    assert_eq!(epr["stored"]["Completed"], 2);
    let words = place.hie(["status"]).ok().stdout;
    assert!(words.starts_with("stopped"), "{words}");
}

#[test]
fn a_killed_engine_leaves_what_can_be_read() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    let mut feed = Mllp::connect(engine.address("In"));
    for id in ["1", "2"] {
        feed.accepted(&message("ADT^A01", id, "7", "DOE"));
    }
    // Once it was found, it is in the index, and the kill takes nothing away from it.
    assert!(!place.hie(["messages", "--json"]).ok().rows().is_empty());
    engine.wait_for("EPR", "retries", 1);
    engine.kill();
    let found = place.hie(["messages", "--control-id", "1", "--json"]).ok();
    assert!(!found.rows().is_empty(), "{}", found.stderr);
    place.hie(["show", "1"]).ok();
    place.hie(["trace", "1"]).ok();
    let queued: u64 = place
        .hie(["queues", "--json"])
        .ok()
        .rows()
        .iter()
        .map(|row| row["queued"].as_u64().unwrap())
        .sum();
    assert_eq!(
        queued, 2,
        "what is unfinished is known from the journal alone"
    );
    place.hie(["journal", "verify"]).ok();
}

#[test]
fn messages_are_found_by_everything_they_have() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    three_messages(&engine);
    let find = |args: &[&str]| ids(&place.hie([&["messages", "--json"], args].concat()).ok());
    assert_eq!(find(&[]).len(), 6);
    assert_eq!(find(&["--item", "EPR"]), ["Router→EPR M1", "Router→EPR M2"]);
    assert_eq!(
        find(&["--type", "ADT^A08"]),
        ["In→Router M2", "Router→EPR M2"]
    );
    assert_eq!(find(&["--type", "ADT"]).len(), 4);
    assert_eq!(
        find(&["--control-id", "M3"]),
        ["In→Router M3", "Router→Sink M3"]
    );
    assert_eq!(
        find(&["--patient", "4712"]),
        ["In→Router M2", "Router→EPR M2"]
    );
    assert_eq!(
        find(&["--text", "jones"]),
        ["In→Router M2", "Router→EPR M2"]
    );
    assert_eq!(find(&["--state", "Discarded"]), ["Router→Sink M3"]);
    assert_eq!(find(&["--state", "error"]), Vec::<String>::new());
    assert_eq!(
        find(&["--from", "-1h", "--to", "now", "--session", "1"]),
        ["In→Router M1", "Router→EPR M1"]
    );
    assert_eq!(find(&["--to", "-1h"]), Vec::<String>::new());
    assert_eq!(find(&["--item", "Nobody"]), Vec::<String>::new());

    let newest = place
        .hie(["messages", "--limit", "2", "--json"])
        .ok()
        .rows();
    assert_eq!(newest.len(), 2);
    let before = newest[1]["id"].to_string();
    let older = place
        .hie(["messages", "--before", &before, "--json"])
        .ok()
        .rows();
    assert_eq!(older.len(), 4);
    assert!(
        older
            .iter()
            .all(|row| row["id"].as_u64() < newest[1]["id"].as_u64())
    );

    let table = place.hie(["messages", "--limit", "3"]).ok().stdout;
    assert!(
        table.contains("control id") && table.contains("more with --before"),
        "{table}"
    );
    let none = place.hie(["messages", "--item", "Nobody"]).ok().stdout;
    assert!(none.contains("no messages match"), "{none}");
}

#[test]
fn wrong_options_are_told_what_is_right() {
    let place = Place::new();
    for (args, part) in [
        (&["messages", "--state", "Lost"][..], "Queued"),
        (&["messages", "--from", "yesterday"], "10:30"),
        (&["messages", "--limit", "0"], "limit"),
        (&["show"], "ID"),
        (&["show", "abc"], "abc"),
        (&["mesages"], "messages"),
        (&["send", "x.hl7", "--to", "localhost"], "host:port"),
        (&["run"], "CONFIG"),
    ] {
        let ran = place.hie(args).exits(2);
        assert!(ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn show_gives_values_with_paths_and_the_exact_bytes() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    // Latin-1, an escape, and a terminal escape sequence inside a field.
    let raw = b"MSH|^~\\&|PAS|H|EPR|H|2026||ADT^A01|X1|P|2.5||||||8859/1\rPID|1||9^^^H||M\xfcLLER\\T\\SON^\x1b[2JA\rZZZ|odd\r";
    Mllp::connect(engine.address("In")).accepted(raw);
    engine.wait_for("EPR", "completed", 1);

    assert_eq!(place.hie(["show", "1", "--raw"]).ok().stdout_bytes, raw);
    assert_eq!(
        place.hie(["show", "2", "--raw"]).ok().stdout_bytes,
        raw,
        "what went out is what came in"
    );
    let text = place.hie(["show", "1"]).ok().stdout;
    for part in [
        "message 1 of session 1",
        "In → Router",
        "ADT_A01",
        "X1",
        "PID-3.1",
        "PID-5.1",
        "MÜLLER&SON".to_lowercase().as_str(),
        "\\x1B[2JA",
        "ZZZ-1",
        "odd",
    ] {
        assert!(
            text.contains(part) || text.to_lowercase().contains(part),
            "{part} is missing:\n{text}"
        );
    }
    assert!(!text.contains('\x1b'), "a field drives the terminal");
    let json = place.hie(["show", "1", "--json"]).ok().json();
    assert_eq!(json["header"]["control_id"], "X1");
    assert!(
        json["body"]["hex"].is_string(),
        "bytes that are no UTF-8 stay exact"
    );
    let reply = place.hie(["show", "2", "--reply", "--raw"]).ok().stdout;
    assert!(reply.contains("MSA|AA|X1"), "{reply}");
    place.hie(["show", "1", "--reply"]).exits(1);
    let missing = place.hie(["show", "99"]).exits(9);
    assert!(
        missing.stderr.contains("no message 99"),
        "{}",
        missing.stderr
    );
}

#[test]
fn trace_shows_the_session_as_a_tree() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.start(&production(receiver.addr()));
    three_messages(&engine);
    let first = place
        .hie(["messages", "--control-id", "M2", "--json"])
        .ok()
        .rows();
    let last_hop = first[0]["id"].to_string();
    let tree = place.hie(["trace", &last_hop]).ok().stdout;
    let (top, below) = (tree.find("└─ ").unwrap(), tree.find("   └─ ").unwrap());
    assert!(top < below, "{tree}");
    for part in [
        "ADT_A08 M2",
        "In → Router",
        "Router → EPR",
        "Completed",
        "decision: Rules",
        "movements",
        "reply of",
    ] {
        assert!(tree.contains(part), "{part} is missing:\n{tree}");
    }
    assert_eq!(
        place.hie(["trace", &last_hop, "--json"]).ok().rows().len(),
        2
    );
    place.hie(["trace", "99"]).exits(9);
}

#[test]
fn queues_show_what_waits_and_why() {
    let place = Place::new();
    let mut receiver = Receiver::start();
    let config = production(receiver.addr());
    receiver.down();
    let engine = place.start(&config);
    let mut feed = Mllp::connect(engine.address("In"));
    for id in ["1", "2", "3"] {
        feed.accepted(&message("ADT^A01", id, "7", "DOE"));
    }
    engine.wait_for("EPR", "retries", 1);
    let of_epr = |ran: Ran| {
        ran.rows()
            .into_iter()
            .find(|row| row["item"] == "EPR")
            .unwrap()
    };
    let queue = of_epr(place.hie(["queues", "--json"]).ok());
    assert_eq!(
        (&queue["queued"], &queue["state"]),
        (&3.into(), &"running".into())
    );
    let trying = queue["trying"].as_str().unwrap();
    assert!(trying.contains("cannot connect"), "{trying}");
    let table = place.hie(["queues"]).ok().stdout;
    assert!(
        table.contains("EPR") && table.contains("tries again"),
        "{table}"
    );
    let status = place.hie(["status"]).ok().stdout;
    assert!(status.contains("EPR tries again"), "{status}");
    assert_eq!(engine.stop(), 0);

    let queue = of_epr(place.hie(["queues", "--json"]).ok());
    assert_eq!(queue["queued"], 3, "a stopped engine shows its queues too");
    assert!(
        place
            .hie(["status"])
            .ok()
            .stdout
            .contains("recovers 3 queued messages")
    );

    receiver.up();
    let engine = place.start(&config);
    receiver.wait_for(3);
    engine.wait_for("EPR", "completed", 3);
    assert_eq!(of_epr(place.hie(["queues", "--json"]).ok())["queued"], 0);
}

#[test]
fn a_queue_whose_item_left_the_configuration_is_shown() {
    let place = Place::new();
    let config = production(nobody());
    let engine = place.start(&config);
    Mllp::connect(engine.address("In")).accepted(&message("ADT^A01", "1", "7", "DOE"));
    engine.wait_for("EPR", "retries", 1);
    assert_eq!(engine.stop(), 0);
    let engine = place.start(&config.replace("EPR", "Other"));
    assert_eq!(engine.status()["orphans"][0][0], "EPR");
    let table = place.hie(["queues"]).ok().stdout;
    assert!(table.contains("not in the configuration"), "{table}");
}

#[test]
fn status_can_be_watched() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    use std::{
        io::BufRead,
        process::{Command, Stdio},
    };
    let mut watch = Command::new(env!("CARGO_BIN_EXE_hie"))
        .args(["status", "--watch", "--json", "--data"])
        .arg(place.data())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let look: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(look["production"], "Test");
    }
    assert_eq!(engine.stop(), 0);
    let ended = watch.wait().unwrap();
    assert_eq!(ended.code(), Some(8), "it says that the engine went away");
}

#[test]
fn no_log_and_no_list_carries_a_patient() {
    let place = Place::new();
    let receiver = Receiver::start();
    let engine = place.launch(&production(receiver.addr()), &["--log", "trace"]);
    engine.wait_until_ready();
    let mut feed = Mllp::connect(engine.address("In"));
    feed.accepted(&message("ADT^A01", "1", "PATIENT4711", "SECRETNAME"));
    // A message that cannot be parsed, and one that no rule takes.
    let answer = feed.send(b"PID|1||PATIENT4711||SECRETNAME\r");
    assert!(
        !String::from_utf8_lossy(&answer).contains("MSA|AA"),
        "nonsense was accepted"
    );
    feed.accepted(&message("SIU^S12", "2", "PATIENT4711", "SECRETNAME"));
    engine.wait_for("EPR", "completed", 1);
    let lists = [
        place
            .hie(["messages", "--patient", "PATIENT4711", "--json"])
            .ok(),
        place.hie(["messages"]).ok(),
        place.hie(["trace", "1"]).ok(),
        place.hie(["queues"]).ok(),
        place.hie(["status", "--json"]).ok(),
    ];
    assert_eq!(engine.stop(), 0);
    let log = engine.log();
    assert!(log.contains("stopping"));
    for said in lists
        .iter()
        .map(|ran| &ran.stdout)
        .chain([&log, &engine.screen()])
    {
        assert!(
            !said.contains("SECRETNAME") && !said.contains("PATIENT4711"),
            "{said}"
        );
    }
    assert!(
        place.hie(["show", "1"]).ok().stdout.contains("SECRETNAME"),
        "show shows it"
    );
}

#[test]
fn an_unparsable_message_is_kept_in_state_error_with_its_bytes() {
    let place = Place::new();
    let engine = place.start(&production(nobody()));
    let bad = b"this is \xff no message";
    let answer = Mllp::connect(engine.address("In")).send(bad);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.contains("MSA|AE|") || answer.contains("MSA|AR|"),
        "{answer}"
    );
    let found = place
        .hie(["messages", "--state", "Error", "--json"])
        .ok()
        .rows();
    assert_eq!(found.len(), 1);
    assert!(!found[0]["reason"].as_str().unwrap().is_empty());
    let id = found[0]["id"].to_string();
    assert_eq!(place.hie(["show", &id, "--raw"]).ok().stdout_bytes, bad);
    let shown = place.hie(["show", &id]).ok().stdout;
    assert!(shown.contains("this is"), "{shown}");
}
