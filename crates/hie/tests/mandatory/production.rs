//! 3.1 to 3.7: what an operator does with a production, and what becomes of its messages meanwhile.

use std::net::TcpListener;

use crate::{
    actors::*,
    common::{Mllp, Place, Receiver, eventually, get, message},
    scene::*,
};

/// Every verb in the life of a production, each seen to do what it says.
#[test]
fn item_3_1_a_production_is_loaded_validated_started_watched_changed_and_stopped() {
    let (place, epr) = (Place::new(), Receiver::start());
    let out = sends("EPR", epr.addr(), "", "");
    let config = production(&format!("{IN}{}{out}", router("", "EPR")));
    let wrong = place.write(
        "wrong.yaml",
        &config.replace("PassthroughProcess", "PasthroughProcess"),
    );
    let refused = place
        .hie([std::ffi::OsStr::new("check"), wrong.as_os_str()])
        .exits(3);
    assert!(
        refused.stderr.contains("`PassthroughProcess`"),
        "{}",
        refused.stderr
    );
    let right = place.write("production.yaml", &config);
    place
        .hie([std::ffi::OsStr::new("check"), right.as_os_str()])
        .ok();

    let engine = place.start(&config);
    let mut feed = Mllp::connect(engine.address("In"));
    admit(&mut feed, 0..5);
    engine.wait_for("EPR", "completed", 5);
    let metrics = get(engine.status()["metrics"].as_str().unwrap()).1;
    let line = r#"hie_item_completed_messages_total{item="EPR",class="HL7TCPOperation"} 5"#;
    assert!(metrics.lines().any(|found| found == line), "monitored");

    let state = |item: &str| engine.item(item)["state"].as_str().unwrap().to_owned();
    for (verb, becomes) in [
        ("pause", "paused"),
        ("resume", "running"),
        ("stop", "stopped"),
        ("start", "running"),
        ("restart", "running"),
        ("disable", "disabled"),
        ("enable", "running"),
    ] {
        place.hie(["item", verb, "Router"]).ok();
        assert_eq!(state("Router"), becomes, "after {verb}");
        assert_eq!(
            (state("In"), state("EPR")),
            ("running".into(), "running".into())
        );
    }
    admit(&mut feed, 5..10);
    engine.wait_for("EPR", "completed", 10);

    place.write(
        "production.yaml",
        &config.replace("RetryInterval: 0.05", "RetryInterval: 0.07"),
    );
    let reloaded = place.hie(["reload"]).ok().stdout;
    assert!(
        reloaded.contains("EPR") && reloaded.contains("RetryInterval"),
        "{reloaded}"
    );
    admit(&mut feed, 10..15);
    epr.wait_for(15);
    assert_eq!(engine.stop(), 0);
    let engine = place.start(&config);
    admit(&mut Mllp::connect(engine.address("In")), 15..20);
    epr.wait_for(20);
    assert_eq!(engine.stop(), 0);
}

/// Nothing is let in before who gets it is there, and nobody leaves before who sends to him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_3_2_operations_start_first_and_services_last_and_stop_in_reverse() {
    let folder = tempfile::tempdir().unwrap();
    let production = stage(
        folder.path(),
        "  - {name: In32, class: Door, host: {TargetConfigNames: SlowMid32}}
  - {name: SlowMid32, class: Actor, host: {TargetConfigNames: SlowOut32}}
  - {name: SlowOut32, class: Player}",
    )
    .await;
    let order = |hook: &str| -> Vec<String> {
        let notes = notes(&["In32", "SlowMid32", "SlowOut32"]);
        notes
            .into_iter()
            .filter(|(_, what)| what == hook)
            .map(|(item, _)| item)
            .collect()
    };
    assert_eq!(order("on_start"), ["SlowOut32", "SlowMid32", "In32"]);
    assert_eq!(order("on_stop"), [""; 0]);
    production.stop().await;
    assert_eq!(order("on_stop"), ["In32", "SlowMid32", "SlowOut32"]);
}

/// Rules, a filter that ends messages, the way for what cannot be read, what is put aside and sent
/// again, and who came from whom.
#[test]
fn item_3_3_messages_are_routed_filtered_diverted_put_aside_and_traced() {
    let (place, epr) = (Place::new(), Receiver::start());
    std::fs::create_dir(place.path("bad")).unwrap();
    let items = format!(
        "{}
  - name: Router
    class: HL7RoutingEngine
    host: {{BusinessRuleName: Rules}}
{}
  - {{name: Sink, class: DiscardOperation}}
  - {{name: Bad, class: FileOperation, adapter: {{FilePath: @/bad, Filename: '%id%'}}}}
rules:
  Rules:
    match: all
    rules:
      - {{name: tests, when: 'PID-5.1 StartsWith \"ZZ\"', delete: true}}
      - {{name: movements, when: 'MSH-9.1 = \"ADT\" and not PID-5.1 StartsWith \"ZZ\"', send: [EPR]}}
    default: {{send: [Sink]}}
",
        IN.replace("Router}", "Router, BadMessageHandler: Bad}"),
        sends("EPR", epr.addr(), "", ", ReplyCodeActions: ':?R=S,:?A=C'")
    );
    let engine = place.start(&production(&items));
    let mut feed = Mllp::connect(engine.address("In"));
    feed.accepted(&message("ADT^A01", "A1", "77", "DOE"));
    feed.accepted(&message("ADT^A01", "T1", "77", "ZZTEST"));
    feed.accepted(&message("ORU^R01", "R1", "77", "DOE"));
    feed.send(b"no HL7 at all");
    engine.wait_for("EPR", "completed", 1);
    engine.wait_for("Sink", "discarded", 1);
    engine.wait_for("Bad", "completed", 1);
    let bad: Vec<_> = std::fs::read_dir(place.path("bad"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(
        std::fs::read(bad[0].path()).unwrap(),
        b"no HL7 at all",
        "the error route"
    );
    assert_eq!(epr.inner.count_of("T1"), 0, "filtered");

    // The dead letters: suspended with the reason, and sent again when the receiver is well.
    epr.inner.set(hie_load::receiver::Behaviour::code("AR"));
    feed.accepted(&message("ADT^A08", "A2", "77", "DOE"));
    engine.wait_for("EPR", "suspended", 1);
    epr.inner.set(hie_load::receiver::Behaviour::default());
    let dead = rows_when(&place, "the dead letter", |rows| {
        rows.iter().any(|row| row["state"] == "Suspended")
    });
    let dead = dead.iter().find(|row| row["state"] == "Suspended").unwrap();
    assert!(
        dead["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("AR")),
        "{dead}"
    );
    place.hie(["resend", &dead["id"].to_string()]).ok();
    engine.wait_for("EPR", "completed", 2);

    let rows = rows_when(&place, "the resent one", |rows| {
        rows.iter()
            .any(|row| row["resent_from"] == dead["id"] && row["state"] == "Completed")
    });
    let of = |control: &str, target: &str| {
        let found = rows
            .iter()
            .find(|row| row["control_id"] == control && row["target"] == target);
        found
            .unwrap_or_else(|| panic!("{control} at {target}"))
            .clone()
    };
    for (control, target) in [("A1", "EPR"), ("R1", "Sink"), ("A2", "EPR")] {
        let (hop, before) = (of(control, target), of(control, "Router"));
        assert_eq!(
            hop["causation_id"], before["id"],
            "{control}: what led to it"
        );
        assert_eq!(hop["session"], before["session"], "{control}: one session");
        assert!(
            before["note"].as_str().is_some_and(|note| !note.is_empty()),
            "the rule log"
        );
    }
    assert_ne!(of("A1", "EPR")["session"], of("R1", "Sink")["session"]);
    let trace = place
        .hie(["trace", &of("A1", "EPR")["id"].to_string()])
        .ok()
        .stdout;
    assert!(
        trace.contains("movements") && trace.contains("EPR"),
        "{trace}"
    );
    assert_eq!(engine.stop(), 0);
}

/// The file decides: adapter and host settings, in YAML, in its JSON form, with IRIS's names and
/// shape, all with the same result; each change of the file in force is numbered and told.
#[test]
fn item_3_4_the_configuration_drives_it_in_yaml_and_json_and_its_versions_are_told() {
    let port = |receiver: &Receiver| receiver.addr().port();
    let yaml = |to: u16| {
        format!(
            "production: {{name: Forms, DataPath: @/data, MetricsAddress: none}}
items:
  - name: In
    class: EnsLib.HL7.Service.TCPService
    settings:
      - {{target: Adapter, name: Port, value: 0}}
      - {{target: Adapter, name: IPAddress, value: 127.0.0.1}}
      - {{target: Host, name: TargetConfigNames, value: EPR}}
  - name: EPR
    class_name: EnsLib.HL7.Operation.TCPOperation
    adapter: {{IPAddress: 127.0.0.1, Port: {to}}}
    host: {{RetryInterval: 0.05}}
"
        )
    };
    let json = |to: u16| {
        serde_json::json!({
            "production": {"name": "Forms", "DataPath": "@/data", "MetricsAddress": "none"},
            "items": [
                {"name": "In", "class": "HL7TCPService",
                 "adapter": {"Port": 0, "IPAddress": "127.0.0.1"},
                 "host": {"TargetConfigNames": "EPR"}},
                {"name": "EPR", "class": "HL7TCPOperation",
                 "adapter": {"IPAddress": "127.0.0.1", "Port": to},
                 "host": {"RetryInterval": 0.05}},
            ],
        })
        .to_string()
    };
    for config in [&yaml as &dyn Fn(u16) -> String, &json] {
        let (place, first, second) = (Place::new(), Receiver::start(), Receiver::start());
        let engine = place.start(&config(port(&first)));
        let mut feed = Mllp::connect(engine.address("In"));
        admit(&mut feed, 0..5);
        first.wait_for(5);
        let version = |engine: &crate::common::Engine<'_>| engine.status()["configuration"].clone();
        assert_eq!(version(&engine)["generation"], 1);
        place.write("production.yaml", &config(port(&second)));
        place.hie(["reload"]).ok();
        let told = version(&engine);
        assert_eq!(told["generation"], 2);
        assert!(told["changes"].as_str().unwrap().contains("EPR"), "{told}");
        admit(&mut feed, 5..10);
        second.wait_for(5);
        assert_eq!(
            first.inner.summary().distinct,
            5,
            "the setting decides where they go"
        );
        assert_eq!(engine.stop(), 0);
    }
}

/// One item is changed three times under load: the sender's connection stays, the others go on, and
/// all arrive, in order, at the one address or the other.
#[test]
fn item_3_5_one_item_is_reloaded_under_load() {
    let (place, epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    let out = sends("EPR", epr.addr(), "", "");
    let config = production(&format!("{IN}{}{out}", router("", "EPR")));
    let engine = place.start(&config);
    let load = Load::on(engine.address("In"));
    let connections = epr.inner.connections();
    for round in 1..=3 {
        engine.wait_for("EPR", "completed", 1);
        let before = epr.inner.summary().distinct;
        place.write(
            "production.yaml",
            &config.replace("RetryInterval: 0.05", &format!("RetryInterval: 0.{round}")),
        );
        let told = place.hie(["reload", "--json"]).ok().json();
        let changed: Vec<_> = told["plan"]["changed"].as_array().unwrap().iter().collect();
        assert_eq!(changed.len(), 1, "{told}");
        assert_eq!(changed[0]["item"], "EPR");
        assert_eq!(changed[0]["of"], serde_json::json!(["RetryInterval"]));
        epr.wait_for(before + 20);
    }
    // A change with an error changes nothing.
    place.write(
        "production.yaml",
        &config.replace("RetryInterval", "RetryIntervall"),
    );
    place.hie(["reload"]).exits(3);
    assert_eq!(engine.status()["configuration"]["generation"], 4);
    let sent = load.end();
    epr.wait_for(sent as u64);
    assert_eq!(
        epr.inner.log(),
        ids(sent),
        "nothing lost, nothing out of order"
    );
    assert_eq!(epr.inner.summary().duplicates, 0);
    assert!(
        epr.inner.connections() >= connections + 3,
        "the changed item connected anew"
    );
    assert_eq!(engine.item("In")["received"], sent);
    assert_eq!(engine.stop(), 0);
}

/// `never` gives up at once, `on_failure` after as many restarts as `MaxRestarts` says, or runs when
/// the cause is gone; nothing of it hinders the others.
#[test]
fn item_3_6_items_are_started_again_as_their_policy_says() {
    let (place, epr) = (Place::new(), Receiver::start());
    let taken: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let mut items = format!(
        "{IN}{}{}",
        router("", "EPR"),
        sends("EPR", epr.addr(), "", "")
    );
    for (listener, (name, policy)) in taken.iter().zip([
        ("Never", "RestartPolicy: never"),
        (
            "Twice",
            "RestartPolicy: on_failure, MaxRestarts: 2, RestartDelay: 0.02",
        ),
        (
            "Patient",
            "RestartPolicy: on_failure, MaxRestarts: -1, RestartDelay: 0.02",
        ),
    ]) {
        items += &format!(
            "  - name: {name}
    class: HL7TCPService
    adapter: {{Port: {}, IPAddress: 127.0.0.1}}
    host: {{TargetConfigNames: Router, {policy}}}
",
            listener.local_addr().unwrap().port()
        );
    }
    let engine = place.launch(&production(&items), &[]);
    eventually("it runs", || {
        let status = place.hie(["status", "--json"]);
        let up = status.code == 0 && status.stdout.contains("\"running\":true");
        up.then_some(())
    });
    engine.wait_for("Patient", "restarts", 4);
    engine.wait_for("Twice", "give_ups", 1);
    for (item, restarts) in [("Never", 0), ("Twice", 2)] {
        let seen = engine.item(item);
        assert_eq!(
            (&seen["state"], &seen["restarts"]),
            (&"failed".into(), &restarts.into())
        );
        let error = seen["last_error"].as_str().unwrap();
        assert!(
            error.contains("gave up") && error.contains("in use"),
            "{error}"
        );
    }
    assert!(engine.log().contains("item-gave-up"), "an alert in the log");
    admit(&mut Mllp::connect(engine.address("In")), 0..5); // the others work
    epr.wait_for(5);
    drop(taken);
    eventually("the patient one runs", || {
        (engine.item("Patient")["state"] == "running").then_some(())
    });
    assert_eq!(
        engine.item("Twice")["state"],
        "failed",
        "given up is given up"
    );
    place.hie(["item", "start", "Twice"]).ok();
    admit(&mut Mllp::connect(engine.address("Twice")), 5..10);
    admit(&mut Mllp::connect(engine.address("Patient")), 10..15);
    epr.wait_for(15);
    assert_eq!(engine.stop(), 0);
    a_service_that_ends_by_itself();
}

/// `always` starts what ended without a failure, `on_failure` lets it rest.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_ends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let production = stage(
        folder.path(),
        "  - {name: Always36, class: Brief, host: {RestartPolicy: always, RestartDelay: 0.01, MaxRestarts: 3}}
  - {name: Rests36, class: Brief, host: {RestartPolicy: on_failure, RestartDelay: 0.01}}",
    )
    .await;
    until("it is given up", || {
        status(&production, "Always36").give_ups == 1
    })
    .await;
    assert_eq!(
        noted("Always36"),
        ["on_start"; 4],
        "once, and three times more"
    );
    assert_eq!(noted("Rests36"), ["on_start"]);
    assert_eq!(status(&production, "Rests36").restarts, 0);
    production.stop().await;
}

/// Fifty messages wait when the stop comes: what can be delivered is, what cannot is there at the next
/// start; each once, in order.
#[test]
fn item_3_7_a_graceful_stop_drains_or_parks_and_loses_nothing() {
    for mode in ["async", "thread_pool", "multiprocess"] {
        let (place, mut epr) = (Place::new(), Receiver::start());
        epr.inner.keep_log();
        epr.down();
        let settings = format!(", ExecutionMode: {mode}");
        let out = sends("EPR", epr.addr(), "", &settings);
        let config = production(&format!("{IN}{}{out}", router(&settings, "EPR")));
        let engine = place.start(&config);
        admit(&mut Mllp::connect(engine.address("In")), 0..50);
        assert_eq!(engine.stop(), 0, "{mode}: {}", engine.log());
        let parked = place.hie(["status", "--json"]).ok().json();
        assert_eq!(parked["recovered"]["queued"], 50, "{mode}: {parked}");
        epr.up();
        let engine = place.start(&config);
        epr.wait_for(1);
        let load = Load::while_it_lasts(engine.address("In"), 50);
        engine.wait_for("In", "received", 1);
        assert_eq!(engine.stop(), 0, "{mode}: {}", engine.log()); // in the middle of it
        let accepted = load.end();
        let engine = place.start(&config);
        epr.wait_for(50);
        eventually("all is delivered", || {
            let status = engine.status();
            let items = status["items"].as_array().unwrap();
            let open = |item: &serde_json::Value| item["queued"] != 0 || item["in_hand"] != 0;
            (!items.iter().any(open)).then_some(())
        });
        let log = epr.inner.log();
        // The last one may have been stored when the connection closed, before its answer left.
        assert!(
            log.len() <= 50 + accepted + 1,
            "{mode}: {accepted} and {}",
            log.len()
        );
        assert_eq!(log, ids(log.len()), "{mode}: in order");
        assert!(
            log.len() >= 50 + accepted,
            "{mode}: {accepted} and {}",
            log.len()
        );
        assert_eq!(
            epr.inner.summary().duplicates,
            0,
            "{mode}: a graceful stop repeats nothing"
        );
        assert_eq!(engine.stop(), 0);
    }
}
