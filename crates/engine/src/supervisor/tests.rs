//! What the supervisor decides, by itself: policies, limits, pauses, states.

use super::*;
use crate::{
    class::{Build, Class},
    setting::{Settings, Value},
};

static CLASS: Class = Class {
    name: "Nothing",
    aliases: &[],
    summary: "for tests",
    settings: &[],
    build: Build::Operation(|_, _| Err(HostError::new("never", "never made"))),
    check: |_, _| Vec::new(),
};

fn settings(policy: &'static str, most: i64, delay_s: u64, window_s: u64) -> Settings {
    let seconds = |seconds| Value::Seconds(Some(Duration::from_secs(seconds)));
    let mut settings = Settings::default();
    settings.set("RestartPolicy", Value::Choice(policy));
    settings.set("MaxRestarts", Value::Int(most));
    settings.set("RestartDelay", seconds(delay_s));
    settings.set("RestartWindow", seconds(window_s));
    settings
}

fn supervisor(settings: Settings, posts: usize) -> (Arc<Supervisor>, Arc<ItemStats>) {
    let item = ItemConfig {
        name: "Out".into(),
        class: &CLASS,
        enabled: true,
        pool_size: 1,
        category: String::new(),
        comment: String::new(),
        settings,
        retention_age: None,
        retention_bytes: None,
        hooks: None,
        line: 1,
    };
    let stats = Arc::new(ItemStats::default());
    let supervisor = Supervisor::new(
        &item,
        stats.clone(),
        Clock::system(),
        Hold::default(),
        posts,
    );
    (supervisor, stats)
}

fn error() -> HostError {
    HostError::new("port-in-use", "the port is in use")
}

fn again(next: Next) -> bool {
    matches!(next, Next::Again(_))
}

#[test]
fn a_limit_of_two_is_two_restarts_and_then_the_item_is_given_up() {
    let (supervisor, stats) = supervisor(settings("on_failure", 2, 5, 300), 1);
    let post = supervisor.post();
    assert_eq!(stats.state(), ItemState::Starting);
    assert!(again(post.failed(&error())));
    assert_eq!(stats.state(), ItemState::Error);
    assert!(again(post.failed(&error())));
    assert_eq!(post.failed(&error()), Next::End);
    assert_eq!(stats.state(), ItemState::Failed);
    assert!(supervisor.stopping().is_cancelled());
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!((count(&stats.restarts), count(&stats.give_ups)), (2, 1));
    let told = stats.last_error().unwrap();
    assert_eq!(
        told,
        "gave up, after 2 restarts (MaxRestarts): the port is in use"
    );
    drop(post);
    assert_eq!(stats.state(), ItemState::Failed, "and it stays so");
}

#[test]
fn never_gives_up_at_once_and_unlimited_never_does() {
    let (never, stats) = supervisor(settings("never", 3, 5, 300), 1);
    assert_eq!(never.post().failed(&error()), Next::End);
    assert_eq!(stats.state(), ItemState::Failed);

    let (unlimited, stats) = supervisor(settings("on_failure", -1, 5, 300), 1);
    let post = unlimited.post();
    assert!((0..5000).all(|_| again(post.failed(&error()))));
    assert_eq!(stats.state(), ItemState::Error);
    assert_eq!(stats.restarts.load(Ordering::Relaxed), 5000);
}

#[test]
fn each_host_has_its_own_limit_and_the_first_that_passes_it_ends_all() {
    let (supervisor, stats) = supervisor(settings("on_failure", 1, 5, 300), 3);
    let posts: Vec<Post> = (0..3).map(|_| supervisor.post()).collect();
    assert!(
        posts.iter().all(|post| again(post.failed(&error()))),
        "three jobs that fail once are no fourth failure of one"
    );
    posts[0].up();
    posts[1].up();
    assert_eq!(stats.state(), ItemState::Running);
    assert_eq!(supervisor.hosts(), (2, 3));
    assert_eq!(posts[2].failed(&error()), Next::End);
    assert_eq!(stats.state(), ItemState::Failed);
    assert_eq!(
        posts[0].failed(&error()),
        Next::End,
        "what falls afterwards stays down"
    );
    assert_eq!(stats.give_ups.load(Ordering::Relaxed), 1, "once an item");
}

#[test]
fn only_restarts_within_the_window_of_running_count() {
    let (supervisor, _) = supervisor(settings("on_failure", 2, 5, 300), 1);
    let post = supervisor.post();
    let ran = |seconds| post.record.lock().ran += Duration::from_secs(seconds);
    assert!(again(post.failed(&error())));
    ran(200);
    assert!(again(post.failed(&error())));
    ran(200); // the first is 400 s of running ago
    assert!(again(post.failed(&error())));
    assert_eq!(
        post.failed(&error()),
        Next::End,
        "pauses make nothing forgotten"
    );
}

#[test]
fn pauses_double_up_to_a_minute_and_vary() {
    let terms = Terms::of(&settings("on_failure", -1, 5, 300));
    for (nth, longest) in [
        (1, 5),
        (2, 10),
        (3, 20),
        (4, 40),
        (5, 60),
        (60, 60),
        (5000, 60),
    ] {
        let pause = terms.pause(nth);
        let longest = Duration::from_secs(longest);
        assert!(
            pause <= longest && pause >= longest.mul_f64(0.75),
            "{nth}: {pause:?}"
        );
    }
    let many: std::collections::BTreeSet<_> = (0..64).map(|_| terms.pause(3)).collect();
    assert!(many.len() > 1, "what failed together returns together");
    let long = Terms::of(&settings("on_failure", -1, 300, 300));
    assert!(
        long.pause(9) >= Duration::from_secs(225),
        "no cap below RestartDelay"
    );
    let none = Terms::of(&settings("on_failure", -1, 0, 300));
    assert_eq!(none.pause(1), Duration::ZERO);
    assert!(none.pause(2) > Duration::ZERO, "a storm is slowed down");
}

#[test]
fn a_service_that_ends_by_itself_is_started_again_under_always_only() {
    let (always, stats) = supervisor(settings("always", -1, 5, 300), 1);
    let post = always.post();
    post.up();
    assert!(again(post.ended()));
    assert_eq!(stats.state(), ItemState::Error);
    let (on_failure, stats) = supervisor(settings("on_failure", -1, 5, 300), 1);
    let post = on_failure.post();
    post.up();
    assert_eq!(post.ended(), Next::End);
    drop(post);
    assert_eq!(stats.state(), ItemState::Stopped);
}

#[test]
fn a_panic_over_a_message_is_followed_at_once_and_counts() {
    let (supervisor, stats) = supervisor(settings("on_failure", 1, 5, 300), 1);
    let post = supervisor.post();
    post.up();
    assert_eq!(post.panicked(&error()), Next::Again(Duration::ZERO));
    post.up();
    assert_eq!(stats.state(), ItemState::Running);
    assert_eq!(post.panicked(&error()), Next::End);
    assert_eq!(stats.state(), ItemState::Failed);

    let (unlimited, _) = self::supervisor(settings("on_failure", -1, 5, 300), 1);
    let post = unlimited.post();
    let next: Vec<Next> = (0..12).map(|_| post.panicked(&error())).collect();
    let at_once = next
        .iter()
        .filter(|next| **next == Next::Again(Duration::ZERO));
    assert_eq!(at_once.count(), FREE_PANICS, "a storm is slowed down");
}

#[test]
fn what_had_run_is_started_again_at_once_the_first_time() {
    let (supervisor, _) = supervisor(settings("on_failure", -1, 5, 300), 1);
    let post = supervisor.post();
    post.up();
    assert_eq!(post.failed(&error()), Next::Again(Duration::ZERO));
    assert_ne!(post.failed(&error()), Next::Again(Duration::ZERO));
}

#[test]
fn a_stop_is_no_failure_and_a_job_that_is_lost_is_one() {
    let (stopped, stats) = supervisor(settings("on_failure", -1, 5, 300), 1);
    let post = stopped.post();
    post.up();
    stopped.halt();
    assert_eq!(stats.state(), ItemState::Stopping);
    assert_eq!(post.failed(&error()), Next::End);
    drop(post);
    stopped.halted(ItemState::Stopped);
    assert_eq!(stats.state(), ItemState::Stopped);
    assert_eq!(stats.last_error(), None);

    let (lost, stats) = supervisor(settings("on_failure", -1, 5, 300), 1);
    let post = lost.post();
    post.up();
    drop(post);
    assert_eq!(stats.state(), ItemState::Error);
    assert!(stats.last_error().unwrap().contains("unexpectedly"));
}

#[tokio::test]
async fn a_start_is_settled_when_each_host_has_started_or_failed() {
    let (supervisor, _) = supervisor(settings("on_failure", -1, 5, 300), 2);
    let (one, other) = (supervisor.post(), supervisor.post());
    let waiting = tokio::spawn({
        let supervisor = supervisor.clone();
        async move { supervisor.settled().await }
    });
    one.up();
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    other.failed(&error());
    assert_eq!(waiting.await.unwrap().unwrap_err().code, "port-in-use");
    other.up();
    assert!(supervisor.settled().await.is_ok());
}

#[test]
fn a_held_item_shows_as_paused() {
    let (supervisor, stats) = supervisor(settings("on_failure", -1, 5, 300), 1);
    let post = supervisor.post();
    post.up();
    supervisor.hold.set(true);
    supervisor.refresh();
    assert_eq!(stats.state(), ItemState::Paused);
    supervisor.hold.set(false);
    supervisor.refresh();
    assert_eq!(stats.state(), ItemState::Running);
}
