//! The demo's account: what was sent and acknowledged, for each destination apart.
//!
//! Kept by the senders, compared with what the receivers and the folder hold. The engine has no
//! part in it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use hie_load::ledger::{Fate, Sent};

use super::letters::{Destination, Letter};

/// See the module.
#[derive(Default)]
pub(crate) struct Books {
    /// In the order of [`Destination::ALL`].
    sent: Mutex<[Sent; Destination::ALL.len()]>,
    totals: [AtomicU64; 3],
}

/// Messages so far, each counted once however many destinations it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    /// Answered AA, or their file archived.
    pub(crate) acked: u64,
    /// Answered AE or AR.
    pub(crate) refused: u64,
}

impl Books {
    /// Notes that a message goes out, before it does.
    pub(crate) fn sent(&self, letter: &Letter) {
        self.add(0);
        self.enter(letter, |sent| sent.sent(&letter.control_id, &letter.body));
    }

    /// Notes the engine's answer.
    pub(crate) fn answered(&self, letter: &Letter, fate: Fate) {
        match fate {
            Fate::Acked => self.add(1),
            Fate::Refused => self.add(2),
            Fate::Unsent | Fate::Unanswered => {}
        }
        self.enter(letter, |sent| sent.answered(&letter.control_id, fate));
    }

    /// Notes that a message was taken back before the engine had it: as if it was never sent.
    pub(crate) fn withdrawn(&self, letter: &Letter) {
        let [sent, ..] = &self.totals;
        sent.fetch_sub(1, Ordering::Relaxed);
        self.enter(letter, |sent| {
            sent.answered(&letter.control_id, Fate::Unsent)
        });
    }

    /// What was sent to one destination, compared by `judge`.
    pub(crate) fn judged<T>(&self, destination: Destination, judge: impl FnOnce(&Sent) -> T) -> T {
        let [epr, ris, live, file] = &*self.sent_to();
        judge(match destination {
            Destination::Epr => epr,
            Destination::Ris => ris,
            Destination::WarehouseLive => live,
            Destination::WarehouseFile => file,
        })
    }

    /// The totals so far.
    pub(crate) fn totals(&self) -> Totals {
        let [sent, acked, refused] = &self.totals;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            sent: load(sent),
            acked: load(acked),
            refused: load(refused),
        }
    }

    fn enter(&self, letter: &Letter, mut note: impl FnMut(&mut Sent)) {
        for (destination, sent) in Destination::ALL.iter().zip(self.sent_to().iter_mut()) {
            if letter.to.contains(destination) {
                note(sent);
            }
        }
    }

    fn add(&self, which: usize) {
        if let Some(counter) = self.totals.get(which) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sent_to(&self) -> MutexGuard<'_, [Sent; Destination::ALL.len()]> {
        // A panic of another holder leaves figures that are still figures.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hie_load::ledger::Received;

    use super::*;
    use crate::demo::letters::{Letters, Source};

    #[test]
    fn what_was_acknowledged_and_did_not_arrive_is_lost_to_its_destination_alone() {
        let books = Books::default();
        let mut orders = Letters::new(Source::Orders, "RUN1");
        for fate in [Fate::Acked, Fate::Refused, Fate::Unanswered] {
            let letter = orders.next();
            books.sent(&letter);
            books.answered(&letter, fate);
        }
        assert_eq!(
            books.totals(),
            Totals {
                sent: 3,
                acked: 1,
                refused: 1
            }
        );
        let lost =
            |destination| books.judged(destination, |sent| Received::default().verdict(sent).lost);
        assert_eq!(Destination::ALL.map(lost), [0, 1, 0, 0]);
        let taken_back = orders.next();
        books.sent(&taken_back);
        books.withdrawn(&taken_back);
        let sent = books.judged(Destination::Ris, |sent| {
            Received::default().verdict(sent).sent
        });
        assert_eq!((sent, books.totals().sent), (3, 3));
    }
}
