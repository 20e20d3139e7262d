//! The simulated receivers EPR, RIS and Warehouse-Live, and the folder that stands for the fourth.
//!
//! Owns their being up or down, what they answer, and what arrived at them.

use std::{fs, io, path::Path};

use hie_load::{
    ledger::{Received, Verdict},
    receiver::{Behaviour, Receiver},
    wire::msh_field,
};

use super::{books::Books, letters::Destination, script::RECEIVERS};
use crate::exit::Failure;

/// One receiver.
pub(crate) struct Site {
    pub(crate) destination: Destination,
    /// Whether it answers AE instead of AA.
    pub(crate) answers_error: bool,
    receiver: Receiver,
}

impl Site {
    /// `up`, `down`, or `answers AE`.
    pub(crate) fn word(&self) -> &'static str {
        match (self.receiver.is_up(), self.answers_error) {
            (false, _) => "down",
            (true, true) => "answers-AE",
            (true, false) => "up",
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.receiver.is_up()
    }

    /// Takes it down or brings it back, on the same port.
    pub(crate) async fn set_up(&mut self, up: bool) -> Result<(), Failure> {
        let done = if up {
            self.receiver.up().await
        } else {
            self.receiver.down().await
        };
        done.map_err(|error| {
            let (name, doing) = (
                self.destination.name(),
                if up { "come back" } else { "stop" },
            );
            Failure::new(
                "demo",
                format!("the simulated receiver {name} cannot {doing}: {error}"),
            )
        })
    }

    /// Lets it answer AE from the next message on, or AA again.
    pub(crate) fn set_error(&mut self, error: bool) {
        self.answers_error = error;
        self.receiver
            .set(Behaviour::code(if error { "AE" } else { "AA" }));
    }

    /// What arrived against what was sent.
    pub(crate) fn verdict(&self, books: &Books) -> Verdict {
        books.judged(self.destination, |sent| self.receiver.verdict(sent))
    }
}

/// All three, in the order of [`RECEIVERS`].
pub(crate) struct Sites(pub(crate) Vec<Site>);

impl Sites {
    /// Starts them on free ports of this machine.
    pub(crate) async fn start() -> Result<Self, Failure> {
        let mut sites = Vec::new();
        for destination in RECEIVERS {
            let receiver = Receiver::start("127.0.0.1:0").await.map_err(|error| {
                let name = destination.name();
                Failure::new(
                    "cannot-listen",
                    format!("the simulated receiver {name} cannot listen on 127.0.0.1: {error}"),
                )
            })?;
            sites.push(Site {
                destination,
                answers_error: false,
                receiver,
            });
        }
        Ok(Self(sites))
    }

    /// The port of a receiver; none for the folder.
    pub(crate) fn port(&self, destination: Destination) -> Option<u16> {
        let site = self.0.iter().find(|site| site.destination == destination)?;
        Some(site.receiver.addr().port())
    }

    /// The verdicts on all of them.
    pub(crate) fn verdicts(&self, books: &Books) -> Vec<(Destination, Verdict)> {
        self.0
            .iter()
            .map(|site| (site.destination, site.verdict(books)))
            .collect()
    }
}

/// What the file operation wrote, against what it was to write. A folder has no order, so nothing
/// is said of it.
pub(crate) fn folder_verdict(folder: &Path, books: &Books) -> io::Result<Verdict> {
    let mut received = Received::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "hl7") {
            let body = fs::read(&path)?;
            received.enter(msh_field(&body, 10).unwrap_or_default(), &body);
        }
    }
    let verdict = books.judged(Destination::WarehouseFile, |sent| received.verdict(sent));
    Ok(Verdict {
        inversions: 0,
        ..verdict
    })
}
