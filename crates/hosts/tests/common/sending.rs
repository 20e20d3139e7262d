//! A service before an operation, as the tests of the operation use them.

use hie_load::receiver::Receiver;
use hie_store::{HeaderRow, State};

use super::{
    Place, Running,
    peers::{Line, adt, operation, service},
};

/// `In` to `Out`, which sends to this port.
pub(crate) async fn sending_to(place: &Place, port: u16, adapter: &str, host: &str) -> Running {
    let items = service("", "") + &operation(port, adapter, host);
    place.start(&items).await
}

/// Lets messages with these control ids in.
pub(crate) async fn let_in(running: &Running, names: &[&str]) {
    let mut sender = Line::to(&running.address("In")).await;
    for name in names {
        assert_eq!(sender.code(adt(name)).await, "AA");
    }
}

pub(crate) fn states(rows: &[HeaderRow]) -> Vec<State> {
    rows.iter().map(|row| row.state).collect()
}

pub(crate) async fn receiver() -> Receiver {
    Receiver::start("127.0.0.1:0").await.unwrap()
}

/// The trace of a message's session, as `hie trace` shows it.
pub(crate) fn trace(running: &Running, row: &HeaderRow) -> Vec<HeaderRow> {
    running.0.broker.store.session(row.session).unwrap()
}
