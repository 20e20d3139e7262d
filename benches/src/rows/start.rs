//! From the start of the process to the first ACK, on an empty store and on a full one.

use std::time::Instant;

use crate::{Bench, Fault, child::send, engine::Site, figure::Sample, peer::Sending, production};

/// A small message: what is stored, not how large it is, is what a start may have to look at.
const SMALL: &str = "MSH|^~\\&|PAS|RXH|EPR|RXH|20260314||ADT^A08|ID|P|2.4\rPID|1||4857731^^^RXH^MR||DOE^J||19570823|F\r";

/// A store that was filled once for all runs of the row.
pub(crate) struct Stored {
    site: Site,
    messages: u64,
    fill_per_second: f64,
}

fn first_ack(site: &Site) -> Result<f64, Fault> {
    let frame = super::flow::frame();
    let began = Instant::now();
    let mut engine = site.launch()?;
    let first = engine.first_ack(began, &frame)?;
    engine.settle()?;
    engine.stop()?;
    Ok(first.as_secs_f64())
}

/// Nothing stored: the first start makes the store.
pub(super) fn empty(bench: &Bench) -> Result<Sample, Fault> {
    let site = Site::new(bench, "start-empty", |port| {
        production::discarding(port, 64)
    })?;
    let first = first_ack(&site)?;
    Ok(Sample::new(first).with("second start s", first_ack(&site)?))
}

/// Many finished messages stored, stopped gracefully before. Also told: after a kill.
pub(super) fn stored(bench: &mut Bench) -> Result<Sample, Fault> {
    let stored = match bench.stored_site.take() {
        Some(stored) => stored,
        None => fill(bench)?,
    };
    let sample = Sample::new(first_ack(&stored.site)?);
    drop(stored.site.start()?); // killed
    let sample = sample
        .with("after a kill s", first_ack(&stored.site)?)
        .with("messages stored", stored.messages as f64)
        .with("ACKs/s while filling", stored.fill_per_second);
    let few = stored.messages < 10_000_000;
    let short = few.then(|| format!("a short run: {} messages of 10 M", stored.messages));
    bench.stored_site = Some(stored);
    Ok(sample.void_if(short))
}

fn fill(bench: &Bench) -> Result<Stored, Fault> {
    eprintln!("  filling a store with {} small messages", bench.stored);
    let site = Site::new(bench, "start-stored", |port| {
        production::discarding(port, 64)
    })?;
    let engine = site.start()?;
    let mut sending = Sending::closed(&site.addr(), 64).counting(bench.stored);
    sending.template = Some(SMALL.to_owned());
    let sent = send(&sending)?;
    engine.settle()?;
    engine.stop()?;
    if let Some(fault) = site
        .lost(production::TARGET, sent.acked())?
        .or_else(|| sent.fault())
    {
        return Err(fault.into());
    }
    Ok(Stored {
        messages: sent.acked(),
        fill_per_second: sent.per_second,
        site,
    })
}
