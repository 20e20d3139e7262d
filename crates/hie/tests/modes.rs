//! One suite over all execution modes, through the real binary: the mode of an item changes where
//! its jobs run and nothing else.

#![allow(clippy::unwrap_used)] // a test may end so

mod common;

use std::collections::BTreeMap;

use common::{Engine, Mllp, Place, Receiver, eventually, message};
use hie_load::receiver::Behaviour;

/// Every `ExecutionMode`.
const MODES: [&str; 4] = ["async", "thread_pool", "multiprocess", "single_process"];

/// A feed, a router, and three ways out, every item in this mode.
fn production(mode: &str, epr: &Receiver, ris: &Receiver) -> String {
    let to = |receiver: &Receiver| receiver.inner.addr().port();
    format!(
        r#"
production: {{name: Modes, DataPath: @/data, MetricsAddress: none, ShutdownTimeout: 5}}
items:
  - name: In
    class: HL7TCPService
    adapter: {{Port: 0, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Router, ExecutionMode: {mode}}}
  - name: Router
    class: HL7RoutingEngine
    host: {{BusinessRuleName: Rules, ExecutionMode: {mode}}}
  - name: EPR
    class: HL7TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {}}}
    host: {{RetryInterval: 0.05, ExecutionMode: {mode}}}
  - name: RIS
    class: HL7TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {}}}
    host: {{ReplyCodeActions: ":?E=F,:*=S", ExecutionMode: {mode}}}
  - name: Files
    class: HL7FileOperation
    adapter: {{FilePath: @/out, Filename: "%timestamp%_%id%.hl7"}}
    host: {{ExecutionMode: {mode}}}
rules:
  Rules:
    match: all
    rules:
      - {{name: movements, when: 'MSH-9.1 = "ADT"', send: [EPR]}}
      - {{name: orders, when: 'MSH-9.1 = "ORM"', send: [RIS, Files]}}
      - {{name: results, when: 'MSH-9.1 = "ORU"', delete: true}}
"#,
        to(epr),
        to(ris)
    )
}

/// What the world saw, and what the store says of it.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    delivered: Vec<String>,
    refused: Vec<String>,
    files: Vec<Vec<u8>>,
    states: BTreeMap<(String, String), u64>,
}

fn play(mode: &str) -> Seen {
    let place = Place::new();
    std::fs::create_dir(place.path("out")).unwrap();
    let (epr, ris) = (Receiver::start(), Receiver::start());
    epr.inner.keep_log();
    ris.inner.keep_log();
    ris.inner.set(Behaviour::code("AE"));
    let engine = place.start(&production(mode, &epr, &ris));
    let mut sender = Mllp::connect(engine.address("In"));
    for n in 0..60 {
        let kind = ["ADT^A01", "ADT^A08", "ORM^O01", "ORU^R01"][n % 4];
        sender.accepted(&message(
            kind,
            &format!("C{n:03}"),
            &format!("P{n}"),
            "MODES",
        ));
    }
    let refusal = sender.send(b"no HL7 at all");
    assert!(
        String::from_utf8_lossy(&refusal).contains("MSA|A"),
        "a refusal is an answer"
    );
    seen(mode, &place, &engine, &epr, &ris)
}

fn seen(mode: &str, place: &Place, engine: &Engine<'_>, epr: &Receiver, ris: &Receiver) -> Seen {
    engine.wait_for("Router", "completed", 45);
    engine.wait_for("EPR", "completed", 30);
    engine.wait_for("RIS", "failed", 15);
    engine.wait_for("Files", "completed", 15);
    let mut files: Vec<Vec<u8>> = std::fs::read_dir(place.path("out"))
        .unwrap()
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect();
    files.sort();
    let rows = eventually("the index has all", || {
        let rows = place
            .hie(["messages", "--json", "--limit", "1000"])
            .ok()
            .rows();
        (rows.len() > 60 + 60).then_some(rows)
    });
    let mut states = BTreeMap::new();
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap_or("").to_owned();
        *states.entry((text("target"), text("state"))).or_insert(0) += 1;
    }
    assert_eq!(engine.stop(), 0, "{mode}: {}", engine.log());
    Seen {
        delivered: epr.inner.log(),
        refused: ris.inner.log(),
        files,
        states,
    }
}

#[test]
fn every_mode_gives_the_same_result() {
    let usual = play(MODES[0]);
    assert_eq!(usual.delivered.len(), 30);
    assert!(usual.delivered.is_sorted(), "in the order of arrival");
    assert_eq!((usual.refused.len(), usual.files.len()), (15, 15));
    for mode in &MODES[1..] {
        let other = play(mode);
        assert_eq!(other, usual, "{mode} differs from {}", MODES[0]);
    }
}
