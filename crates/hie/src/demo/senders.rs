//! The simulated senders: two feeds over MLLP at a rate that can be changed, and a system that
//! drops files now and then.
//!
//! Owns their connections and their pace. Open loop: a message is due when it is due, however slow
//! the engine; what cannot go out in time is caught up.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hie_load::{ledger::Fate, wire::parse_ack};
use hie_mllp::{FrameReader, FrameWriter, Framing};
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    books::Books,
    letters::{Letter, Letters},
};

/// The slowest and the fastest that the demo goes, messages a second.
pub(crate) const RATES: std::ops::RangeInclusive<u32> = 1..=2_000;

const RECONNECT_EVERY: Duration = Duration::from_millis(200);
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an unanswered message is sent again after the demo was told to end.
const LAST_TRIES: u32 = 25;

const FILE_EVERY: Duration = Duration::from_secs(10);
const ORDERS_A_FILE: usize = 3;
/// How often the drop folder's archive is looked at.
const ARCHIVE_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Messages a second over both feeds.
pub(crate) struct Pace(AtomicU32);

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Self(AtomicU32::new(clamped(per_second)))
    }

    pub(crate) fn per_second(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, per_second: u32) {
        self.0.store(clamped(per_second), Ordering::Relaxed);
    }
}

fn clamped(per_second: u32) -> u32 {
    per_second.clamp(*RATES.start(), *RATES.end())
}

/// One sender over MLLP.
pub(crate) struct Feed {
    /// Where the engine listens for it.
    pub(crate) address: String,
    pub(crate) letters: Letters,
    /// Its part of the pace, above 0, at most 1.
    pub(crate) share: f64,
    pub(crate) pace: Arc<Pace>,
    pub(crate) books: Arc<Books>,
    pub(crate) stop: CancellationToken,
}

type Line = (FrameReader<OwnedReadHalf>, FrameWriter<OwnedWriteHalf>);

impl Feed {
    /// Sends until stopped; the message in hand gets its answer first.
    pub(crate) async fn run(mut self) {
        let mut due = Instant::now();
        let mut line = None;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
            }
            due += Duration::from_secs_f64(1.0 / (f64::from(self.pace.per_second()) * self.share));
            let letter = self.letters.next();
            self.books.sent(&letter);
            self.deliver(&mut line, &letter).await;
        }
    }

    /// Sends the message until there is an answer to it. The control ID stays the same, as a real
    /// sender's does.
    async fn deliver(&self, line: &mut Option<Line>, letter: &Letter) {
        let mut tries_left = LAST_TRIES;
        while tries_left > 0 {
            match self.exchange(line, letter).await {
                Some(fate) => return self.books.answered(letter, fate),
                None => *line = None,
            }
            tries_left -= u32::from(self.stop.is_cancelled());
            tokio::time::sleep(RECONNECT_EVERY).await;
        }
    }

    /// One try; nothing when there was no answer, or the answer to another message.
    async fn exchange(&self, line: &mut Option<Line>, letter: &Letter) -> Option<Fate> {
        if line.is_none() {
            let stream = TcpStream::connect(&self.address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let (input, output) = stream.into_split();
            *line = Some((
                FrameReader::new(input, Framing::MLLP),
                FrameWriter::new(output, Framing::MLLP),
            ));
        }
        let (reader, writer) = line.as_mut()?;
        writer.send(&letter.body).await.ok()?;
        let answer = tokio::time::timeout(ACK_TIMEOUT, reader.next())
            .await
            .ok()?
            .ok()??;
        let ack = parse_ack(&answer).filter(|ack| ack.control_id == letter.control_id)?;
        Some(if ack.is_positive() {
            Fate::Acked
        } else {
            Fate::Refused
        })
    }
}

/// The sender that can only write files.
pub(crate) struct FileDrop {
    pub(crate) folder: PathBuf,
    pub(crate) archive: PathBuf,
    pub(crate) letters: Letters,
    /// Names its files; no other run has it.
    pub(crate) run: String,
    pub(crate) books: Arc<Books>,
    pub(crate) stop: CancellationToken,
    /// Files written so far.
    pub(crate) written: u32,
    /// Files that the engine has not archived yet, as their places in the archive.
    pub(crate) dropped: VecDeque<(PathBuf, Vec<Letter>)>,
    /// How many those are, for others to see.
    pub(crate) waiting: Arc<AtomicUsize>,
}

impl FileDrop {
    /// Drops one file.
    pub(crate) async fn drop_one(&mut self) {
        let name = format!("maternity-{}-{:04}.hl7", self.run, self.written);
        self.written += 1;
        let orders: Vec<Letter> = (0..ORDERS_A_FILE).map(|_| self.letters.next()).collect();
        orders.iter().for_each(|order| self.books.sent(order));
        match place(&self.folder, &name, &orders).await {
            Ok(()) => self.dropped.push_back((self.archive.join(&name), orders)),
            Err(error) => tracing::warn!(%error, "the demo cannot write into the drop folder"),
        }
        self.waiting.store(self.dropped.len(), Ordering::Relaxed);
    }

    /// Drops files until stopped, then waits until the engine is done with those it has claimed;
    /// ends when aborted at the latest.
    pub(crate) async fn run(mut self) {
        let mut due = Instant::now() + FILE_EVERY;
        while !self.stop.is_cancelled() {
            if Instant::now() >= due {
                self.drop_one().await;
                due += FILE_EVERY;
            }
            self.settle().await;
        }
        self.withdraw().await;
        while !self.dropped.is_empty() {
            self.settle().await;
        }
    }

    /// Takes back what the engine has not claimed yet, so that nobody waits for its next look at
    /// the folder. Both sides rename, so exactly one of them has the file; what is taken back was
    /// never acknowledged.
    async fn withdraw(&mut self) {
        for (archived, orders) in std::mem::take(&mut self.dropped) {
            let name = archived.file_name().unwrap_or_default();
            let back = self.folder.join(name).with_extension("withdrawn");
            match tokio::fs::rename(self.folder.join(name), back).await {
                Ok(()) => orders.iter().for_each(|order| self.books.withdrawn(order)),
                Err(_) => self.dropped.push_back((archived, orders)),
            }
        }
        self.waiting.store(self.dropped.len(), Ordering::Relaxed);
    }

    /// A file in the archive is the engine's word that all its messages are durable.
    async fn settle(&mut self) {
        if let Some((archived, orders)) = self.dropped.front()
            && tokio::fs::try_exists(archived).await.unwrap_or(false)
        {
            orders
                .iter()
                .for_each(|order| self.books.answered(order, Fate::Acked));
            self.dropped.pop_front();
        }
        self.waiting.store(self.dropped.len(), Ordering::Relaxed);
        tokio::time::sleep(ARCHIVE_LOOK_EVERY).await;
    }
}

/// Writes under a name that the engine does not take, then renames: it never sees half a file.
async fn place(folder: &Path, name: &str, letters: &[Letter]) -> io::Result<()> {
    let bytes: Vec<u8> = letters
        .iter()
        .flat_map(|letter| letter.body.iter().copied())
        .collect();
    let unfinished = folder.join(format!("{name}.tmp"));
    tokio::fs::write(&unfinished, bytes).await?;
    tokio::fs::rename(&unfinished, folder.join(name)).await
}

#[cfg(test)]
mod tests {
    use hie_load::receiver::Receiver;

    use super::*;
    use crate::demo::letters::{Destination, Source};

    #[tokio::test]
    async fn a_feed_sends_at_its_pace_and_keeps_the_account() {
        let receiver = Receiver::start("127.0.0.1:0").await.unwrap();
        let (books, stop) = (Arc::new(Books::default()), CancellationToken::new());
        let feed = Feed {
            address: receiver.addr().to_string(),
            letters: Letters::new(Source::Results, "RUN1"),
            share: 1.0,
            pace: Arc::new(Pace::new(2_000)),
            books: books.clone(),
            stop: stop.clone(),
        };
        let feed = tokio::spawn(feed.run());
        assert!(receiver.wait_for(20, Duration::from_secs(60)).await);
        stop.cancel();
        feed.await.unwrap();
        let verdict = books.judged(Destination::Epr, |sent| receiver.verdict(sent));
        assert!(verdict.is_clean() && verdict.acked >= 20, "{verdict:?}");
        assert_eq!(books.totals().acked, verdict.acked);
    }

    #[test]
    fn the_pace_stays_within_its_bounds() {
        let pace = Pace::new(0);
        assert_eq!(pace.per_second(), 1);
        pace.set(1 << 20);
        assert_eq!(pace.per_second(), 2_000);
    }
}
