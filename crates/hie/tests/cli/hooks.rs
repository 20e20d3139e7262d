//! `hooks:` of the configuration: what a sender is told, what goes on, and what the trace shows.

use serde_json::Value;

use crate::common::{Engine, Mllp, Place, Receiver, eventually, message};

/// A feed, a router that sends everything to `Out`, and `Out` as given; hooks for the first two.
fn production(service: &str, router: &str, out: &str) -> String {
    format!(
        r#"
production:
  name: Hooked
  DataPath: @/data
  MetricsAddress: 127.0.0.1:0
  JournalSegmentSize: 1 MiB
  JournalReserve: 1 MiB
  ShutdownTimeout: 5
items:
  - name: In
    class: HL7TCPService
    adapter: {{Port: 0, IPAddress: 127.0.0.1}}
{service}
  - name: Router
    class: HL7RoutingEngine
{router}
  - name: Out
{out}
rules:
  Rules:
    rules:
      - {{name: all, send: [Out]}}
"#
    )
}

const SERVICE: &str = "    host: {TargetConfigNames: Router}";
const WAITING: &str =
    "    host: {TargetConfigNames: Router, AckMode: Application, ResponseTimeout: 20}";
const ROUTER: &str = "    host: {BusinessRuleName: Rules}";
const SINK: &str = "    class: DiscardOperation";

fn sent(engine: &Engine<'_>, message: &[u8]) -> String {
    let answer = Mllp::connect(engine.address("In")).send(message);
    String::from_utf8(answer).unwrap()
}

/// The headers from this item to that one, oldest first, once there are so many that have ended.
fn hops(place: &Place, from: &str, to: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} of {from} → {to} have ended"), || {
        let rows = place.hie(["messages", "--json"]).ok().rows();
        let ours = |row: &Value| row["source"] == from && row["target"] == to;
        let mut rows: Vec<Value> = rows.into_iter().filter(ours).collect();
        rows.sort_by_key(|row| row["id"].as_u64());
        let ended = rows.iter().filter(|row| row["state"] != "Queued").count();
        (ended >= count).then_some(rows)
    })
}

fn raw(place: &Place, row: &Value) -> Vec<u8> {
    let id = row["id"].to_string();
    place.hie(["show", &id, "--raw"]).ok().stdout_bytes
}

#[test]
fn a_service_that_validates_refuses_with_the_reason_and_keeps_the_message() {
    let place = Place::new();
    let service = format!(
        "{SERVICE}
    hooks:
      on_before_process:
        - when: 'not Exists(PID-3.1)'
          tag: nobody
        - when: 'not Exists(PID-3.1)'
          reject: no patient identifier"
    );
    let engine = place.start(&production(&service, ROUTER, SINK));
    let bad = message("ADT^A01", "M1", "", "DOE");
    let answer = sent(&engine, &bad);
    assert!(
        answer.contains("MSA|AE|M1|no patient identifier"),
        "{answer}"
    );
    let answer = sent(&engine, &message("ADT^A01", "M2", "77", "DOE"));
    assert!(answer.contains("MSA|AA|M2"), "{answer}");
    hops(&place, "Router", "Out", 1);
    let kept = hops(&place, "In", "In", 2);
    let reason = "rejected by on_before_process: no patient identifier";
    assert_eq!(
        (&kept[0]["state"], &kept[0]["reason"]),
        (&"Error".into(), &reason.into())
    );
    assert_eq!(kept[1]["reason"], "on_before_process: tag nobody");
    assert_eq!(raw(&place, &kept[0]), bad, "with its bytes");
    assert_eq!(hops(&place, "In", "Router", 1).len(), 1, "it went nowhere");
    let item = engine.item("In");
    assert_eq!(
        (&item["received"], &item["rejected"]),
        (&2.into(), &1.into())
    );
}

/// What cannot be read, and a hook that cannot do its work: kept as the error hook says.
#[test]
fn what_a_service_cannot_let_in_is_kept_as_configured_and_refused_all_the_same() {
    let place = Place::new();
    let service = format!(
        "{SERVICE}
    hooks:
      on_before_process: [{{when: 'MSH-9.1 = \"ORU\"', set: {{OBR-4: x}}}}]
      on_process_error:
        - {{when: 'Reason Contains \"OBR-4\"', tag: no order}}
        - {{when: 'MSH-9.1 = \"\"', then: discard, reason: line noise}}"
    );
    let engine = place.start(&production(&service, ROUTER, SINK));
    let answer = sent(&engine, b"no HL7 at all");
    assert!(answer.contains("MSA|AE|"), "{answer}");
    let answer = sent(&engine, &message("ORU^R01", "M2", "77", "DOE"));
    assert!(
        answer.contains("MSA|AE|M2|on_before_process failed: OBR-4"),
        "{answer}"
    );
    let kept = hops(&place, "In", "In", 4);
    let shown: Vec<_> = kept
        .iter()
        .map(|row| (&row["state"], &row["reason"]))
        .collect();
    assert_eq!(shown[0], (&"Discarded".into(), &"line noise".into()));
    assert!(
        shown[1]
            .1
            .as_str()
            .unwrap()
            .starts_with("on_process_error instead of: ")
    );
    assert_eq!(shown[2].0, "Error");
    assert_eq!(shown[3].1, "on_process_error: tag no order");
    assert_eq!(engine.item("In")["rejected"], 2);
}

#[test]
fn a_change_at_a_service_keeps_the_original_beside_what_goes_on() {
    let place = Place::new();
    let service = format!("{SERVICE}\n    hooks: {{on_before_process: [{{set: {{PV1-2: O}}}}]}}");
    let engine = place.start(&production(&service, ROUTER, SINK));
    let original = message("ADT^A01", "M1", "77", "DOE");
    assert!(sent(&engine, &original).contains("MSA|AA|M1"));
    let gone = hops(&place, "Router", "Out", 1);
    let changed = String::from_utf8(original.clone()).unwrap();
    let changed = changed.replace("PV1|1|I\r", "PV1|1|O\r").into_bytes();
    assert_eq!(raw(&place, &gone[0]), changed);
    assert_eq!(raw(&place, &hops(&place, "In", "Router", 1)[0]), changed);
    let kept = hops(&place, "In", "In", 1);
    assert_eq!(raw(&place, &kept[0]), original, "raw first");
    let trace = place.hie(["trace", "1"]).ok().stdout;
    assert!(trace.contains("on_before_process: PV1-2 set"), "{trace}");
}

#[test]
fn a_router_that_enriches_changes_only_what_it_names_in_every_mode() {
    for mode in ["async", "thread_pool", "single_process"] {
        let place = Place::new();
        let router = format!(
            "    host: {{BusinessRuleName: Rules, ExecutionMode: {mode}}}
    hooks:
      on_before_process:
        - when: '{{MSH:9.1}} = \"ADT\"'
          set:
            PID-3.4: NHS & co
            PID-2: '{{PID-3.1}}'
            ZHI-1: '{{MessageType}} of {{Source}}'
          tag: adt
      on_after_process:
        - {{when: 'Verdict = \"completed\"', tag: routed}}"
        );
        let engine = place.start(&production(SERVICE, &router, SINK));
        // An escape, an odd field and bytes of another character set stay as they are.
        let mut original = message("ADT^A01", "M1", "77", "D\\T\\OE");
        original.extend_from_slice(b"ZXX|\xe4\xf6|\\Zfoo\\\r");
        assert!(sent(&engine, &original).contains("MSA|AA|M1"));
        assert!(sent(&engine, &message("ORU^R01", "M2", "77", "DOE")).contains("MSA|AA|M2"));
        let gone = hops(&place, "Router", "Out", 2);
        let came = hops(&place, "In", "Router", 2);
        assert_eq!(raw(&place, &came[0]), original, "raw first: {mode}");
        let text = |bytes: &[u8]| bytes.iter().map(|&b| char::from(b)).collect::<String>();
        let expected = text(&original).replace("PID|1||77^^^HOSP|", "PID|1|77|77^^^NHS \\T\\ co|")
            + "ZHI|ADT\\S\\A01 of In\r";
        assert_eq!(text(&raw(&place, &gone[0])), expected, "{mode}");
        assert_eq!(raw(&place, &gone[1]), raw(&place, &came[1]), "{mode}");
        let trace = place.hie(["trace", "1"]).ok().stdout;
        let set = "on_before_process: PID-3.4, PID-2, ZHI-1 set";
        for part in [
            "on_before_process: tag adt",
            set,
            "on_after_process: tag routed",
        ] {
            assert!(trace.contains(part), "{part}: {trace}");
        }
        let second = came[1]["note"].as_str().unwrap();
        assert!(
            second.ends_with("; on_after_process: tag routed"),
            "{second}"
        );
        assert!(!second.contains("before"), "{second}");
        assert_eq!(engine.stop(), 0);
    }
}

#[test]
fn a_rejection_behind_the_service_reaches_a_sender_who_waits() {
    let place = Place::new();
    let router = format!(
        "{ROUTER}
    hooks:
      on_before_process: [{{when: 'PV1-2 != \"I\"', reject: not an inpatient}}]"
    );
    let engine = place.start(&production(WAITING, &router, SINK));
    let outside = String::from_utf8(message("ADT^A01", "M1", "77", "DOE")).unwrap();
    let answer = sent(&engine, outside.replace("PV1|1|I", "PV1|1|O").as_bytes());
    assert!(answer.contains("MSA|AE|M1|not an inpatient"), "{answer}");
    assert!(sent(&engine, outside.as_bytes()).contains("MSA|AA|M1"));
    let rows = hops(&place, "In", "Router", 2);
    assert_eq!(rows[0]["state"], "Error");
    assert_eq!(
        rows[0]["reason"],
        "rejected by on_before_process: not an inpatient"
    );
    assert_eq!(rows[1]["state"], "Completed");
}

/// The same answers and the same trace, whoever waits for whom.
#[test]
fn hooks_mean_the_same_in_every_pattern() {
    let patterns = [
        "async_reliable",
        "sync_reliable",
        "concurrent_async",
        "concurrent_sync",
    ];
    for pattern in patterns {
        let place = Place::new();
        let item = |hooks: &str| {
            format!(
                "    host: {{BusinessRuleName: Rules, MessagingPattern: {pattern}, ResponseFrom: Out}}
    hooks:
      on_before_process: [{{set: {{PV1-3: W7}}}}]{hooks}"
            )
        };
        let service = format!(
            "    host: {{TargetConfigNames: Router, MessagingPattern: {pattern}, AckMode: Application}}
    hooks:
      on_before_process: [{{when: 'PID-3.1 = \"13\"', reject: unlucky}}]"
        );
        let out = format!(
            "{SINK}
    hooks:
      on_before_process: [{{when: 'PID-3.1 = \"14\" and PV1-3 = \"W7\"', reject: full}}]"
        );
        let router =
            item("\n      on_after_process: [{when: 'Verdict = \"completed\"', tag: through}]");
        let engine = place.start(&production(&service, &router, &out));
        let ask = |id: &str, patient: &str| sent(&engine, &message("ADT^A01", id, patient, "DOE"));
        let answers = [ask("M1", "13"), ask("M2", "14"), ask("M3", "15")];
        assert!(
            answers[0].contains("MSA|AE|M1|unlucky"),
            "{pattern}: {answers:?}"
        );
        assert!(
            answers[1].contains("MSA|AE|M2|full"),
            "{pattern}: {answers:?}"
        );
        assert!(answers[2].contains("MSA|AA|M3"), "{pattern}: {answers:?}");
        let out = hops(&place, "Router", "Out", 2);
        assert_eq!(out[0]["reason"], "rejected by on_before_process: full");
        let routed = hops(&place, "In", "Router", 2);
        let through = |row: &Value| row["note"].as_str().unwrap().ends_with("tag through");
        // With sync the router's message has failed when what it sent has failed.
        let sync = matches!(pattern, "sync_reliable" | "concurrent_sync");
        let state = if sync { "Error" } else { "Completed" };
        assert_eq!(routed[0]["state"], state, "{pattern}");
        assert_eq!(through(&routed[0]), !sync, "{pattern}: {}", routed[0]);
        assert!(through(&routed[1]), "{pattern}: {}", routed[1]);
        for row in &routed {
            assert!(
                raw(&place, row).ends_with(b"PV1|1|I\r"),
                "{pattern}: raw first"
            );
        }
    }
}

/// What it sent has failed, and the item's own hook says what that means.
#[test]
fn a_router_that_waits_recovers_from_what_its_targets_come_to() {
    let place = Place::new();
    let router = "    host: {BusinessRuleName: Rules, MessagingPattern: sync_reliable}
    hooks:
      on_process_error: [{when: 'Reason Contains \"Out ended\"', then: suspend, reason: look at Out}]
      on_after_process: [{when: 'Verdict = \"suspended\"', tag: put aside}]";
    let receiver = Receiver::start();
    receiver
        .inner
        .set(hie_load::receiver::Behaviour::code("AR"));
    let (ip, port) = (receiver.addr().ip(), receiver.addr().port());
    let out = format!(
        "    class: HL7TCPOperation
    adapter: {{IPAddress: {ip}, Port: {port}}}
    host: {{ReplyCodeActions: ':?R=F,:?A=C'}}"
    );
    let engine = place.start(&production(SERVICE, router, &out));
    assert!(sent(&engine, &message("ADT^A01", "M1", "77", "DOE")).contains("MSA|AA|M1"));
    engine.wait_for("Router", "suspended", 1);
    let rows = hops(&place, "In", "Router", 1);
    assert_eq!(
        (&rows[0]["state"], &rows[0]["reason"]),
        (&"Suspended".into(), &"look at Out".into())
    );
    let note = rows[0]["note"].as_str().unwrap();
    assert!(
        note.contains("suspended instead of failed: Out ended"),
        "{note}"
    );
    assert!(note.ends_with("on_after_process: tag put aside"), "{note}");
}

#[test]
fn an_error_is_recovered_as_configured_and_who_waits_is_told() {
    let place = Place::new();
    let receiver = Receiver::start();
    let refuses = hie_load::receiver::Behaviour::code("AR");
    receiver.inner.set(refuses);
    let address = receiver.addr();
    let (ip, port) = (address.ip(), address.port());
    let router = "    host: {BusinessRuleName: Rules, ResponseFrom: Out}";
    let out = format!(
        "    class: HL7TCPOperation
    adapter: {{IPAddress: {ip}, Port: {port}}}
    host: {{ReplyCodeActions: ':?R=F,:?E=F,:?A=C'}}
    hooks:
      on_process_error:
        - {{when: 'MSH-9.1 = \"ORU\"', tag: result}}
        - {{when: 'MSH-9.1 = \"ORU\"', then: suspend, reply: AE, reason: to be looked at}}
        - {{when: 'Verdict = \"failed\"', then: complete}}"
    );
    let engine = place.start(&production(WAITING, router, &out));
    let answer = sent(&engine, &message("ORU^R01", "M1", "77", "DOE"));
    assert!(answer.contains("MSA|AE|M1|to be looked at"), "{answer}");
    // Without a reply of the hook's own, that of the peer is what the sender gets.
    let answer = sent(&engine, &message("ADT^A01", "M2", "77", "DOE"));
    assert!(answer.contains("MSA|AR|M2"), "{answer}");
    let rows = hops(&place, "Router", "Out", 2);
    let shown = |row: &Value| (row["state"].clone(), row["reason"].clone());
    assert_eq!(
        shown(&rows[0]),
        ("Suspended".into(), "to be looked at".into())
    );
    assert_eq!(shown(&rows[1]), ("Completed".into(), "".into()));
    let notes: Vec<&str> = rows
        .iter()
        .map(|row| row["note"].as_str().unwrap())
        .collect();
    let begin = "on_process_error: tag result; on_process_error: suspended instead of failed: ";
    assert!(notes[0].starts_with(begin), "{notes:?}");
    let begin = "on_process_error: completed instead of failed: ";
    assert!(notes[1].starts_with(begin), "{notes:?}");
}

#[test]
fn a_peer_that_is_down_is_given_up_after_the_tries_that_a_hook_allows() {
    let place = Place::new();
    let nobody = crate::common::nobody();
    let (ip, port) = (nobody.ip(), nobody.port());
    let out = format!(
        "    class: HL7TCPOperation
    adapter: {{IPAddress: {ip}, Port: {port}}}
    host: {{RetryInterval: 0.05, FailureTimeout: -1}}
    hooks:
      on_process_error:
        - {{when: 'Verdict = \"retry\" and Attempts >= 3', then: discard, reason: nobody is there}}"
    );
    let engine = place.start(&production(SERVICE, ROUTER, &out));
    assert!(sent(&engine, &message("ADT^A01", "M1", "77", "DOE")).contains("MSA|AA|M1"));
    engine.wait_for("Out", "discarded", 1);
    let rows = hops(&place, "Router", "Out", 1);
    assert_eq!(
        (&rows[0]["state"], &rows[0]["attempts"]),
        (&"Discarded".into(), &2.into())
    );
    assert_eq!(rows[0]["reason"], "nobody is there");
    assert_eq!(engine.item("Out")["retries"], 2);
}

#[test]
fn files_that_a_hook_rejects_are_done_with_and_their_messages_kept() {
    let place = Place::new();
    for folder in ["in", "work", "archive"] {
        std::fs::create_dir(place.path(folder)).unwrap();
    }
    let config = production(SERVICE, ROUTER, SINK).replace(
        "    class: HL7TCPService\n    adapter: {Port: 0, IPAddress: 127.0.0.1}\n",
        "    class: HL7FileService
    adapter: {FilePath: @/in, WorkPath: @/work, ArchivePath: @/archive, CallInterval: 0.1}
    hooks:
      on_before_process: [{when: 'PID-3.1 = \"13\"', reject: unlucky}]\n",
    );
    let parts = [("M1", "12"), ("M2", "13"), ("M3", "14")];
    let parts = parts.map(|(id, patient)| message("ADT^A01", id, patient, "DOE"));
    place.write_bytes("in/three.hl7", &parts.concat());
    let engine = place.start(&config);
    hops(&place, "Router", "Out", 2);
    let kept = hops(&place, "In", "In", 1);
    assert_eq!(kept[0]["reason"], "rejected by on_before_process: unlucky");
    assert_eq!(raw(&place, &kept[0]), parts[1]);
    eventually("the file is archived", || {
        let left = |folder| std::fs::read_dir(place.path(folder)).unwrap().count();
        (left("in") == 0 && left("archive") > 0).then_some(())
    });
    assert_eq!(
        hops(&place, "In", "In", 1).len(),
        1,
        "it is not tried again"
    );
    assert_eq!(engine.stop(), 0);
}
