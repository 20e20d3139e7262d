//! The sending itself: connections that take messages from one list, and the account of answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hie_hl7::{AckCode, Message, ack};
use hie_mllp::{FrameReader, FrameWriter, Framing, Limits, Timeouts};
use tokio::{
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::Instant,
};

/// What is to be sent, where and how fast.
pub(super) struct Plan {
    pub(super) to: String,
    pub(super) messages: Vec<Bytes>,
    /// Messages in all, repetitions counted.
    pub(super) total: u64,
    pub(super) connections: u16,
    pub(super) per_second: Option<f64>,
    pub(super) ack_timeout: Duration,
}

/// What may be seen while it goes on.
pub(super) struct Progress {
    started: Instant,
    next: AtomicU64,
    done: AtomicU64,
    stopped: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }
}

impl Progress {
    /// Messages answered or failed.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub(super) fn per_second(&self) -> f64 {
        self.done() as f64 / self.started.elapsed().as_secs_f64().max(0.001)
    }

    /// No message begins from now on.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) total: u64,
    /// Messages that got an answer of any kind.
    pub(super) answered: u64,
    /// Answered AA or CA, for the message that was sent.
    pub(super) accepted: u64,
    /// Answers by code (MSA-1).
    pub(super) codes: BTreeMap<String, u64>,
    /// What went wrong, with how often.
    pub(super) errors: BTreeMap<String, u64>,
    /// Messages that went out and got no answer.
    unanswered: u64,
    pub(super) took: Duration,
}

impl Account {
    /// Messages that never went out.
    pub(super) fn not_sent(&self) -> u64 {
        self.total.saturating_sub(self.answered + self.unanswered)
    }

    fn error(&mut self, error: String) {
        *self.errors.entry(error).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.answered += other.answered;
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
    }

    fn answer(&mut self, sent: &[u8], answer: &[u8]) {
        self.answered += 1;
        match ack::read(answer) {
            Ok(ack) => {
                *self
                    .codes
                    .entry(String::from_utf8_lossy(ack.raw_code).into_owned())
                    .or_default() += 1;
                let asked = Message::parse(sent).map(|message| message.header().control_id);
                if asked.is_ok_and(|asked| asked != ack.control_id) {
                    self.error("answers for another control id".into());
                } else if ack.code.is_some_and(AckCode::is_accept) {
                    self.accepted += 1;
                }
            }
            Err(error) => self.error(format!("answers that are none: {error}")),
        }
    }
}

/// Sends everything; ends when all is answered, stopped, or no connection is left.
pub(super) async fn send(plan: Plan, progress: Arc<Progress>) -> Account {
    let plan = Arc::new(plan);
    let mut account = Account {
        total: plan.total,
        ..Account::default()
    };
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections {
        connections.spawn(connection(plan.clone(), progress.clone()));
    }
    while let Some(ended) = connections.join_next().await {
        match ended {
            Ok(part) => account.merge(part),
            Err(_) => account.error("a connection ended by a panic".into()),
        }
    }
    account.took = progress.started.elapsed();
    account
}

/// One connection: a message, its answer, the next. It ends with its first error, because who
/// sends on after a lost answer does not know what arrived.
async fn connection(plan: Arc<Plan>, progress: Arc<Progress>) -> Account {
    let mut account = Account::default();
    let stream = match TcpStream::connect(&plan.to).await {
        Ok(stream) => stream,
        Err(error) => {
            account.error(format!("connections refused: {error}"));
            return account;
        }
    };
    let _ = stream.set_nodelay(true); // slower without, and no less right
    let (input, output) = stream.into_split();
    let wait = Some(plan.ack_timeout);
    let timeouts = Timeouts {
        idle: wait,
        frame: wait,
        ..Timeouts::default()
    };
    let mut input = FrameReader::with(input, Framing::MLLP, Limits::default(), timeouts);
    let mut output = FrameWriter::new(output, Framing::MLLP).with_timeout(wait);
    while let Some(message) = take(&plan, &progress).await {
        if let Err(error) = exchange(&mut input, &mut output, &message, &mut account).await {
            account.unanswered += 1;
            account.error(error);
            progress.done.fetch_add(1, Ordering::Relaxed);
            break;
        }
        progress.done.fetch_add(1, Ordering::Relaxed);
    }
    account
}

/// The next message, when its time has come.
async fn take(plan: &Plan, progress: &Progress) -> Option<Bytes> {
    if progress.stopped.load(Ordering::Relaxed) {
        return None;
    }
    let nth = progress.next.fetch_add(1, Ordering::Relaxed);
    if nth >= plan.total {
        return None;
    }
    if let Some(per_second) = plan.per_second {
        let due = Duration::try_from_secs_f64(nth as f64 / per_second).unwrap_or(Duration::MAX);
        if let Some(at) = progress.started.checked_add(due) {
            tokio::time::sleep_until(at).await;
        }
    }
    let at = usize::try_from(nth % plan.messages.len().max(1) as u64).unwrap_or(0);
    plan.messages.get(at).cloned()
}

async fn exchange(
    input: &mut FrameReader<OwnedReadHalf>,
    output: &mut FrameWriter<OwnedWriteHalf>,
    message: &Bytes,
    account: &mut Account,
) -> Result<(), String> {
    output
        .send(message)
        .await
        .map_err(|error| format!("not sent: {error}"))?;
    match input.next_borrowed().await {
        Ok(Some(answer)) => {
            account.answer(message, answer);
            Ok(())
        }
        Ok(None) => Err("no answer: the receiver closed the connection".into()),
        Err(error) => Err(format!("no answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &[u8] = b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|42|P|2.5\r";

    fn after(answer: &[u8]) -> Account {
        let mut account = Account::default();
        account.answer(SENT, answer);
        account
    }

    #[test]
    fn only_a_positive_answer_for_this_message_counts_as_accepted() {
        let ack = |code: &str, id: &str| {
            format!("MSH|^~\\&|C|D|A|B|2026||ACK|1|P|2.5\rMSA|{code}|{id}\r").into_bytes()
        };
        assert_eq!(after(&ack("AA", "42")).accepted, 1);
        assert_eq!(after(&ack("CA", "42")).accepted, 1);
        for bad in [
            ack("AE", "42"),
            ack("AR", "42"),
            ack("AA", "41"),
            ack("", "42"),
            b"hello".to_vec(),
        ] {
            let account = after(&bad);
            assert_eq!((account.answered, account.accepted), (1, 0));
        }
        assert_eq!(after(&ack("AA", "41")).errors.len(), 1);
    }
}
