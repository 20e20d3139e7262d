//! The engine through its public face, with hosts made for the purpose: what a job does with a
//! panic, a retry, a poison message, a stop; what a restart brings back; who gets a response.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hie_engine::setting::Value;

use support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verdict_has_its_end_and_the_next_message_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In1", &DOOR, &[("TargetConfigNames", targets(&["Out1"]))]),
            item("Out1", &OBEDIENT, &[]),
        ],
    )
    .await;
    let door = door("In1");
    for body in [
        "ok a1",
        "retry:3 b1",
        "fail c1",
        "suspend d1",
        "panic e1",
        "ok f1",
    ] {
        put(&door, body).await;
    }
    until("the last message", || seen("Out1").len() == 3).await;
    assert_eq!(
        seen("Out1"),
        ["ok a1", "retry:3 b1", "ok f1"],
        "order holds over retries, failures and panics"
    );
    let status = production.status();
    let out = status
        .items
        .iter()
        .find(|item| item.name == "Out1")
        .unwrap();
    assert_eq!(
        (out.completed, out.failed, out.suspended, out.panics),
        (3, 1, 2, 2)
    );
    assert_eq!(
        TRIES.lock().unwrap()["panic e1"],
        2,
        "MaxAttempts bounds a poison message"
    );
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_hand_or_queued_at_a_stop_comes_again_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let items = || {
        vec![
            item("In2", &DOOR, &[("TargetConfigNames", targets(&["Route2"]))]),
            item(
                "Route2",
                &ROUTER,
                &[("TargetConfigNames", targets(&["Out2"]))],
            ),
            item("Out2", &OBEDIENT, &[]),
        ]
    };
    let production = start(folder.path(), items()).await;
    let before = door("In2");
    for n in 0..50 {
        // The first one is refused by the receiver until after the restart.
        put(
            &before,
            &if n == 0 {
                "retry:3 g0".to_owned()
            } else {
                format!("ok g{n}")
            },
        )
        .await;
        if n == 0 {
            until("a first try", || {
                TRIES.lock().unwrap().contains_key("retry:3 g0")
            })
            .await;
            TRIES.lock().unwrap().insert("retry:3 g0".into(), 0);
        }
    }
    production.stop().await;
    assert!(
        before
            .accept(origin(), &Bytes::from_static(b"late"))
            .await
            .is_err(),
        "nothing is accepted after a stop"
    );
    let handed_over = seen("Out2");
    let production = start(folder.path(), items()).await;
    assert_eq!(production.recovered.queued, 50 - handed_over.len());
    until("all of them", || seen("Out2").len() >= 50).await;
    let expected: Vec<_> = (0..50)
        .map(|n| {
            if n == 0 {
                "retry:3 g0".into()
            } else {
                format!("ok g{n}")
            }
        })
        .collect();
    assert_eq!(seen("Out2"), expected);
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_hangs_is_cut_off_at_a_stop_and_its_message_kept() {
    let folder = tempfile::tempdir().unwrap();
    let items = || {
        vec![
            item("In3", &DOOR, &[("TargetConfigNames", targets(&["Out3"]))]),
            item("Out3", &OBEDIENT, &[]),
        ]
    };
    let production = start(folder.path(), items()).await;
    put(&door("In3"), "hang h1").await;
    until("the try", || TRIES.lock().unwrap().contains_key("hang h1")).await;
    production.stop().await;
    let production = start(folder.path(), items()).await;
    assert_eq!(production.recovered.queued, 1);
    until("the next try", || TRIES.lock().unwrap()["hang h1"] == 2).await;
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_gets_the_response_of_the_target_that_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In4", &DOOR, &[("TargetConfigNames", targets(&["Route4"]))]),
            item(
                "Route4",
                &ROUTER,
                &[
                    ("TargetConfigNames", targets(&["Mute4", "Out4"])),
                    ("ResponseFrom", targets(&["Out4"])),
                ],
            ),
            item("Mute4", &OBEDIENT, &[]),
            item("Out4", &OBEDIENT, &[]),
        ],
    )
    .await;
    let door = door("In4");
    let wait = Some(Duration::from_secs(10));
    let reply = |response: Option<hie_engine::broker::Response>| {
        response.and_then(|response| response.reply)
    };
    let (_, response) = door
        .request(origin(), &Bytes::from_static(b"ok i1"), wait)
        .await
        .unwrap();
    assert_eq!(reply(response).as_deref(), Some(&b"reply to ok i1"[..]));
    let (_, response) = door
        .request(origin(), &Bytes::from_static(b"ask Mute4"), wait)
        .await
        .unwrap();
    assert_eq!(
        reply(response).as_deref(),
        Some(&b"reply to ask Mute4"[..]),
        "a process may ask another item"
    );
    let (_, response) = door
        .request(origin(), &Bytes::from_static(b"ask Nobody"), wait)
        .await
        .unwrap();
    let response = response.unwrap();
    assert!(
        response.reply.is_none() && response.reason.contains("no item called Nobody"),
        "{response:?}"
    );
    let (accepted, response) = door
        .request(
            origin(),
            &Bytes::from_static(b"hang i2"),
            Some(Duration::from_millis(50)),
        )
        .await
        .unwrap();
    assert!(
        response.is_none() && accepted.first_id.0 > 0,
        "a late answer is no answer, the message is kept"
    );
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_cancelled_while_it_waits_for_the_disk_leaves_nothing_stranded() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In5", &DOOR, &[("TargetConfigNames", targets(&["Out5"]))]),
            item("Out5", &OBEDIENT, &[]),
        ],
    )
    .await;
    let started = Arc::new(AtomicUsize::new(0));
    for n in 0..100 {
        let (door, begun) = (door("In5"), started.clone());
        let task = tokio::spawn(async move {
            begun.fetch_add(1, Ordering::SeqCst);
            put(&door, &format!("ok j{n}")).await;
        });
        until("its start", || started.load(Ordering::SeqCst) > n).await;
        task.abort();
        let _ = task.await;
    }
    // Whatever reached the journal reaches the target without a restart.
    let received = || {
        production
            .status()
            .items
            .iter()
            .find(|item| item.name == "In5")
            .map_or(0, |item| item.received)
    };
    until("the queue to drain", || {
        production
            .broker
            .queues()
            .iter()
            .all(|(_, queue)| queue.is_empty())
    })
    .await;
    production.stop().await;
    let delivered = seen("Out5").len();
    let again = start(folder.path(), vec![item("Out5", &OBEDIENT, &[])]).await;
    assert_eq!(
        again.recovered.queued,
        0,
        "delivered {delivered} of {} begun",
        received()
    );
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_may_disable_itself_and_keeps_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let production = start(
        folder.path(),
        vec![
            item("In6", &DOOR, &[("TargetConfigNames", targets(&["Out6"]))]),
            item("Out6", &OBEDIENT, &[]),
        ],
    )
    .await;
    put(&door("In6"), "disable k1").await;
    put(&door("In6"), "ok k2").await;
    let state = || {
        let status = production.status();
        status
            .items
            .iter()
            .find(|item| item.name == "Out6")
            .map(|item| (item.state.name(), item.queued))
    };
    until("the item to be disabled", || {
        state() == Some(("disabled", 2))
    })
    .await;
    assert!(
        production.ready().unwrap_err()[0].contains("Out6"),
        "readiness says which item is out"
    );
    production.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failure_timeout_ends_the_tries() {
    let folder = tempfile::tempdir().unwrap();
    let soon = (
        "FailureTimeout",
        Value::Seconds(Some(Duration::from_millis(40))),
    );
    let production = start(
        folder.path(),
        vec![
            item("In7", &DOOR, &[("TargetConfigNames", targets(&["Out7"]))]),
            item("Out7", &OBEDIENT, &[soon]),
        ],
    )
    .await;
    put(&door("In7"), "always l1").await;
    put(&door("In7"), "ok l2").await;
    until("the next message", || seen("Out7") == ["ok l2"]).await;
    let status = production.status();
    let out = status
        .items
        .iter()
        .find(|item| item.name == "Out7")
        .unwrap();
    assert_eq!(out.suspended, 1);
    assert!(
        out.last_error.as_ref().unwrap().contains("FailureTimeout"),
        "{:?}",
        out.last_error
    );
    assert!(TRIES.lock().unwrap()["always l1"] > 1);
    production.stop().await;
}
