//! 1.1 to 1.7: where the jobs of an item run, seen from outside in `/proc`, and what their death
//! does to messages.

use hie_engine::host::Outcome;
use hie_load::receiver::{Answer, Behaviour};
use rustix::process::Signal;

use crate::{
    actors::*,
    common::{Engine, Mllp, Place, Receiver, eventually},
    host::release,
    proc,
    scene::*,
};

/// Settings of an item with worker processes of its own that come back quickly.
const OWN: &str = ", ExecutionMode: multiprocess, RestartDelay: 0.05";

/// The worker processes of an item, once there are so many of them.
#[track_caller]
fn workers(engine: &Engine<'_>, item: &str, count: usize) -> Vec<u32> {
    eventually(&format!("{item} has {count} processes"), || {
        let pids = proc::workers(engine.pid(), item);
        (pids.len() == count).then_some(pids)
    })
}

/// A process that is not this one.
#[track_caller]
fn successor(engine: &Engine<'_>, item: &str, of: u32) -> u32 {
    eventually(&format!("{item} has a new process"), || {
        let pids = proc::workers(engine.pid(), item);
        pids.into_iter().find(|pid| *pid != of)
    })
}

/// Three deaths of the router's process under load: the sender's connection, the other items and
/// their processes never notice, and each message arrives once and in order.
#[test]
fn item_1_1_an_item_is_a_process_of_its_own_whose_death_harms_no_other() {
    let (place, epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    let items = format!(
        "{IN}{}{}  - {{name: Sink, class: DiscardOperation, host: {{ExecutionMode: multiprocess}}}}\n",
        router(OWN, "EPR, Sink"),
        sends("EPR", epr.addr(), "", "")
    );
    let engine = place.start(&production(&items));
    let (first, sink) = (
        workers(&engine, "Router", 1)[0],
        workers(&engine, "Sink", 1)[0],
    );
    assert!(first != sink && first != engine.pid());
    assert!(
        proc::workers(engine.pid(), "EPR").is_empty(),
        "an async item has no process"
    );
    let load = Load::on(engine.address("In"));
    let mut router = first;
    for death in 1..=3 {
        engine.wait_for("EPR", "completed", death * 10);
        kill(router);
        router = successor(&engine, "Router", router);
    }
    engine.wait_for("EPR", "completed", 40);
    let sent = load.end();
    epr.wait_for(sent as u64);
    engine.wait_for("EPR", "completed", sent as u64);
    engine.wait_for("Sink", "discarded", sent as u64);
    assert_eq!(
        epr.inner.log(),
        ids(sent),
        "nothing lost, nothing out of order"
    );
    assert_eq!(
        epr.inner.summary().duplicates,
        0,
        "one record says that it was sent on"
    );
    assert_eq!(
        proc::workers(engine.pid(), "Sink"),
        [sink],
        "another item's process"
    );
    assert_eq!(engine.stop(), 0);
}

/// Three processes, each with a connection of its own and a message in hand at the same time.
#[test]
fn item_1_2_an_item_has_as_many_processes_as_it_is_told() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.set(Behaviour::of(Answer::Silence));
    let out = sends("EPR", epr.addr(), "", &format!("{OWN}, WorkerCount: 3"));
    let engine = place.start(&production(&format!("{IN}{}{out}", router("", "EPR"))));
    let pids = workers(&engine, "EPR", 3);
    admit(&mut Mllp::connect(engine.address("In")), 0..9);
    epr.wait_for(3); // none is answered
    for pid in &pids {
        assert_eq!(proc::connections(*pid, epr.addr().port()), 1, "{pids:?}");
    }
    assert_eq!(
        epr.inner.summary().distinct,
        3,
        "a process has one message in hand"
    );
    release(&mut epr);
    engine.wait_for("EPR", "completed", 9);
    assert_eq!(workers(&engine, "EPR", 3), pids);
    assert_eq!(engine.stop(), 0);
    let left = pids
        .iter()
        .filter(|pid| std::path::Path::new(&format!("/proc/{pid}/exe")).exists());
    assert_eq!(left.count(), 0, "no process stays behind");
}

/// Two processes with three jobs each: six messages in hand at once, three connections and three
/// threads with the item's name in each process. In Python, code that blocks holds up its thread alone.
#[test]
fn item_1_3_a_process_has_threads() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.set(Behaviour::of(Answer::Silence));
    let out = sends(
        "EPR",
        epr.addr(),
        "\n    pool_size: 3",
        &format!("{OWN}, WorkerCount: 2"),
    );
    let engine = place.start(&production(&format!("{IN}{}{out}", router("", "EPR"))));
    admit(&mut Mllp::connect(engine.address("In")), 0..12);
    epr.wait_for(6);
    for pid in workers(&engine, "EPR", 2) {
        assert_eq!(proc::connections(pid, epr.addr().port()), 3);
        assert_eq!(
            proc::threads_named(pid, "EPR"),
            3,
            "{:?}",
            proc::threads(pid)
        );
    }
    assert_eq!(epr.inner.summary().distinct, 6, "twice three jobs");
    release(&mut epr);
    engine.wait_for("EPR", "completed", 12);
    assert_eq!(engine.stop(), 0);
    if python() {
        blocking_python_jobs_share_one_process();
    }
}

const BLOCKING: &str = r#"
import os, pathlib, threading, time
from hie import BusinessOperation, Setting

class Blocking(BusinessOperation):
    """Says on which thread it is, and blocks it until it may go on."""

    folder: str = Setting(type="path", name="Folder", doc="Where it leaves its marks.")

    def on_message(self, message):
        folder = pathlib.Path(self.folder)
        mark = folder / f"{os.getpid()}-{threading.get_native_id()}-{message['MSH-10']}"
        mark.write_text("")
        while not (folder / "go").exists():
            time.sleep(0.005)
"#;

fn blocking_python_jobs_share_one_process() {
    let place = Place::new();
    for folder in ["python/custom/test", "marks"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    place.write("python/custom/test/blocking.py", BLOCKING);
    let items = format!(
        "{IN}{}
  - name: Blocking
    class: custom.test.blocking.Blocking
    pool_size: 3
    host: {{ExecutionMode: multiprocess, Folder: @/marks}}
",
        router("", "Blocking")
    );
    let python = format!("  PythonPath: @/python, {}\nitems:", python_path());
    let engine = place.start(&production(&items).replace("items:", &python));
    let pid = workers(&engine, "Blocking", 1)[0];
    admit(&mut Mllp::connect(engine.address("In")), 0..5);
    let marks = || -> Vec<Vec<String>> {
        let entries = std::fs::read_dir(place.path("marks")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let split = |name: String| name.split('-').map(str::to_owned).collect();
        names.filter(|name| name != "go").map(split).collect()
    };
    let blocked = eventually("three jobs block", || {
        Some(marks()).filter(|marks| marks.len() == 3)
    });
    let mut threads: Vec<&String> = blocked.iter().map(|mark| &mark[1]).collect();
    threads.sort();
    threads.dedup();
    assert_eq!(threads.len(), 3, "each on a thread of its own: {blocked:?}");
    assert!(
        blocked.iter().all(|mark| mark[0] == pid.to_string()),
        "in one process: {blocked:?}"
    );
    place.write("marks/go", "");
    engine.wait_for("Blocking", "completed", 5);
    assert_eq!(marks().len(), 5);
    assert_eq!(engine.stop(), 0);
}

/// As many threads as `pool_size` says, named after the item, work on blocking code at once; one
/// more message waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn item_1_4_a_thread_pool_has_the_size_it_is_told() {
    for (size, item) in [(1, "Pool14a"), (3, "Pool14b"), (6, "Pool14c")] {
        let (folder, barrier) = (tempfile::tempdir().unwrap(), Barrier::default());
        let shut = barrier.clone();
        plays(item, move |ctx, _| {
            let thread = std::thread::current();
            note(ctx.name(), format!("on {}", thread.name().unwrap_or("?")));
            shut.block();
            Box::pin(async { Ok(Outcome::completed()) })
        });
        let production = stage(
            folder.path(),
            &format!(
                "  - {{name: In{item}, class: Door, host: {{TargetConfigNames: {item}}}}}
  - {{name: {item}, class: Player, pool_size: {size}, host: {{ExecutionMode: thread_pool}}}}"
            ),
        )
        .await;
        for nth in 0..=size {
            put(&format!("In{item}"), &format!("n{nth}")).await;
        }
        let on_threads = || {
            noted(item)
                .into_iter()
                .filter(|what| what.starts_with("on "))
                .count()
        };
        let begun = || {
            noted(item)
                .iter()
                .filter(|what| **what == format!("on {item}"))
                .count()
        };
        until("every thread is blocked", || begun() == size).await;
        let now = status(&production, item);
        assert_eq!(
            (now.queued, now.completed),
            (1, 0),
            "one waits for a thread"
        );
        assert_eq!(proc::threads_named(std::process::id(), item), size);
        barrier.open();
        until("all are done", || {
            status(&production, item).completed == size as u64 + 1
        })
        .await;
        assert_eq!(
            (begun(), on_threads()),
            (size + 1, size + 1),
            "all on its threads"
        );
        production.stop().await;
        until("the threads are gone", || {
            proc::threads_named(std::process::id(), item) == 0
        })
        .await;
    }
}

/// The same production in each mode: delivered in order each time, by tasks, named threads, worker
/// processes, or one thread.
#[test]
fn item_1_5_every_mode_works_and_runs_where_it_says() {
    for (mode, threads, processes) in [
        ("async", 0, 0),
        ("thread_pool", 1, 0),
        ("single_process", 1, 0),
        ("multiprocess", 0, 1),
        ("multi_process", 0, 1), // as the design's environment variable writes it
    ] {
        let (place, epr) = (Place::new(), Receiver::start());
        epr.inner.keep_log();
        let mode_of = format!(", ExecutionMode: {mode}");
        let out = sends("EPR", epr.addr(), "", &mode_of);
        let engine = place.start(&production(&format!(
            "{IN}{}{out}",
            router(&mode_of, "EPR")
        )));
        for item in ["Router", "EPR"] {
            let named = proc::threads_named(engine.pid(), item);
            assert_eq!(named, threads, "{mode}: {:?}", proc::threads(engine.pid()));
            workers(&engine, item, processes);
        }
        admit(&mut Mllp::connect(engine.address("In")), 0..20);
        engine.wait_for("EPR", "completed", 20);
        assert_eq!(epr.inner.log(), ids(20), "{mode}");
        assert_eq!(engine.stop(), 0);
    }
}

/// From one process to another over a queue that outlives both and the engine.
#[test]
fn item_1_6_the_queue_between_processes_outlives_them() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    epr.down();
    let out = sends("EPR", epr.addr(), "", OWN);
    let config = production(&format!("{IN}{}{out}", router(OWN, "EPR")));
    let engine = place.start(&config);
    let (router, out) = (
        workers(&engine, "Router", 1)[0],
        workers(&engine, "EPR", 1)[0],
    );
    assert_ne!(router, out);
    admit(&mut Mllp::connect(engine.address("In")), 0..50);
    engine.wait_for("Router", "completed", 50);
    kill(out);
    kill(router);
    successor(&engine, "EPR", out);
    let queues = place.hie(["queues", "--json"]).ok().rows();
    let ours = queues
        .iter()
        .find(|row| row["item"] == "EPR")
        .expect("its queue");
    assert_eq!(ours["queued"], 50);
    engine.kill();
    eventually("no process outlives the engine", || {
        proc::children(engine.pid()).is_empty().then_some(())
    });
    let engine = place.start(&config);
    epr.up();
    epr.wait_for(50);
    engine.wait_for("EPR", "completed", 50);
    assert_eq!(epr.inner.log(), ids(50));
    assert_eq!(engine.stop(), 0);
}

/// An operation's process is killed and frozen with a message in hand: another takes its place, and
/// the message is sent by that one before those behind it.
#[test]
fn item_1_7_a_process_that_dies_or_hangs_is_replaced() {
    let (place, mut epr) = (Place::new(), Receiver::start());
    epr.inner.keep_log();
    let out = sends(
        "EPR",
        epr.addr(),
        "",
        &format!("{OWN}, WorkerHeartbeat: 0.3"),
    );
    let engine = place.start(&production(&format!("{IN}{}{out}", router("", "EPR"))));
    let mut feed = Mllp::connect(engine.address("In"));
    let mut worker = workers(&engine, "EPR", 1)[0];
    for (round, end) in [Signal::KILL, Signal::STOP, Signal::ABORT]
        .into_iter()
        .enumerate()
    {
        epr.inner.set(Behaviour::of(Answer::Silence));
        admit(&mut feed, round * 10..round * 10 + 10);
        epr.wait_for(round as u64 * 10 + 1); // in hand, and not answered
        signal(worker, end);
        worker = successor(&engine, "EPR", worker);
        release(&mut epr);
        engine.wait_for("EPR", "completed", (round as u64 + 1) * 10);
    }
    assert_eq!(epr.inner.log(), ids(30));
    engine.wait_for("EPR", "restarts", 3);
    let rows = rows_when(&place, "all is told", |rows| rows.len() == 60);
    let repeated = for_item(&rows, "EPR")
        .into_iter()
        .filter(|row| row["possible_duplicate"] == true);
    assert!(
        repeated.count() >= 3,
        "what may have been sent twice is marked"
    );
    assert_eq!(engine.stop(), 0);
}
