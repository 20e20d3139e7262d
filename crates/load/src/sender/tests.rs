//! The senders against the receiver and the null peers, over loopback.

use super::*;
use crate::message::Kind;
use crate::receiver::{Answer, Behaviour, Receiver};
use crate::{ledger::Fate, peers};

const PATIENCE: Duration = Duration::from_secs(30);

fn load(addr: impl ToString, messages: u64) -> Load {
    Load {
        connections: 4,
        messages: Some(messages),
        keep_ledger: true,
        ..Load::new(addr.to_string(), Template::fixed(Kind::Adt, 700))
    }
}

fn codes(report: &Report) -> Vec<(&str, u64)> {
    report
        .ack_codes
        .iter()
        .map(|(code, count)| (code.as_str(), *count))
        .collect()
}

#[tokio::test]
async fn a_closed_loop_delivers_each_message_once_in_order() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    let outcome = run(load(receiver.addr(), 500)).await.unwrap();
    assert_eq!(
        (outcome.report.acks, codes(&outcome.report)),
        (500, vec![("AA", 500)])
    );
    assert_eq!(outcome.report.message_bytes, 700);
    assert!(outcome.report.errors.is_empty() && outcome.report.schedule.is_none());
    let verdict = receiver.verdict(&outcome.sent);
    assert!(verdict.is_clean(), "{verdict:?}");
    assert_eq!(
        (
            verdict.sent,
            verdict.acked,
            verdict.delivered,
            verdict.extra_deliveries
        ),
        (500, 500, 500, 0)
    );
    assert_eq!((receiver.summary().streams, receiver.connections()), (4, 4));
}

#[tokio::test]
async fn an_open_loop_sends_what_was_planned() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    for (arrivals, name) in [(Arrivals::Constant, "CON"), (Arrivals::Poisson(1), "POI")] {
        let open = Load {
            pace: Pace::Open {
                per_second: 2000.0,
                arrivals,
            },
            run: name.to_owned(),
            ..load(receiver.addr(), 200)
        };
        let outcome = run(open).await.unwrap();
        let schedule = outcome.report.schedule.unwrap();
        assert_eq!(
            (outcome.report.acks, schedule.planned, schedule.abandoned),
            (200, 200, 0)
        );
        assert!(receiver.verdict(&outcome.sent).lost == 0);
    }
}

#[tokio::test]
async fn an_open_loop_counts_latency_from_the_planned_time_and_gives_up_in_the_end() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.set(Behaviour::default().after(Duration::from_millis(50)));
    let outcome = run(Load {
        pace: Pace::Open {
            per_second: 1000.0,
            arrivals: Arrivals::Constant,
        },
        connections: 1,
        messages: None,
        duration: Some(Duration::from_millis(200)),
        ack_timeout: Duration::from_millis(300),
        ..load(receiver.addr(), 0)
    })
    .await
    .unwrap();
    let schedule = outcome.report.schedule.unwrap();
    assert_eq!(schedule.planned, 200);
    assert!(schedule.overloaded && schedule.abandoned > 0);
    assert_eq!(outcome.report.acks + schedule.abandoned, 200);
    // The second message was due 1 ms after the first and waited for its ACK: its queueing counts.
    assert!(
        outcome.report.latency_us.max > 95_000.0,
        "{:?}",
        outcome.report.latency_us
    );
}

#[tokio::test]
async fn refusals_and_wrong_ids_are_counted_and_not_taken_for_acceptance() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.set(Behaviour::code("AE"));
    let refused = run(load(receiver.addr(), 20)).await.unwrap();
    assert_eq!(
        (codes(&refused.report), refused.sent.acked()),
        (vec![("AE", 20)], 0)
    );
    assert_eq!(refused.sent.ids(Fate::Refused).count(), 20);
    receiver.set(Behaviour::of(Answer::WrongId("AA".into())));
    let wrong = run(Load {
        run: "W".into(),
        ..load(receiver.addr(), 20)
    })
    .await
    .unwrap();
    assert_eq!((wrong.report.wrong_id, wrong.sent.acked()), (20, 0));
}

#[tokio::test]
async fn a_lost_connection_is_reported_and_stays_lost_unless_told() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.set(Behaviour::of(Answer::HalfThenClose));
    let outcome = run(Load {
        connections: 1,
        ..load(receiver.addr(), 5)
    })
    .await
    .unwrap();
    assert_eq!((outcome.report.acks, outcome.report.unanswered), (0, 1));
    assert_eq!(
        outcome.report.errors.keys().collect::<Vec<_>>(),
        ["waiting for the ACK: closed within the ACK"]
    );
    assert_eq!(receiver.verdict(&outcome.sent).unasked, 1);
}

#[tokio::test]
async fn a_silent_engine_ends_in_a_timeout() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    receiver.set(Behaviour::of(Answer::Silence));
    for pace in [
        Pace::Closed,
        Pace::Open {
            per_second: 100.0,
            arrivals: Arrivals::Constant,
        },
    ] {
        let quick = Load {
            pace,
            connections: 1,
            ack_timeout: Duration::from_millis(30),
            ..load(receiver.addr(), 5)
        };
        let outcome = run(quick).await.unwrap();
        assert_eq!(
            outcome.report.errors.keys().collect::<Vec<_>>(),
            ["waiting for the ACK: timed out"]
        );
    }
}

#[tokio::test]
async fn a_sender_reconnects_and_resends_the_same_bytes() {
    for pace in [
        Pace::Closed,
        Pace::Open {
            per_second: 5000.0,
            arrivals: Arrivals::Constant,
        },
    ] {
        let mut receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        let reconnect = Some(Reconnect {
            every: Duration::from_millis(5),
            give_up_after: PATIENCE,
        });
        let progress = Arc::new(Progress::default());
        let load = Load {
            pace,
            reconnect,
            messages: None,
            ..load(receiver.addr(), 0)
        };
        let running = tokio::spawn(run_with(load, progress.clone()));
        for round in 1..=3 {
            let before = receiver.summary().distinct;
            assert!(receiver.wait_for(before + 50, PATIENCE).await);
            // Taken on the account and never answered: the sender must send these again.
            receiver.set(Behaviour::of(Answer::Silence));
            let seen = receiver.summary().received;
            receiver
                .wait_until(|summary| summary.received > seen, Duration::from_millis(50))
                .await;
            receiver.down().await.unwrap();
            assert!(!receiver.is_up(), "round {round}");
            receiver.set(Behaviour::default());
            receiver.up().await.unwrap();
        }
        let before = receiver.summary().distinct;
        assert!(receiver.wait_for(before + 50, PATIENCE).await);
        progress.stop();
        let outcome = running.await.unwrap().unwrap();
        let verdict = receiver.verdict(&outcome.sent);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert!(
            outcome.report.resent >= 1 && verdict.extra_deliveries >= 1,
            "{:?} {verdict:?}",
            outcome.report
        );
        assert_eq!(
            (verdict.unasked, outcome.report.unanswered, outcome.gave_up),
            (0, 0, false)
        );
    }
}

#[tokio::test]
async fn a_sender_gives_up_on_an_engine_that_stays_away() {
    // Nobody listens on the first privileged port, and no test can come to.
    let addr = "127.0.0.1:1";
    let reconnect = Some(Reconnect {
        every: Duration::from_millis(1),
        give_up_after: Duration::from_millis(20),
    });
    let outcome = run(Load {
        reconnect,
        connections: 1,
        ..load(addr, 5)
    })
    .await
    .unwrap();
    assert!(outcome.gave_up);
    assert!(outcome.report.errors["connecting: connection refused"] >= 2);
}

#[tokio::test]
async fn the_null_peers_pass_everything() {
    let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
    let proxy = peers::proxy("127.0.0.1:0", &receiver.addr().to_string())
        .await
        .unwrap();
    let outcome = run(load(proxy.addr(), 200)).await.unwrap();
    assert!(receiver.verdict(&outcome.sent).is_clean());
    assert_eq!(outcome.report.acks, 200);
    let null = peers::null("127.0.0.1:0").await.unwrap();
    let varied = Load {
        template: Arc::new(Template::varied(Kind::Oru, 13_000, 1)),
        ..load(null.addr(), 200)
    };
    assert_eq!(codes(&run(varied).await.unwrap().report), [("AA", 200)]);
}

#[tokio::test]
async fn impossible_options_are_refused() {
    let with = |change: fn(&mut Load)| {
        let mut load = load("127.0.0.1:1", 1);
        change(&mut load);
        load
    };
    let rate = |per_second| Pace::Open {
        per_second,
        arrivals: Arrivals::Constant,
    };
    let mut fast = load("127.0.0.1:1", 1);
    fast.pace = rate(0.0);
    for load in [
        with(|l| l.connections = 0),
        with(|l| l.run = "TOOLONG".into()),
        with(|l| l.run = "A|B".into()),
        fast,
    ] {
        assert!(matches!(run(load).await, Err(LoadError::Options(_))));
    }
}
