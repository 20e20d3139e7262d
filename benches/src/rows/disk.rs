//! What a delivered message takes on disk: log and index, over the bytes of the message itself.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use hie_store::Reader;

use super::flow::wait_drained;
use crate::{
    Bench, Fault,
    child::{Peer, send},
    engine::{COUNTED, Site},
    figure::Sample,
    peer::Sending,
    production,
};

/// Bytes of the message that is sent.
const MESSAGE_BYTES: f64 = 700.0;

/// Each message through the whole route, the index level, the engine stopped. Counted is the log
/// from its beginning to its end and the files of the index; the zeroes that stand ready behind the
/// end of the log are told beside it.
pub(super) fn run(bench: &Bench) -> Result<Sample, Fault> {
    let log = bench.folder("disk-log");
    let mut sink = Peer::start(&["sink", &log.to_string_lossy()])?;
    let to = sink.port()?;
    let site = Site::new(bench, "disk", |port| {
        production::routed(port, to, bench.router_pool, bench.operation_pool)
    })?;
    let engine = site.start()?;
    let sent = send(&Sending::closed(&site.addr(), 64).counting(bench.on_disk))?;
    wait_drained(&mut sink, sent.acked(), bench)?;
    engine.settle()?;
    engine.stop()?;
    let lost = site.lost(COUNTED, sent.acked())?;
    let (reader, _) = Reader::open_read_only(&site.data())?;
    let extent = reader.extent();
    let used = extent.end.0.saturating_sub(extent.first.0) as f64;
    let index = index_bytes(&site.data())? as f64;
    let allocated = allocated_bytes(&site.data())? as f64;
    let message_bytes = sent.acked() as f64 * MESSAGE_BYTES;
    Ok(Sample::new((used + index) / message_bytes)
        .with("log", used / message_bytes)
        .with("index", index / message_bytes)
        .with("with space made ready", allocated / message_bytes)
        .with("messages", sent.acked() as f64)
        .void_if(sent.fault())
        .void_if(lost))
}

fn index_bytes(folder: &Path) -> std::io::Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |sum, entry| {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with("index.db");
        Ok(sum + if ours { entry.metadata()?.len() } else { 0 })
    })
}

/// What the file system gave to all files of a folder.
fn allocated_bytes(folder: &Path) -> std::io::Result<u64> {
    fs::read_dir(folder)?.try_fold(0, |sum, entry| {
        let (entry, path) = entry.map(|entry| (entry.metadata(), entry.path()))?;
        let entry = entry?;
        let inside = if entry.is_dir() {
            allocated_bytes(&path)?
        } else {
            0
        };
        Ok(sum + inside + entry.blocks() * 512)
    })
}
