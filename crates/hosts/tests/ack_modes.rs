//! What a sender is told, and when: every `AckMode`, the negative codes, and whose reply it gets.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Place, Running,
    peers::{Desk, Line, SINK, ack, adt, field, id, operation, service, with_msh},
};
use hie_store::State;

/// A production with this service before an `Out` that takes everything.
async fn before_sink(place: &Place, adapter: &str, host: &str) -> Running {
    place
        .start(&format!("{}{SINK}", service(adapter, host)))
        .await
}

/// A message that asks for these answers by MSH-15 and MSH-16.
fn asking(id: &str, commit: &str, application: &str) -> String {
    with_msh(&format!("{id}|P|2.5|||{commit}|{application}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn immediate_says_aa_with_the_sender_and_receiver_swapped_and_the_message_is_kept() {
    let place = Place::new();
    let running = before_sink(&place, "", "").await;
    let mut sender = Line::to(&running.address("In")).await;
    let answer = sender.ask(adt("M1")).await;
    let fields = [3, 4, 5, 6, 9, 11, 12].map(|number| field(&answer, "MSH", number));
    assert_eq!(
        fields,
        ["EPR", "RX2", "PAS", "RX1", "ACK^A01^ACK", "P", "2.5"]
    );
    assert_eq!(field(&answer, "MSA", 1), "AA");
    assert_eq!(field(&answer, "MSA", 2), "M1");
    let rows = running.ended("Out", 1).await;
    assert_eq!((rows.len(), rows[0].source.as_str()), (1, "In"));
    assert_eq!(running.body(&rows[0]), adt("M1").as_bytes());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_codes_are_used_where_the_version_knows_them() {
    let place = Place::new();
    let running = before_sink(&place, "", "UseAckCommitCodes: true").await;
    let mut sender = Line::to(&running.address("In")).await;
    for (version, code) in [("2.2", "AA"), ("2.3", "CA"), ("2.5.1", "CA"), ("", "AA")] {
        let message = with_msh(&format!("M1|P|{version}"));
        assert_eq!(sender.code(message).await, code, "{version}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_negative_code_says_whose_fault_it_is() {
    for (setting, content, system) in [
        ("ContentE", "AE", "AR"),
        ("ContentR", "AR", "AE"),
        ("AllE", "AE", "AE"),
        ("AllR", "AR", "AR"),
    ] {
        let mut place = Place::new();
        let host = format!("NackErrorCode: {setting}");
        let running = before_sink(&place, "", &host).await;
        let mut sender = Line::to(&running.address("In")).await;
        assert_eq!(sender.code("no HL7 at all").await, content, "{setting}");
        running.stop().await;
        // More than the disk has: nothing can be stored.
        place.reserve = "1 TiB";
        let running = before_sink(&place, "", &host).await;
        let mut sender = Line::to(&running.address("In")).await;
        let answer = sender.ask(adt("M1")).await;
        assert_eq!(field(&answer, "MSA", 1), system, "{setting}");
        assert_eq!(field(&answer, "MSA", 2), "M1");
        assert_eq!(
            sender.code(adt("M2")).await,
            system,
            "the connection goes on"
        );
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_its_reason_and_has_err_where_it_is_asked_for() {
    for (setting, errs) in [("AddNackERR: true", 1), ("AddNackERR: false", 0)] {
        let place = Place::new();
        let running = before_sink(&place, "", setting).await;
        let mut sender = Line::to(&running.address("In")).await;
        let answer = sender.ask("no HL7 at all").await;
        assert!(field(&answer, "MSA", 3).contains("MSH"), "{answer}");
        let lines = answer.split('\r').filter(|line| line.starts_with("ERR|"));
        assert_eq!(lines.count(), errs, "{answer}");
        let good = sender.ask(adt("M1")).await;
        assert!(!good.contains("ERR|"), "{good}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_facility_and_application_stand_in_every_answer() {
    let place = Place::new();
    let local = "LocalFacilityApplication: \"TRUST:HIE\"";
    let running = before_sink(&place, "", local).await;
    let mut sender = Line::to(&running.address("In")).await;
    for message in [adt("M1"), "no HL7 at all".into()] {
        let answer = sender.ask(message).await;
        assert_eq!(field(&answer, "MSH", 3), "HIE");
        assert_eq!(field(&answer, "MSH", 4), "TRUST");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_comes_in_is_kept_and_never_answered() {
    let place = Place::new();
    let running = before_sink(&place, "", "").await;
    let mut sender = Line::to(&running.address("In")).await;
    sender.say(ack("AA", "X1")).await;
    let answer = sender.ask(adt("M1")).await;
    assert_eq!(
        field(&answer, "MSA", 2),
        "M1",
        "the first answer is the message's"
    );
    let rows = running.rows("In").await;
    assert_eq!(rows[0].state, State::Discarded);
    assert!(
        rows[0].reason.contains("IgnoreInboundAck"),
        "{}",
        rows[0].reason
    );
    assert_eq!(running.body(&rows[0]), ack("AA", "X1").as_bytes());
    running.stop().await;

    let place = Place::new();
    let running = before_sink(&place, "", "IgnoreInboundAck: false").await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code(ack("AA", "X1")).await, "AA");
    assert_eq!(running.ended("Out", 1).await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_says_nothing_and_keeps_everything() {
    let mut place = Place::new();
    let running = before_sink(&place, "", "AckMode: Never").await;
    let mut sender = Line::to(&running.address("In")).await;
    sender.say(adt("M1")).await;
    sender.say("no HL7 at all").await;
    sender.say(adt("M2")).await;
    sender.hang_up().await;
    sender.closed().await;
    let rows = running.rows("In").await;
    let ids: Vec<_> = rows.iter().map(|row| row.control_id.as_str()).collect();
    assert_eq!(ids, ["M1", "", "M2"]);
    assert_eq!(rows[1].state, State::Error);
    running.stop().await;
    // What cannot be stored closes the connection: there is no other way to tell.
    place.reserve = "1 TiB";
    let running = before_sink(&place, "", "AckMode: Never").await;
    let mut sender = Line::to(&running.address("In")).await;
    sender.say(adt("M3")).await;
    sender.closed().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn application_passes_the_reply_of_the_target_on_as_it_is() {
    let place = Place::new();
    let desk = Desk::open().await;
    let items = service("", "AckMode: Application") + &operation(desk.port, "", "");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    sender.say(adt("M1")).await;
    let mut peer = desk.line().await;
    for (code, message) in [("AA", "M1"), ("AE", "M2"), ("CA", "M3")] {
        if message != "M1" {
            sender.say(adt(message)).await;
        }
        assert_eq!(id(&peer.hear().await), message);
        let reply = ack(code, message) + "ZZZ|as it is\r";
        peer.say(&reply).await;
        assert_eq!(sender.hear().await, reply);
    }
    let states = running.ended("Out", 3).await.into_iter();
    let states: Vec<_> = states.map(|row| row.state).collect();
    assert_eq!(
        states,
        [State::Completed, State::Suspended, State::Completed]
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn application_refuses_after_its_timeout_and_the_message_still_arrives() {
    let place = Place::new();
    let desk = Desk::open().await;
    let items =
        service("", "AckMode: Application, ResponseTimeout: 0.2") + &operation(desk.port, "", "");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    let answer = sender.ask(adt("M1")).await;
    assert_eq!(field(&answer, "MSA", 1), "AR");
    assert!(
        field(&answer, "MSA", 3).contains("did not answer in time"),
        "{answer}"
    );
    let mut peer = desk.line().await;
    assert_eq!(id(&peer.hear().await), "M1");
    peer.say(ack("AA", "M1")).await;
    assert_eq!(running.ended("Out", 1).await[0].state, State::Completed);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn application_tells_of_a_target_that_failed_without_a_reply() {
    let place = Place::new();
    let desk = Desk::open().await;
    let port = desk.port;
    drop(desk);
    let items = service("", "AckMode: Application") + &operation(port, "", "FailureTimeout: 0");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    let answer = sender.ask(adt("M1")).await;
    assert_eq!(field(&answer, "MSA", 1), "AE");
    assert!(field(&answer, "MSA", 3).contains("state Error"), "{answer}");
    let rows = running.ended("Out", 1).await;
    assert_eq!(rows[0].state, State::Error);
    assert!(
        rows[0].reason.contains("FailureTimeout"),
        "{}",
        rows[0].reason
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn application_answers_for_a_target_that_has_no_reply_to_give() {
    let place = Place::new();
    let running = before_sink(&place, "", "AckMode: Application").await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code(adt("M1")).await, "AA", "dropped on purpose");
    assert_eq!(sender.code("no HL7 at all").await, "AE", "no target asked");
    assert_eq!(running.rows("Out").await.len(), 1);
    running.stop().await;
}

/// `In` to a router to `Out` and `Second`, both to desks.
fn routed(host: &str, first: u16, second: u16) -> String {
    let operations =
        operation(first, "", "") + &operation(second, "", "").replace("name: Out", "name: Second");
    service("", "AckMode: Application").replace("Out", "Router")
        + "  - name: Router\n    class: HL7RoutingEngine\n    host: { BusinessRuleName: Both"
        + host
        + " }\n"
        + &operations
        + "rules:\n  Both:\n    rules:\n      - { name: All, when: 'PID-1 = \"1\"', send: [Out, Second] }\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_gives_the_reply_of_the_target_it_names() {
    let place = Place::new();
    let (first, second) = (Desk::open().await, Desk::open().await);
    let items = routed(", ResponseFrom: Second", first.port, second.port);
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    sender.say(adt("M1")).await;
    let mut peer = first.line().await;
    peer.hear().await;
    peer.say(ack("AA", "M1")).await;
    running.ended("Out", 1).await;
    let mut peer = second.line().await;
    peer.hear().await;
    let reply = ack("AE", "M1");
    peer.say(&reply).await;
    assert_eq!(sender.hear().await, reply);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_without_response_from_answers_when_it_has_routed() {
    let place = Place::new();
    let (first, second) = (Desk::open().await, Desk::open().await);
    let running = place.start(&routed("", first.port, second.port)).await;
    let mut sender = Line::to(&running.address("In")).await;
    // Neither desk has said a word.
    assert_eq!(sender.code(adt("M1")).await, "AA");
    // No rule holds: dropped on purpose.
    let unrouted = adt("M2").replace("PID|1", "PID|2");
    assert_eq!(sender.code(unrouted).await, "AA");
    let rows = running.ended("Router", 2).await;
    assert_eq!(
        [rows[0].state, rows[1].state],
        [State::Completed, State::Discarded]
    );
    drop((first, second));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msh_15_and_16_say_which_answers_come() {
    let place = Place::new();
    let desk = Desk::open().await;
    let items = service("", "AckMode: MSH-determined") + &operation(desk.port, "", "");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    // A receiver that answers with what stands in PID-1.
    let receiver = tokio::spawn(async move {
        let mut peer = desk.line().await;
        while let Some(message) = peer.hear_or_closed().await {
            peer.say(ack(&field(&message, "PID", 1), &id(&message)))
                .await;
        }
    });
    for (nth, (commit, application, reply, expected)) in [
        ("", "", "AE", &["AA"][..]),
        ("AL", "", "AE", &["CA"]),
        ("AL", "NE", "AE", &["CA"]),
        ("SU", "NE", "AE", &["CA"]),
        ("ER", "NE", "AA", &[]),
        ("NE", "NE", "AE", &[]),
        ("NE", "AL", "AA", &["AA"]),
        ("", "AL", "AE", &["AE"]),
        ("AL", "AL", "AA", &["CA", "AA"]),
        ("AL", "AL", "AE", &["CA", "AE"]),
        ("AL", "ER", "AA", &["CA"]),
        ("AL", "ER", "AE", &["CA", "AE"]),
        ("NE", "SU", "AA", &["AA"]),
        ("NE", "SU", "AE", &[]),
        ("ER", "ER", "AE", &["AE"]),
        ("ER", "ER", "AA", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("M{nth}");
        let message = asking(&name, commit, application).replace("PID|1", &format!("PID|{reply}"));
        sender.say(message).await;
        for code in expected {
            let answer = sender.hear().await;
            let got = (field(&answer, "MSA", 1), field(&answer, "MSA", 2));
            assert_eq!(
                got,
                ((*code).into(), name.clone()),
                "{commit:?} {application:?} {reply}"
            );
        }
        // The next answer is that of the next message: nothing else was said.
        let fence = asking("FENCE", "", "").replace("PID|1", "PID|AA");
        assert_eq!(
            field(&sender.ask(fence).await, "MSA", 2),
            "FENCE",
            "{commit:?} {application:?} {reply}"
        );
    }
    running.stop().await;
    receiver.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn msh_15_and_16_say_who_hears_of_a_message_that_cannot_be_stored() {
    let mut place = Place::new();
    place.reserve = "1 TiB";
    let running = before_sink(&place, "", "AckMode: MSH-determined").await;
    let mut sender = Line::to(&running.address("In")).await;
    for (commit, application, code) in [
        ("", "", "AR"),
        ("AL", "NE", "CR"),
        ("ER", "", "CR"),
        ("ER", "AL", "CR"),
        ("NE", "ER", "AR"),
        ("SU", "NE", ""),
        ("NE", "NE", ""),
        ("NE", "SU", ""),
    ] {
        sender.say(asking("M1", commit, application)).await;
        if !code.is_empty() {
            let answer = sender.hear().await;
            assert_eq!(field(&answer, "MSA", 1), code, "{commit:?} {application:?}");
        }
        let fence = sender.ask(asking("FENCE", "", "")).await;
        assert_eq!(
            field(&fence, "MSA", 2),
            "FENCE",
            "{commit:?} {application:?}"
        );
    }
    assert!(running.rows("In").await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_answer_that_does_not_come_is_a_refusal() {
    let place = Place::new();
    let desk = Desk::open().await;
    let items = service("", "AckMode: MSH-determined, ResponseTimeout: 0.2")
        + &operation(desk.port, "", "");
    let running = place.start(&items).await;
    let mut sender = Line::to(&running.address("In")).await;
    assert_eq!(sender.code(asking("M1", "AL", "AL")).await, "CA");
    assert_eq!(field(&sender.hear().await, "MSA", 1), "AR");
    // The message has no answer yet: it waits for the next start.
    drop(desk);
    running.stop().await;
}
