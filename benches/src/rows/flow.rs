//! Messages in flow: the ACK rate, the full route, one connection, and the latency at a given rate.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hie_load::message::{Kind, Template};

use crate::{
    Bench, Fault,
    child::{Peer, Sent, send},
    engine::{COUNTED, Site},
    figure::Sample,
    peer::Sending,
    probe::{self, Pace},
    procfs::Threads,
    production,
};

/// Jobs of the target behind the ACK path: enough that its queue does not grow.
const DISCARD_POOL: usize = 64;
/// The rate of the latency row, messages a second.
const RATE: f64 = 2000.0;
/// Connections of the load.
const CONNECTIONS: usize = 64;

/// An echo in a process of its own, under this load.
fn echo(
    bench: &Bench,
    spec: impl FnOnce(Sending) -> Sending,
    connections: usize,
) -> Result<Sent, Fault> {
    let null = Peer::start(&["null"])?;
    let sending = Sending::closed(&null.said, connections).lasting(bench.warmup, bench.seconds);
    send(&spec(sending))
}

/// What a run of durable ACKs gave.
struct Durable {
    sent: Sent,
    /// How long index and queue went on after the last ACK.
    level_after: Duration,
    cpu: Threads,
    fault: Option<String>,
}

/// Service → discard under this load; checked against the store when it has stopped.
fn durable(
    bench: &Bench,
    spec: impl FnOnce(Sending) -> Sending,
    connections: usize,
) -> Result<Durable, Fault> {
    let site = Site::new(bench, "flow", |port| {
        production::discarding(port, DISCARD_POOL)
    })?;
    let engine = site.start()?;
    let sending = Sending::closed(&site.addr(), connections).lasting(bench.warmup, bench.seconds);
    let sent = send(&spec(sending))?;
    let level_after = engine.settle()?;
    let cpu = Threads::of(engine.pid())?;
    engine.stop()?;
    let lost = site.lost(COUNTED, sent.acked())?;
    let fault = lost.or_else(|| sent.fault());
    Ok(Durable {
        sent,
        level_after,
        cpu,
        fault,
    })
}

/// Rate of durable ACKs over the rate of an echo.
pub(crate) fn ack(bench: &Bench) -> Result<Sample, Fault> {
    let base = echo(bench, |sending| sending, CONNECTIONS)?;
    let Durable {
        sent,
        level_after,
        cpu,
        fault,
    } = durable(bench, |sending| sending, CONNECTIONS)?;
    Ok(Sample::new(sent.per_second / base.per_second)
        .with("ACKs/s", sent.per_second)
        .with("echo/s", base.per_second)
        .with("ACK p50 ms", sent.latency_us.p50 / 1e3)
        .with("ACK p99 ms", sent.latency_us.p99 / 1e3)
        .with("index and queue level after s", level_after.as_secs_f64())
        .with_cpu(&cpu, sent.acked())
        .void_if(base.fault())
        .void_if(fault))
}

/// Rate of deliveries through service, router and operation over the rate of a null proxy.
pub(crate) fn route(bench: &Bench) -> Result<Sample, Fault> {
    let base = proxied(bench)?;
    let folder = bench.folder("route-logs");
    fs::create_dir_all(&folder)?;
    let (acked_log, sink_log) = (folder.join("acked"), folder.join("delivered"));
    let mut sink = Peer::start(&["sink", &sink_log.to_string_lossy()])?;
    let to = sink.port()?;
    let site = Site::new(bench, "route", |port| {
        production::routed(port, to, bench.router_pool, bench.operation_pool)
    })?;
    let engine = site.start()?;
    let mut sending =
        Sending::closed(&site.addr(), CONNECTIONS).lasting(bench.warmup, bench.seconds);
    sending.acked_log = Some(acked_log.clone());
    let (sent, rate) = thread::scope(|scope| {
        let sender = scope.spawn(|| send(&sending));
        let rate = delivery_rate(bench, &mut sink);
        let sent = sender.join().map_err(|_| "the sender's thread died")?;
        Ok::<_, Fault>((sent?, rate?))
    })?;
    let backlog = sent.acked() as f64 - delivered(&mut sink, "count")?;
    let began = Instant::now();
    wait_drained(&mut sink, sent.acked(), bench)?;
    let drained = began.elapsed().as_secs_f64();
    delivered(&mut sink, "log")?;
    engine.settle()?;
    let cpu = Threads::of(engine.pid())?;
    engine.stop()?;
    let lost = missing(&acked_log, &sink_log)?;
    fs::remove_dir_all(&folder)?;
    Ok(Sample::new(rate / base.per_second)
        .with("delivered/s", rate)
        .with("ACKs/s meanwhile", sent.per_second)
        .with("null proxy/s", base.per_second)
        .with("queued at the end", backlog)
        .with("drained after s", drained)
        .with_cpu(&cpu, sent.acked())
        .void_if(base.fault())
        .void_if(sent.fault())
        .void_if((lost > 0).then(|| format!("{lost} acknowledged messages were not delivered"))))
}

fn proxied(bench: &Bench) -> Result<Sent, Fault> {
    let null = Peer::start(&["null"])?;
    let proxy = Peer::start(&["proxy", &null.said])?;
    send(&Sending::closed(&proxy.said, CONNECTIONS).lasting(bench.warmup, bench.seconds))
}

/// Deliveries a second between warm-up and end, while the senders send.
fn delivery_rate(bench: &Bench, sink: &mut Peer) -> Result<f64, Fault> {
    thread::sleep(bench.warmup);
    let (before, began) = (delivered(sink, "count")?, Instant::now());
    thread::sleep(bench.seconds);
    let after = delivered(sink, "count")?;
    Ok((after - before) / began.elapsed().as_secs_f64())
}

/// Distinct messages that the receiver has.
fn delivered(sink: &mut Peer, question: &str) -> Result<f64, Fault> {
    let summary: serde_json::Value = serde_json::from_str(&sink.ask(question)?)?;
    summary["distinct"]
        .as_f64()
        .ok_or_else(|| "the receiver did not count".into())
}

/// Waits until everything acknowledged has arrived, or nothing has come for a while: then the
/// comparison of the logs says what is missing.
pub(super) fn wait_drained(sink: &mut Peer, acked: u64, bench: &Bench) -> Result<(), Fault> {
    let (mut last, mut moved) = (-1.0, Instant::now());
    loop {
        let now = delivered(sink, "count")?;
        if now >= acked as f64 || moved.elapsed() > bench.patience {
            return Ok(());
        }
        if now > last {
            (last, moved) = (now, Instant::now());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Control IDs in the one log and not in the other.
fn missing(acked: &Path, delivered: &Path) -> Result<usize, Fault> {
    let (acked, delivered) = (fs::read_to_string(acked)?, fs::read_to_string(delivered)?);
    let delivered: HashSet<&str> = delivered.lines().collect();
    Ok(acked.lines().filter(|id| !delivered.contains(id)).count())
}

/// One stop-and-wait connection against what echo and disk allow.
pub(crate) fn single(bench: &Bench) -> Result<Sample, Fault> {
    let null = Peer::start(&["null"])?;
    let base = send(&Sending::closed(&null.said, 1).lasting(bench.warmup, bench.seconds))?;
    let frame = frame();
    let pace = Pace::Echo {
        addr: &null.said,
        frame: &frame,
    };
    let syncs = probe::syncs(&bench.work, &pace, bench.seconds)?;
    let (sync, sync_p50_us) = (syncs.mean(), syncs.percentile(50).as_secs_f64() * 1e6);
    drop(null);
    let Durable {
        sent, cpu, fault, ..
    } = durable(bench, |sending| sending, 1)?;
    let ideal = 1.0 / (1.0 / base.per_second + sync.as_secs_f64());
    let share = sent.per_second / ideal;
    // Nothing is faster than its own disk: then something else held the probe up.
    let noisy =
        (share > 1.05).then(|| "the baseline was disturbed: run it on a quiet machine".to_owned());
    Ok(Sample::new(share)
        .with("ACKs/s", sent.per_second)
        .with("round trips/s", base.per_second)
        .with("fdatasync mean µs", sync.as_secs_f64() * 1e6)
        .with("ideal/s", ideal)
        .with("ACK p50 µs", sent.latency_us.p50)
        .with("round trip p50 µs", base.latency_us.p50)
        .with("fdatasync p50 µs", sync_p50_us)
        .void_if(noisy)
        .with_cpu(&cpu, sent.acked())
        .void_if(base.fault())
        .void_if(fault))
}

/// The slow hundredth at a rate that the engine carries easily.
pub(crate) fn p99(bench: &Bench) -> Result<Sample, Fault> {
    let base = echo(bench, |sending| sending.paced(RATE), CONNECTIONS)?;
    let sync = probe::syncs(&bench.work, &Pace::Rate(RATE), bench.seconds)?.percentile(99);
    let Durable {
        sent, cpu, fault, ..
    } = durable(bench, |sending| sending.paced(RATE), CONNECTIONS)?;
    let sync_us = sync.as_secs_f64() * 1e6;
    Ok(
        Sample::new(sent.latency_us.p99 / (base.latency_us.p99 + sync_us))
            .with("ACK p99 µs", sent.latency_us.p99)
            .with("echo p99 µs", base.latency_us.p99)
            .with("fdatasync p99 µs", sync_us)
            .with("ACK p50 µs", sent.latency_us.p50)
            .with("ACK max µs", sent.latency_us.max)
            .with_cpu(&cpu, sent.acked())
            .void_if(base.fault())
            .void_if(fault),
    )
}

/// The 700-byte admission on the wire.
pub(super) fn frame() -> Vec<u8> {
    let mut frame = vec![0x0b];
    Template::fixed(Kind::Adt, 700).write(&mut frame, b"BENCH0000N000000001", 0);
    frame.extend([0x1c, b'\r']);
    frame
}
