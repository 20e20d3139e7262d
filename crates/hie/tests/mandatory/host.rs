//! 4.1 to 4.8: how a host gets its messages, and what its hooks may do.

use bytes::Bytes;
use hie_engine::{HostError, host::Outcome, item_command::Verb};
use hie_load::receiver::{Answer, Behaviour};
use hie_store::{Priority, State};

use crate::{
    actors::*,
    common::{Mllp, Place, Receiver, eventually},
    proc,
    scene::*,
};

/// Fifty messages in hand at once, on fewer threads than that, and intake goes on.
#[test]
fn item_4_1_messages_are_processed_asynchronously() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.set(Behaviour::of(Answer::Silence));
    let out = sends("EPR", epr.addr(), "\n    pool_size: 50", "");
    let engine = place.start(&production(&format!("{IN}{}{out}", router("", "EPR"))));
    let mut feed = Mllp::connect(engine.address("In"));
    admit(&mut feed, 0..50);
    epr.wait_for(50); // none of them is answered, so all are in hand
    let threads = proc::threads(engine.pid());
    assert!(threads.len() < 50, "{} threads: {threads:?}", threads.len());
    admit(&mut feed, 50..60);
    engine.wait_for("Router", "completed", 60);
    assert_eq!(engine.item("EPR")["completed"], 0);
    release(&mut epr);
    engine.wait_for("EPR", "completed", 60);
    assert_eq!(engine.stop(), 0);
}

/// The receiver answers from now on; what it left unanswered is sent again.
pub(crate) fn release(receiver: &mut Receiver) {
    receiver.inner.set(Behaviour::default());
    receiver.down();
    receiver.up();
}

/// All threads of an item blocked, and on the one thread of the engine everything else goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn item_4_2_blocking_code_in_a_thread_pool_holds_up_nobody_else() {
    let (folder, barrier) = (tempfile::tempdir().unwrap(), Barrier::default());
    let shut = barrier.clone();
    plays("Blocking42", move |ctx, message| {
        note(ctx.name(), format!("begins {}", text(message)));
        shut.block(); // the whole thread, not a task
        Box::pin(async move { Ok(Outcome::completed().and_send("Quick42")) })
    });
    plays("Quick42", |ctx, message| {
        note(ctx.name(), text(message));
        Box::pin(async { Ok(Outcome::completed()) })
    });
    let production = stage(
        folder.path(),
        "  - {name: In42, class: Door, host: {TargetConfigNames: Blocking42}}
  - {name: Side42, class: Door, host: {TargetConfigNames: Quick42}}
  - {name: Blocking42, class: Actor, pool_size: 2, host: {ExecutionMode: thread_pool}}
  - {name: Quick42, class: Player}",
    )
    .await;
    for nth in 0..4 {
        put("In42", &format!("slow {nth}")).await;
    }
    until("both threads are blocked", || {
        noted("Blocking42").len() == 6
    })
    .await;
    for nth in 0..200 {
        put("Side42", &format!("quick {nth}")).await;
    }
    let quick = || {
        noted("Quick42")
            .iter()
            .filter(|what| what.starts_with("quick"))
            .count()
    };
    until("200 others went through", || quick() == 200).await;
    assert_eq!(status(&production, "Blocking42").completed, 0);
    barrier.open();
    until("the slow ones went through", || {
        noted("Quick42").len() == 2 + 204
    })
    .await;
    production.stop().await;
}

/// With one job, what came first leaves first: over retries, a stop and a kill.
#[test]
fn item_4_3_fifo_is_first_in_first_out() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    epr.down();
    let out = sends("EPR", epr.addr(), "", ", QueueType: fifo");
    let config = production(&format!("{IN}{}{out}", router("", "EPR")));
    let engine = place.start(&config);
    admit(&mut Mllp::connect(engine.address("In")), 0..30);
    assert_eq!(engine.stop(), 0);
    let engine = place.start(&config);
    admit(&mut Mllp::connect(engine.address("In")), 30..60);
    engine.kill();
    let engine = place.start(&config);
    admit(&mut Mllp::connect(engine.address("In")), 60..90);
    engine.wait_for("EPR", "retries", 1);
    epr.up();
    epr.wait_for(90);
    assert_eq!(epr.inner.log(), ids(90));
    assert_eq!(engine.stop(), 0);
}

/// Five levels, first in first out inside each, and the same after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_4_4_a_priority_queue_has_five_levels_each_in_order() {
    let folder = tempfile::tempdir().unwrap();
    const ITEMS: &str = "  - {name: In44, class: Door, host: {TargetConfigNames: Desk44}}
  - {name: Desk44, class: Actor}
  - {name: Out44, class: Player, host: {QueueType: priority, RetryInterval: 0.01}}";
    plays("Desk44", |ctx, message| {
        Box::pin(async move {
            let level = text(message)[..1]
                .parse()
                .map_err(|_| HostError::new("told", "no level"));
            let level = Priority::from_number(level?).expect("a level");
            ctx.send_request_async("Out44", None, level, None).await?;
            Ok(Outcome::completed())
        })
    });
    let gate = Gate::shut();
    notes_behind("Out44", &gate);
    let production = stage(folder.path(), ITEMS).await;
    let bodies = || (0..40).map(|nth| format!("{} n{nth:02}", (nth * 7 + 3) % 5));
    for body in bodies() {
        ask("In44", &body).await; // sent on when the desk has completed it
    }
    production.stop().await; // nothing has left, and the first in hand went back
    assert_eq!(
        noted("Out44"),
        ["on_init", "on_start", "on_stop", "on_teardown"]
    );
    gate.open();
    let production = stage(folder.path(), ITEMS).await;
    until("all have left", || noted("Out44").len() == 4 + 2 + 40).await;
    let mut order: Vec<String> = bodies().collect();
    order.sort(); // by level, then by number
    assert_eq!(noted("Out44")[6..], order);
    production.stop().await;
}

/// The newest first: all that waited at a restart leaves in the reverse order.
#[test]
fn item_4_5_lifo_is_last_in_first_out() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    epr.down();
    let out = sends("EPR", epr.addr(), "", ", QueueType: lifo");
    let config = production(&format!("{IN}{}{out}", router("", "EPR")));
    let engine = place.start(&config);
    admit(&mut Mllp::connect(engine.address("In")), 0..30);
    engine.wait_for("Router", "completed", 30);
    assert_eq!(engine.stop(), 0);
    let engine = place.start(&config);
    engine.wait_for("EPR", "retries", 1);
    epr.up();
    epr.wait_for(30);
    let mut newest_first = ids(30);
    newest_first.reverse();
    assert_eq!(epr.inner.log(), newest_first);
    assert_eq!(engine.stop(), 0);
}

/// Each hook of a life once, in its order, for every host of the pool, and again after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_4_6_hosts_live_from_on_init_to_on_teardown() {
    let folder = tempfile::tempdir().unwrap();
    for item in ["Mid46", "Out46"] {
        plays(item, |ctx, message| {
            note(ctx.name(), text(message));
            Box::pin(async { Ok(Outcome::completed()) })
        });
    }
    let production = stage(
        folder.path(),
        "  - {name: In46, class: Door, host: {TargetConfigNames: [Mid46, Out46]}}
  - {name: Mid46, class: Actor}
  - {name: Out46, class: Player, pool_size: 3}",
    )
    .await;
    assert_eq!(noted("In46"), ["on_start"]);
    put("In46", "first").await;
    until("it is processed", || {
        noted("Mid46").len() == 3 && noted("Out46").len() == 7
    })
    .await;
    production
        .command("Mid46", Verb::Restart, "a test")
        .await
        .unwrap();
    put("In46", "second").await;
    until("it is processed", || noted("Mid46").len() == 8).await;
    production.stop().await;
    let life = |what: &'static str| ["on_init", "on_start", what, "on_stop", "on_teardown"];
    assert_eq!(noted("Mid46"), [life("first"), life("second")].concat());
    for hook in ["on_init", "on_start", "on_stop", "on_teardown"] {
        let all = noted("Out46");
        assert_eq!(
            all.iter().filter(|what| *what == hook).count(),
            3,
            "{hook}: {all:?}"
        );
    }
    assert_eq!(noted("In46"), ["on_start", "on_stop"]);
}

/// `on_before_process` changes what is processed and sent on, `on_after_process` what the caller
/// gets; what came in stays stored as it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_4_7_hooks_change_the_message_and_the_result() {
    let folder = tempfile::tempdir().unwrap();
    plays("Mid47", |ctx, message| {
        note(ctx.name(), text(message));
        let own = Outcome::completed().with_reply(Bytes::from("its own"));
        Box::pin(async { Ok(own.and_send("Out47")) })
    });
    notes_behind("Out47", &{
        let gate = Gate::shut();
        gate.open();
        gate
    });
    let production = stage(
        folder.path(),
        "  - {name: In47, class: Door, host: {TargetConfigNames: Mid47}}
  - {name: Mid47, class: Actor}
  - {name: Out47, class: Player}",
    )
    .await;
    assert_eq!(ask("In47", "plain").await, "its own");
    assert_eq!(ask("In47", "a mark swap").await, "swapped");
    until("both arrive", || noted("Out47").len() == 4).await;
    assert_eq!(noted("Mid47")[2..], ["plain", "a mark swap marked"]);
    assert_eq!(
        noted("Out47")[3],
        "a mark swap marked marked",
        "its own hook marks it, too"
    );
    production.stop().await;
    let rows = left(folder.path());
    let bodies = |target: &str| -> Vec<&str> {
        let rows = rows.iter().filter(|(row, _)| row.target == target);
        rows.map(|(_, body)| body.as_str()).collect()
    };
    assert_eq!(bodies("Mid47"), ["plain", "a mark swap"], "raw first");
    assert_eq!(bodies("Out47"), ["plain", "a mark swap marked"]);
}

/// What `on_process_error` gives back reaches who waits: an HL7 NACK to a sender over MLLP, the
/// reply of a class's hook to its caller. A hook that fails or panics takes nothing down.
#[test]
fn item_4_8_on_process_error_recovers_and_its_result_is_the_nack() {
    let (place, epr) = (Place::new(), Receiver::start());
    epr.inner.set(Behaviour::code("AR"));
    let hooks = "
    hooks:
      on_process_error:
        - {then: fail, reply: AE, reason: the ward system refused it}";
    let out = sends(
        "EPR",
        epr.addr(),
        hooks,
        ", ReplyCodeActions: ':?R=F,:?A=C'",
    );
    let waits = IN.replace(
        "Router}",
        "Router, AckMode: Application, ResponseTimeout: 50}",
    );
    let router = router(", ResponseFrom: EPR", "EPR");
    let engine = place.start(&production(&format!("{waits}{router}{out}")));
    let mut feed = Mllp::connect(engine.address("In"));
    for nth in 0..3 {
        let answer = String::from_utf8(feed.send(&admission(nth))).unwrap();
        let nack = format!("MSA|AE|{}|the ward system refused it", id(nth));
        assert!(answer.contains(&nack), "{answer}");
    }
    epr.inner.set(Behaviour::default());
    feed.accepted(&admission(3));
    eventually("the trace says all of it", || {
        let rows = place
            .hie(["messages", "--json", "--state", "Error"])
            .ok()
            .rows();
        let ours = rows
            .iter()
            .filter(|row| row["reason"] == "the ward system refused it");
        (ours.count() == 3).then_some(())
    });
    assert_eq!(engine.stop(), 0);
    a_hook_of_a_class_recovers_too();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_of_a_class_recovers_too() {
    let folder = tempfile::tempdir().unwrap();
    plays("Mid48", |_, message| {
        let fine = text(message).starts_with("fine");
        Box::pin(async move {
            match fine {
                true => Ok(Outcome::completed().with_reply(Bytes::from("done"))),
                false => Err(HostError::new("told", "failed as told")),
            }
        })
    });
    let production = stage(
        folder.path(),
        "  - {name: In48, class: Door, host: {TargetConfigNames: Mid48}}
  - {name: Mid48, class: Actor}",
    )
    .await;
    assert_eq!(ask("In48", "bad recover").await, "NACK");
    assert_eq!(ask("In48", "bad").await, "failed as told");
    assert_eq!(ask("In48", "bad hook-fails").await, "failed as told");
    assert_eq!(ask("In48", "bad hook-panics").await, "failed as told");
    assert_eq!(ask("In48", "fine after all that").await, "done");
    production.stop().await;
    let rows = left(folder.path());
    let states: Vec<State> = rows.iter().map(|(row, _)| row.state).collect();
    use State::{Completed, Error};
    assert_eq!(states, [Error, Error, Error, Error, Completed]);
}
