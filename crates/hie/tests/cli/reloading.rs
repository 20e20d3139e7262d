//! `hie reload`, SIGHUP and the watched file: a change of configuration while messages flow.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::process::Signal;

use crate::common::{
    Engine, Mllp, PATIENCE, Place, Receiver, eventually, message, nobody, production,
};

/// The production of the other tests, and a second line beside it: `In2`, `Router2`, `EPR2`.
fn two_lines(epr: SocketAddr, epr2: SocketAddr) -> String {
    let second = format!(
        r#"  - name: In2
    class: HL7TCPService
    adapter: {{Port: 0, IPAddress: 127.0.0.1, MaxMessageSize: 1 MiB}}
    host: {{TargetConfigNames: Router2}}
  - name: Router2
    class: HL7RoutingEngine
    host: {{BusinessRuleName: Rules2}}
  - name: EPR2
    class: HL7TCPOperation
    adapter: {{IPAddress: {}, Port: {}}}
    host: {{RetryInterval: 0.1, FailureTimeout: -1}}
rules:
  Rules2:
    rules:
      - {{name: all, when: 'MSH-9.1 = "ADT"', send: [EPR2]}}
"#,
        epr2.ip(),
        epr2.port()
    );
    production(epr).replace("rules:\n  Rules:", &format!("{second}  Rules:"))
}

/// The same with another size, another rule and another interval on the second line.
fn changed(config: &str, round: usize) -> String {
    config
        .replace(
            "1 MiB}\n    host: {TargetConfigNames: Router2",
            &format!(
                "{} MiB}}\n    host: {{TargetConfigNames: Router2",
                round + 2
            ),
        )
        .replace("name: all,", &format!("name: all-{round},"))
        .replace(
            "FailureTimeout: -1}\nrules",
            &format!("FailureTimeout: {}}}\nrules", 1000 + round),
        )
}

fn generation(engine: &Engine<'_>) -> u64 {
    engine.status()["configuration"]["generation"]
        .as_u64()
        .unwrap()
}

/// Sends a message over a connection that may be closed at any moment; whether it was accepted.
fn offered(stream: &mut TcpStream, message: &[u8]) -> bool {
    let frame = [&[0x0b], message, &[0x1c, 0x0d]].concat();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    if stream.write_all(&frame).is_err() {
        return false;
    }
    while !answer.ends_with(&[0x1c, 0x0d]) {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return false,
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("MSA|AA|"), "{answer}");
    true
}

/// Sends until it is told to stop, to wherever the item listens; how many were accepted.
fn feed_across_reloads(place: &Place, item: &str, done: &AtomicBool) -> usize {
    let address = || -> Option<SocketAddr> {
        let status = place.hie(["status", "--json"]).json();
        let items = status["items"].as_array()?.clone();
        let found = items.into_iter().find(|found| found["name"] == item)?;
        found["address"].as_str()?.parse().ok()
    };
    let connect = || {
        eventually("the changed item listens", || {
            let stream = TcpStream::connect(address()?).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Some(stream)
        })
    };
    let (mut stream, mut sent) = (connect(), 0);
    while !done.load(Ordering::Relaxed) {
        let id = format!("{sent}");
        while !offered(&mut stream, &message("ADT^A01", &id, "7", "DOE")) {
            stream = connect();
        }
        sent += 1;
    }
    sent
}

/// Ends the feeds of a test however it ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The ids in the order of their first coming.
fn first_comings(log: Vec<String>) -> Vec<usize> {
    let mut seen = std::collections::BTreeSet::new();
    let ids = log.into_iter().map(|id| id.parse().unwrap());
    ids.filter(|id| seen.insert(*id)).collect()
}

#[test]
fn a_reload_under_load_loses_nothing_and_touches_only_what_is_different() {
    let place = Place::new();
    let (epr, epr2) = (Receiver::start(), Receiver::start());
    epr.inner.keep_log();
    epr2.inner.keep_log();
    let config = two_lines(epr.addr(), epr2.addr());
    let engine = place.start(&config);
    let untouched = engine.address("In");
    let done = AtomicBool::new(false);
    let (sent, sent2) = thread::scope(|threads| {
        // This one fails the test if its connection closes.
        let first = threads.spawn(|| {
            let (mut mllp, mut sent) = (Mllp::connect(untouched), 0usize);
            while !done.load(Ordering::Relaxed) {
                mllp.accepted(&message("ADT^A01", &sent.to_string(), "7", "DOE"));
                sent += 1;
            }
            sent
        });
        let second = threads.spawn(|| feed_across_reloads(&place, "In2", &done));
        let ends = Ends(&done);
        for round in 0..4u64 {
            let so_far = epr2.inner.summary().distinct;
            epr2.wait_for(so_far + 20);
            place.write("production.yaml", &changed(&config, round as usize));
            let plan = place.hie(["reload", "--json"]).ok().json();
            assert_eq!(plan["generation"], round + 2);
            let names: Vec<_> = plan["plan"]["changed"].as_array().unwrap().clone();
            let names: Vec<_> = names.iter().map(|change| &change["item"]).collect();
            assert_eq!(names, ["In2", "Router2", "EPR2"]);
        }
        drop(ends);
        (first.join().unwrap(), second.join().unwrap())
    });
    epr.wait_for(sent as u64);
    epr2.wait_for(sent2 as u64);
    let log = epr.inner.log();
    let in_order: Vec<String> = (0..sent).map(|id| id.to_string()).collect();
    assert_eq!(log, in_order, "the untouched line: all, in order, once");
    let expected: Vec<usize> = (0..sent2).collect();
    assert_eq!(
        first_comings(epr2.inner.log()),
        expected,
        "the changed line: all, in order"
    );
    let status = engine.status();
    assert_eq!(status["ready"], true);
    assert!(engine.log().contains("the configuration was changed"));
    assert_eq!(engine.stop(), 0);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let place = Place::new();
    let config = two_lines(nobody(), nobody());
    let engine = place.start(&config);
    place.write("production.yaml", &changed(&config, 1));
    let told = place.hie(["reload", "--dry-run"]).ok().stdout;
    for line in [
        "In2 would be restarted: MaxMessageSize",
        "Router2 would be restarted: rules Rules2",
        "EPR2 would be restarted: FailureTimeout",
    ] {
        assert!(told.contains(line), "{line} is missing:\n{told}");
    }
    assert_eq!(generation(&engine), 1);
    let words = config.replace(
        "class: DiscardOperation",
        "class: DiscardOperation\n    comment: new",
    );
    place.write("production.yaml", &words);
    let told = place.hie(["reload"]).ok().stdout;
    assert!(told.contains("Sink goes on: comment"), "{told}");
    let told = place.hie(["reload"]).ok().stdout;
    assert!(told.contains("nothing is different"), "{told}");
    assert_eq!(generation(&engine), 2);
}

#[test]
fn a_start_that_fails_takes_the_whole_change_back() {
    let place = Place::new();
    let receiver = Receiver::start();
    let config = two_lines(receiver.addr(), nobody());
    let engine = place.start(&config);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let wrong = changed(&config, 1).replacen("Port: 0", &format!("Port: {port}"), 1);
    place.write("production.yaml", &wrong);
    let ran = place.hie(["reload"]).exits(4);
    assert!(
        ran.stderr.contains("item In did not start") && ran.stderr.contains("taken back"),
        "{}",
        ran.stderr
    );
    let status = engine.status();
    assert_eq!(status["ready"], true, "{status}");
    assert_eq!(status["configuration"]["generation"], 1);
    let refused = status["configuration"]["refused"]["reason"].as_str();
    assert!(refused.unwrap().contains("item In did not start"));
    let shown = place.hie(["status"]).ok().stdout;
    assert!(shown.contains("a change was refused"), "{shown}");
    assert!(engine.log().contains("reload-failed"));
    // The old line works as before, and what was wrong is still different.
    Mllp::connect(engine.address("In")).accepted(&message("ADT^A01", "1", "7", "DOE"));
    receiver.wait_for(1);
    let told = place.hie(["reload", "--dry-run"]).ok().stdout;
    assert!(told.contains("In would be restarted: Port"), "{told}");
    drop(taken);
    place.hie(["reload"]).ok();
    assert_eq!(engine.address("In").port(), port);
    assert!(engine.status()["configuration"]["refused"].is_null());
}

#[test]
fn errors_in_the_file_and_what_cannot_change_leave_everything_as_it_is() {
    let place = Place::new();
    let config = two_lines(nobody(), nobody());
    let engine = place.start(&config);
    let mut open = Mllp::connect(engine.address("In"));
    open.accepted(&message("ADT^A01", "1", "7", "DOE"));
    let wrong = config
        .replace("DiscardOperation", "DiscardOperatoin")
        .replace("MaxMessageSize", "MaxMesageSize");
    place.write("production.yaml", &wrong);
    let ran = place.hie(["reload"]).exits(3);
    for part in [
        "2 errors",
        "nothing was changed",
        "DiscardOperatoin",
        "`MaxMessageSize`",
    ] {
        assert!(
            ran.stderr.contains(part),
            "{part} is missing:\n{}",
            ran.stderr
        );
    }
    let other = changed(&config, 1)
        .replace("DataPath: @/data", "DataPath: @/other")
        .replace("JournalReserve: 1 MiB", "JournalReserve: 2 MiB");
    place.write("production.yaml", &other);
    let ran = place.hie(["reload"]).exits(3);
    for part in [
        "DataPath cannot change",
        "JournalReserve cannot change",
        "restart the engine",
    ] {
        assert!(
            ran.stderr.contains(part),
            "{part} is missing:\n{}",
            ran.stderr
        );
    }
    open.accepted(&message("ADT^A01", "2", "7", "DOE"));
    assert_eq!(generation(&engine), 1);
}

#[test]
fn a_hangup_reloads_and_a_watched_file_reloads_by_itself() {
    let place = Place::new();
    let config = two_lines(nobody(), nobody());
    let engine = place.start(&config);
    let watched = config.replace(
        "ShutdownTimeout: 5",
        "ShutdownTimeout: 5\n  WatchConfig: true",
    );
    place.write("production.yaml", &watched);
    engine.signal(Signal::HUP);
    let by = || {
        let status = engine.status();
        let now = &status["configuration"];
        (
            now["generation"].as_u64().unwrap(),
            now["by"].as_str().unwrap().to_owned(),
        )
    };
    eventually("the hangup counts", || {
        (by() == (2, "SIGHUP".into())).then_some(())
    });
    place.write(
        "production.yaml",
        &watched.replace("DiscardOperation", "DiscardOperatoin"),
    );
    eventually("the error is told", || {
        engine.status()["configuration"]["refused"]["by"]
            .is_string()
            .then_some(())
    });
    assert_eq!(by().0, 2);
    place.write("production.yaml", &changed(&watched, 1));
    eventually("the change counts", || {
        (by() == (3, "a change of the file".into())).then_some(())
    });
}

#[test]
fn what_is_queued_for_a_removed_item_stays_and_goes_on_when_it_comes_back() {
    let place = Place::new();
    let mut receiver = Receiver::start();
    let config = production(receiver.addr());
    receiver.down();
    let engine = place.start(&config);
    let mut open = Mllp::connect(engine.address("In"));
    for id in ["1", "2", "3"] {
        open.accepted(&message("ADT^A01", id, "7", "DOE"));
    }
    engine.wait_for("Router", "completed", 3);
    let at = config.find("  - name: EPR").unwrap();
    let end = config.find("  - name: Sink").unwrap();
    let without =
        format!("{}{}", &config[..at], &config[end..]).replace("send: [EPR]", "send: [Sink]");
    place.write("production.yaml", &without);
    place.hie(["reload"]).ok();
    assert_eq!(engine.status()["orphans"][0][1], 3, "{}", engine.status());
    open.accepted(&message("ADT^A01", "4", "7", "DOE"));
    receiver.up();
    place.write("production.yaml", &config);
    place.hie(["reload"]).ok();
    receiver.wait_for(3);
    assert_eq!(engine.status()["orphans"].as_array().unwrap().len(), 0);
    engine.wait_for("EPR", "completed", 3);
}
