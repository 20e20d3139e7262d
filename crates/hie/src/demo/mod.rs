//! The demo: the example production between simulated senders and receivers, watched live.
//!
//! Owns the run of it: who starts when, the loop that shows it, the end with the ledger's verdict.
//! The engine in the middle is the one of `hie run`, with all that belongs to it.

mod books;
mod frame;
mod letters;
mod lines;
mod receivers;
mod script;
mod senders;
mod stage;
mod table;
mod terminal;
mod verdict;

use std::{
    io::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hie_engine::Production;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    books::Books,
    frame::{Frame, Watcher},
    letters::{Letters, Source},
    receivers::Sites,
    script::{RECEIVERS, Step},
    senders::{Feed, Pace},
    terminal::Terminal,
};
pub(crate) use self::{
    script::{Outage, outage, seconds},
    senders::RATES,
    stage::Stage,
};
use crate::{
    desk::Desk,
    exit::Failure,
    out::{Out, count},
    signals::Signals,
};

/// The part of the messages that are admissions; the rest are results.
const ADMISSIONS_SHARE: f64 = 0.6;
const REDRAW_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(1);
/// The end waits as long as anything moves, and so much longer: above the longest RetryInterval of
/// the example, 10 s.
const DRAIN_PATIENCE: Duration = Duration::from_secs(20);

/// What may be told to a demo.
pub(crate) struct Plan {
    /// Messages a second at the start.
    pub(crate) rate: u32,
    /// When it ends by itself.
    pub(crate) length: Option<Duration>,
    pub(crate) outages: Vec<Outage>,
}

/// Plays the demo on a production that runs, to the verdict.
pub(crate) async fn play(
    stage: Stage,
    plan: &Plan,
    desk: &Desk,
    production: &Arc<Production>,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut play = Play::begin(stage, plan, desk, production)?;
    let played = play.main_part(plan, signals).await;
    let drained = match played {
        Ok(()) => play.drain(signals).await,
        Err(failure) => Err(failure),
    };
    play.terminal = None; // what follows belongs on the screen that stays
    drained?;
    let suspended = production
        .status()
        .items
        .iter()
        .map(|item| item.suspended)
        .sum();
    verdict::print(
        &mut play.out,
        &play.sites,
        &play.books,
        &play.data.join("warehouse"),
        suspended,
    )
}

struct Play {
    sites: Sites,
    books: Arc<Books>,
    pace: Arc<Pace>,
    production: Arc<Production>,
    data: PathBuf,
    senders: JoinSet<()>,
    stop: CancellationToken,
    files_waiting: Arc<AtomicUsize>,
    watcher: Watcher,
    began: Instant,
    out: Out,
    /// On a terminal only.
    terminal: Option<Terminal>,
    keys: mpsc::UnboundedReceiver<u8>,
    news: String,
}

impl Play {
    fn begin(
        stage: Stage,
        plan: &Plan,
        desk: &Desk,
        production: &Arc<Production>,
    ) -> Result<Self, Failure> {
        let mut out = Out::new();
        verdict::welcome(&mut out, desk, production)?;
        let terminal = if out.tty {
            Some(Terminal::enter()?)
        } else {
            None
        };
        let keys = match &terminal {
            Some(terminal) => terminal.keys(),
            None => mpsc::unbounded_channel().1,
        };
        let mut play = Self {
            sites: stage.sites,
            books: stage.books,
            pace: Arc::new(Pace::new(plan.rate)),
            production: production.clone(),
            data: stage.data,
            senders: JoinSet::new(),
            stop: stage.stop,
            files_waiting: stage.files.waiting.clone(),
            watcher: Watcher::default(),
            began: Instant::now(),
            out,
            terminal,
            keys,
            news: "Stop a receiver and watch its queue grow; start it again and watch it drain."
                .into(),
        };
        play.start_feeds(&stage.run)?;
        play.senders.spawn(stage.files.run());
        Ok(play)
    }

    fn start_feeds(&mut self, run: &str) -> Result<(), Failure> {
        let status = self.production.status();
        for (item, source, share) in [
            ("ADT-In", Source::Admissions, ADMISSIONS_SHARE),
            ("Results-In", Source::Results, 1.0 - ADMISSIONS_SHARE),
        ] {
            let address = status
                .items
                .iter()
                .find(|status| status.name == item)
                .and_then(|item| item.address.clone());
            let address = address.ok_or_else(|| {
                Failure::new("demo", format!("{item} does not say where it listens"))
            })?;
            let feed = Feed {
                address,
                letters: Letters::new(source, run),
                share,
                pace: self.pace.clone(),
                books: self.books.clone(),
                stop: self.stop.clone(),
            };
            self.senders.spawn(feed.run());
        }
        Ok(())
    }

    /// Until the time is over, a key or a signal ends it.
    async fn main_part(&mut self, plan: &Plan, signals: &mut Signals) -> Result<(), Failure> {
        let mut steps: std::collections::VecDeque<Step> = script::timeline(&plan.outages).into();
        let end = plan.length.map(|length| self.began + length);
        let mut ticks = self.ticks();
        loop {
            let next = steps.front().map(|step| self.began + step.at);
            tokio::select! {
                biased;
                _ = signals.stop() => return Ok(()),
                () = until(end) => return Ok(()),
                () = until(next) => {
                    if let Some(step) = steps.pop_front() {
                        self.switch(step.receiver, step.up).await?;
                    }
                }
                Some(key) = self.keys.recv() => {
                    if self.press(key).await? {
                        return Ok(());
                    }
                    self.show(self.pace.per_second())?;
                }
                _ = ticks.tick() => self.show(self.pace.per_second())?,
            }
        }
    }

    /// The senders stop, all receivers come back, and the queues drain; a signal cuts it short.
    async fn drain(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        self.stop.cancel();
        for at in 0..RECEIVERS.len() {
            self.switch(at, true).await?;
            if let Some(site) = self.sites.0.get_mut(at) {
                site.set_error(false);
            }
        }
        self.say("The senders have stopped; the end comes when the queues are empty.".into())?;
        let mut ticks = self.ticks();
        let (mut moved, mut last) = (Instant::now(), None);
        while let Some(waits) = self.waits() {
            self.news = format!(
                "The senders have stopped; waiting for {waits}. q or Ctrl-C does not wait."
            );
            let now = self.deliveries();
            if last.replace(now) != Some(now) {
                moved = Instant::now();
            }
            if moved.elapsed() > DRAIN_PATIENCE {
                break;
            }
            tokio::select! {
                biased;
                _ = signals.stop() => break,
                Some(b'q') = self.keys.recv() => break,
                _ = ticks.tick() => self.show(0)?,
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
        self.senders.shutdown().await;
        self.show(0)
    }

    /// What the end still waits for: senders for their answers, files to be taken, queues to be
    /// empty, messages to arrive. None: nothing.
    fn waits(&mut self) -> Option<String> {
        while self.senders.try_join_next().is_some() {}
        let mut waits = Vec::new();
        for item in self
            .production
            .status()
            .items
            .iter()
            .filter(|item| item.queued > 0)
        {
            waits.push(format!(
                "{} of {}",
                count(item.queued as u64, "message"),
                item.name
            ));
        }
        for (destination, verdict) in self.sites.verdicts(&self.books) {
            if verdict.lost > 0 && waits.is_empty() {
                waits.push(format!(
                    "{} on its way to {}",
                    count(verdict.lost, "message"),
                    destination.name()
                ));
            }
        }
        match self.files_waiting.load(Ordering::Relaxed) as u64 {
            0 if self.senders.is_empty() => {}
            0 => waits.push("the senders' last answers".into()),
            files => waits.push(format!("{} to be read", count(files, "file"))),
        }
        (!waits.is_empty()).then(|| waits.join(", "))
    }

    /// Anything that changes while something moves.
    fn deliveries(&self) -> (u64, usize, u64) {
        let done = self
            .production
            .status()
            .items
            .iter()
            .map(|item| item.completed + item.retries)
            .sum();
        (
            done,
            self.files_waiting.load(Ordering::Relaxed),
            self.books.totals().acked,
        )
    }

    /// Does what a key says; true when it ends the demo.
    async fn press(&mut self, key: u8) -> Result<bool, Failure> {
        match key {
            b'q' | b'Q' => return Ok(true),
            b'1'..=b'3' => {
                let at = usize::from(key - b'1');
                let up = self.sites.0.get(at).is_some_and(receivers::Site::is_up);
                self.switch(at, !up).await?;
            }
            b'e' | b'E' => self.toggle_error()?,
            b'+' | b'=' => self.pace.set(self.pace.per_second().saturating_mul(2)),
            b'-' => self.pace.set(self.pace.per_second() / 2),
            _ => {}
        }
        Ok(false)
    }

    async fn switch(&mut self, at: usize, up: bool) -> Result<(), Failure> {
        let Some(site) = self.sites.0.get_mut(at) else {
            return Ok(());
        };
        if site.is_up() == up {
            return Ok(());
        }
        site.set_up(up).await?;
        let name = site.destination.name();
        self.say(if up {
            format!("{name} is back: the next try delivers its queue, in order.")
        } else {
            format!(
                "{name} is down: what is for it waits in its queue, everybody else gets theirs."
            )
        })
    }

    fn toggle_error(&mut self) -> Result<(), Failure> {
        let Some(epr) = self.sites.0.first_mut() else {
            return Ok(());
        };
        let error = !epr.answers_error;
        epr.set_error(error);
        self.say(if error {
            "EPR answers AE: its ReplyCodeActions suspend each message for a person to look at."
                .into()
        } else {
            "EPR answers AA again; what is suspended waits: hie resend.".into()
        })
    }

    /// Tells what just happened: in the view, or as a line of its own.
    fn say(&mut self, news: String) -> Result<(), Failure> {
        if self.terminal.is_none() {
            writeln!(
                self.out,
                "# t={:.1}s {news}",
                self.began.elapsed().as_secs_f64()
            )?;
            self.out.flush()?;
        }
        self.news = news;
        Ok(())
    }

    fn ticks(&self) -> tokio::time::Interval {
        let every = if self.terminal.is_some() {
            REDRAW_EVERY
        } else {
            LINE_EVERY
        };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }

    fn show(&mut self, pace: u32) -> Result<(), Failure> {
        let (status, elapsed) = (self.production.status(), self.began.elapsed());
        let frame = Frame {
            elapsed,
            rows: self.watcher.rows(&status, elapsed),
            production: status.production,
            trouble: status.trouble,
            pace,
            sites: self
                .sites
                .0
                .iter()
                .map(|site| (site.destination, site.word()))
                .collect(),
            totals: self.books.totals(),
            verdicts: self.sites.verdicts(&self.books),
            news: self.news.clone(),
        };
        match self.terminal {
            Some(_) => table::draw(&mut self.out, &frame, &self.data, terminal::size())?,
            None => lines::print(&mut self.out, &frame)?,
        }
        Ok(())
    }
}

/// Waits for a time that may never come.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
