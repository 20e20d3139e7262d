//! The places of a queue: figures and threads. Every order of events is tried in `tests/loom`.

use std::{cell::Cell, sync::Arc, thread};

use super::room::Room;

#[test]
fn many_who_ask_at_once_never_go_beyond_the_limit() {
    let room = Arc::new(Room::new(10));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let room = room.clone();
            thread::spawn(move || {
                let mut had = 0;
                for _ in 0..2000 {
                    if room.try_take(1) {
                        assert!(room.taken() <= 10);
                        had += 1;
                        room.give(1, || ());
                    }
                }
                had
            })
        })
        .collect();
    let had: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert!(had > 0);
    assert_eq!(room.taken(), 0);
}

#[test]
fn more_than_the_limit_fits_into_an_empty_queue_only() {
    let room = Room::new(2);
    assert!(room.try_take(5));
    assert!(!room.try_take(1));
    room.give(4, || ());
    assert!(room.try_take(1) && !room.try_take(1));
    room.force(1);
    let rings = Cell::new(0);
    let ring = || rings.set(rings.get() + 1);
    room.give(1, ring);
    assert_eq!(rings.get(), 0, "full to the limit");
    room.give(2, ring);
    assert_eq!(rings.get(), 2);
}
