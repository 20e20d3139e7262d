//! What the hot path costs: one record counted, written into the log, its ids and bodies told.
//!
//! `cargo bench -p hie-store`

use std::sync::Arc;

use divan::{Bencher, counter::ItemsCount};
use hie_journal::{MemoryLog, file::OsStorage};
use hie_store::{
    Content, ItemId, LegBody, Live, NewBody, NewLeg, NewMessage, Priority, State, Step, Store,
    StoreOptions,
};

fn main() {
    divan::main();
}

fn store() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder for the benchmark");
    let options = StoreOptions {
        index: false,
        ..StoreOptions::default()
    };
    let log = Arc::new(MemoryLog::with_limits(64 << 20, 1 << 20));
    let opened = Store::open_on(log, Arc::new(OsStorage), dir.path(), options, 0);
    (opened.expect("an empty store opens").0, dir)
}

fn leg(target: ItemId) -> NewLeg<'static> {
    let (priority, state) = (Priority::Normal, State::Queued);
    NewLeg {
        target,
        priority,
        state,
        reason: "",
        body: LegBody::Same,
    }
}

#[divan::bench(args = [700, 13_000])]
fn accept(bencher: Bencher<'_, '_>, bytes: usize) {
    let (store, _dir) = store();
    let (source, legs) = (store.item("ADT in"), [leg(store.item("Router"))]);
    let body = vec![b'x'; bytes];
    let message = NewMessage {
        time_ms: 1_750_000_000_000,
        source,
        origin: "10.0.0.1:50000",
        content: Content::Hl7v2,
        body: NewBody::Bytes(&body),
        resent_from: None,
        legs: &legs,
    };
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| store.accept(&message).map(|a| a.first_id));
}

#[divan::bench]
fn step(bencher: Bencher<'_, '_>) {
    let (store, _dir) = store();
    let [source, target] = ["Router", "EPR out"].map(|name| store.item(name));
    let header = Live {
        hops: 0,
        id: hie_store::MessageId(1),
        session: hie_store::SessionId(1),
        body: hie_store::BodyRef::default(),
        created_ms: 1_750_000_000_000,
        source,
        target,
        attempts: 0,
        priority: Priority::Normal,
        state: State::Queued,
        content: Content::Hl7v2,
        possible_duplicate: false,
    };
    let step = Step {
        answered: hie_store::Answered::Nobody,
        time_ms: 1_750_000_000_001,
        header: &header,
        state: State::Completed,
        attempts: 1,
        reason: "",
        note: "rule 1",
        reply: Some(b"MSH|^~\\&|EPR|TRUST|PAS|TRUST|20260101||ACK|1|P|2.4\rMSA|AA|1\r"),
        legs: &[],
    };
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| store.step(&step).map(|a| a.first_id));
}
