//! Each order against a model so simple that it cannot be wrong, and the queue with many hands.
//!
//! Length: the models and the orders they judge belong side by side.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hie_store::{BodyRef, Content, ItemId, MessageId, Priority as Level, SessionId, State};
use proptest::prelude::*;

use super::*;

fn live(id: u64) -> Live {
    Live {
        hops: 0,
        id: MessageId(id),
        session: SessionId(id),
        body: BodyRef::default(),
        created_ms: 0,
        source: ItemId(0),
        target: ItemId(1),
        attempts: 0,
        priority: Level::Normal,
        state: State::Queued,
        content: Content::Plain,
        possible_duplicate: false,
    }
}

fn queue(plan: Plan, budget: usize) -> ItemQueue {
    ItemQueue::new(plan, Clock::system(), BodyBudget::new(budget))
}

fn fifo(budget: usize) -> ItemQueue {
    queue(Plan::default(), budget)
}

fn put(queue: &ItemQueue, id: u64) -> Vec<u64> {
    let evicted = queue.push(live(id), None);
    evicted.iter().map(|live| live.id.0).collect()
}

fn take(queue: &ItemQueue) -> Option<u64> {
    queue.try_take().map(|entry| entry.live.id.0)
}

#[test]
fn leaves_in_order_over_many_chunks_and_put_back_goes_first() {
    let queue = fifo(0);
    (0..1000).for_each(|id| assert!(put(&queue, id).is_empty()));
    for id in 0..500 {
        assert_eq!(take(&queue), Some(id));
    }
    queue.put_back(live(499));
    assert_eq!(queue.len(), 501);
    for id in 499..1000 {
        assert_eq!(take(&queue), Some(id));
    }
    assert!(take(&queue).is_none());
    assert_eq!(queue.high_water(), 1000);
    let stats = queue.counters.snapshot();
    assert_eq!(
        (stats.enqueued, stats.returned, stats.dequeued),
        (1000, 1, 1001)
    );
}

#[test]
fn bodies_stay_with_their_headers_while_the_budget_lasts() {
    for plan in plans() {
        let queue = queue(plan, 10);
        let body = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        for (id, body) in [None, body("123456"), body("123456"), body("1234")]
            .into_iter()
            .enumerate()
        {
            assert!(queue.push(live(id as u64), body).is_empty());
        }
        let mut kept = BTreeMap::new();
        while let Some(entry) = queue.try_take() {
            kept.insert(entry.live.id.0, entry.body.map(|body| body.len()));
            queue.done(&entry.live);
        }
        let expected = [(0, None), (1, Some(6)), (2, None), (3, Some(4))];
        assert_eq!(kept, BTreeMap::from(expected));
        // All given back: the budget is whole again.
        assert!(queue.push(live(4), body("1234567890")).is_empty());
        let body = queue.try_take().and_then(|entry| entry.body);
        assert_eq!(body.map(|body| body.len()), Some(10));
    }
}

/// One of each kind.
fn plans() -> [Plan; 5] {
    let of = |kind| Plan {
        kind,
        ..Plan::default()
    };
    let keyed = Plan {
        order_by: plan::order_by("PID-3.1").ok(),
        ..Plan::default()
    };
    [
        of(Kind::Fifo),
        of(Kind::Priority),
        of(Kind::Lifo),
        of(Kind::Unordered),
        keyed,
    ]
}

fn message(key: &str) -> Bytes {
    Bytes::from(format!(
        "MSH|^~\\&|A|B|C|D|||ADT^A01|1|P|2.5\rPID|||{key}^^^H\r"
    ))
}

#[test]
fn messages_without_a_key_are_in_order_among_themselves() {
    let [.., keyed] = plans();
    let queue = queue(keyed, 0);
    let bodies = ["no message at all", "", "MSH|^~\\&|A\rPV1||I\r"];
    for (id, body) in bodies.iter().enumerate() {
        let body = Bytes::copy_from_slice(body.as_bytes());
        assert!(queue.push(live(id as u64), Some(body)).is_empty());
    }
    assert!(queue.push(live(3), Some(message("777"))).is_empty());
    assert_eq!(take(&queue), Some(0));
    assert_eq!(take(&queue), Some(3), "the others wait for the first");
    assert_eq!(take(&queue), None);
    queue.done(&live(0));
    assert_eq!(take(&queue), Some(1));
}

#[test]
fn what_is_in_hand_holds_its_key_until_done_and_comes_back_first() {
    let [.., keyed] = plans();
    let queue = queue(keyed, 0);
    for (id, key) in ["a", "a", "b"].iter().enumerate() {
        assert!(queue.push(live(id as u64), Some(message(key))).is_empty());
    }
    assert_eq!(
        (take(&queue), take(&queue), take(&queue)),
        (Some(0), Some(2), None)
    );
    queue.put_back(live(0));
    assert_eq!((take(&queue), take(&queue)), (Some(0), None));
    queue.done(&live(0));
    assert_eq!((take(&queue), queue.in_hand()), (Some(1), 2));
}

#[test]
fn a_queue_may_change_its_order_while_it_works() {
    let [fifo, priority, lifo, _, keyed] = plans();
    let queue = queue(fifo, 0);
    let bodies = ["a", "a", "b", "c"].map(message);
    for id in 0..4 {
        assert!(put(&queue, id).is_empty());
    }
    assert_eq!(take(&queue), Some(0));
    let body = |live: &Live| Some(bodies[live.id.0 as usize].clone());
    queue.set_plan(keyed, body);
    assert_eq!(take(&queue), Some(2), "key a is in hand");
    queue.set_plan(lifo, body);
    assert_eq!(take(&queue), Some(3));
    queue.set_plan(priority, body);
    assert_eq!((take(&queue), queue.in_hand()), (Some(1), 4));
    (0..4).for_each(|id| queue.done(&live(id)));
    assert_eq!((queue.len(), queue.in_hand()), (0, 0));
}

#[test]
fn aging_lifts_a_level_for_each_period() {
    let mut order = Priority::new(Some(Duration::from_secs(10)));
    let entry = |id, priority, created_ms| {
        Entry::bare(Live {
            priority,
            created_ms,
            ..live(id)
        })
    };
    order.push(entry(1, Level::Bulk, 0), 0);
    order.push(entry(2, Level::Normal, 15_000), 0);
    order.push(entry(3, Level::Critical, 15_000), 0);
    let mut next = |now_ms| order.pop(now_ms).map(|(entry, _)| entry.live.id.0);
    assert_eq!(next(19_000), Some(3));
    // Bulk for 20 seconds counts as Normal and is older.
    assert_eq!(next(20_000), Some(1));
    assert_eq!(next(20_000), Some(2));
}

#[test]
fn drop_oldest_takes_what_matters_least() {
    let limited = |plan: Plan| Plan {
        limit: 2,
        overflow: Overflow::DropOldest,
        ..plan
    };
    let [fifo, priority, lifo, _, keyed] = plans();
    let queue_of = |plan| queue(limited(plan), 0);
    let two = |queue: &ItemQueue| {
        assert!(put(queue, 0).is_empty());
        assert!(put(queue, 1).is_empty());
    };
    let fifo = queue_of(fifo);
    two(&fifo);
    assert_eq!(put(&fifo, 2), [0]);
    let lifo = queue_of(lifo);
    two(&lifo);
    assert_eq!((put(&lifo, 2), take(&lifo)), (vec![0], Some(2)));
    // Never what is in hand, and never one that goes before another of its key.
    let keyed = queue_of(keyed);
    for id in 0..2 {
        assert!(keyed.push(live(id), Some(message("a"))).is_empty());
    }
    assert_eq!(take(&keyed), Some(0));
    assert!(keyed.push(live(2), Some(message("b"))).is_empty());
    let evicted = keyed.push(live(3), Some(message("c")));
    assert_eq!(evicted[0].id.0, 1);
    assert_eq!((take(&keyed), take(&keyed)), (Some(2), Some(3)));
    // An urgent one is never dropped for one that is not, though it is older.
    let priority = queue_of(priority);
    let level = |id, priority| Live {
        priority,
        ..live(id)
    };
    assert!(priority.push(level(0, Level::Critical), None).is_empty());
    assert!(priority.push(level(1, Level::Bulk), None).is_empty());
    let evicted = priority.push(level(2, Level::Normal), None);
    assert_eq!(evicted[0].id.0, 1);
    let evicted = priority.push(level(3, Level::Low), None);
    assert_eq!(evicted[0].id.0, 3, "the new one matters least itself");
    assert_eq!(priority.counters.snapshot().dropped, 2);
    assert_eq!((priority.len(), priority.room.taken()), (2, 2));
}

/// What happens to an order.
#[derive(Clone, Debug)]
enum Act {
    Push {
        key: u64,
        level: Level,
    },
    Pop,
    /// The nth in hand ends or comes back.
    Done(usize),
    PutBack(usize),
    Evict,
}

fn act() -> impl Strategy<Value = Act> {
    let level = prop_oneof![
        Just(Level::Critical),
        Just(Level::High),
        Just(Level::Normal),
        Just(Level::Low),
        Just(Level::Bulk)
    ];
    prop_oneof![
        6 => (0..6_u64, level).prop_map(|(key, level)| Act::Push { key, level }),
        5 => Just(Act::Pop),
        3 => (0..8_usize).prop_map(Act::Done),
        1 => (0..8_usize).prop_map(Act::PutBack),
        1 => Just(Act::Evict),
    ]
}

/// Everything in one list, searched from end to end.
#[derive(Default)]
struct Model {
    waiting: Vec<(u64, u64, Level)>,
    in_hand: Vec<(u64, u64, Level)>,
}

/// Runs the acts on an order and on the model. `next` lists the places in `waiting` that may leave
/// now; an order that may choose is held to one of them.
fn agrees(
    mut order: Box<dyn Order>,
    acts: Vec<Act>,
    last_first: bool,
    next: impl Fn(&Model) -> Vec<usize>,
    victim: impl Fn(&Model) -> Option<usize>,
) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let entry = |id, priority| {
        Entry::bare(Live {
            priority,
            ..live(id)
        })
    };
    for (id, act) in acts.into_iter().enumerate() {
        match act {
            Act::Push { key, level } => {
                order.push(entry(id as u64, level), key);
                model.waiting.push((id as u64, key, level));
            }
            Act::Pop => {
                let allowed = next(&model);
                match order.pop(0) {
                    None => prop_assert!(allowed.is_empty(), "nothing left, {allowed:?} could"),
                    Some((entry, key)) => {
                        let id = entry.live.id.0;
                        let at = model.waiting.iter().position(|one| one.0 == id);
                        prop_assert!(at.is_some_and(|at| allowed.contains(&at)), "{id} left");
                        let one = model.waiting.remove(at.unwrap_or_default());
                        model.in_hand.push((one.0, key, one.2));
                    }
                }
            }
            Act::Done(nth) if nth < model.in_hand.len() => {
                let (_, key, _) = model.in_hand.remove(nth);
                order.done(key);
            }
            Act::PutBack(nth) if nth < model.in_hand.len() => {
                let one = model.in_hand.remove(nth);
                order.put_back(entry(one.0, one.2), one.1);
                match last_first {
                    true => model.waiting.push(one),
                    false => model.waiting.insert(0, one),
                }
            }
            Act::Evict => {
                let expected = victim(&model);
                let evicted = order.evict().map(|entry| entry.live.id.0);
                prop_assert_eq!(evicted, expected.map(|at| model.waiting[at].0));
                expected.map(|at| model.waiting.remove(at));
            }
            Act::Done(_) | Act::PutBack(_) => {}
        }
        prop_assert_eq!(order.len(), model.waiting.len());
        prop_assert_eq!(order.is_empty(), model.waiting.is_empty());
    }
    let rest: BTreeSet<u64> = order.drain().iter().map(|entry| entry.live.id.0).collect();
    let expected: BTreeSet<u64> = model.waiting.iter().map(|one| one.0).collect();
    prop_assert_eq!(rest, expected);
    prop_assert_eq!(order.len(), 0);
    Ok(())
}

fn first(model: &Model) -> Option<usize> {
    (!model.waiting.is_empty()).then_some(0)
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    proptest::collection::vec(act(), 0..400)
}

proptest! {
    #[test]
    fn fifo_agrees_with_its_model(acts in acts()) {
        let next = |model: &Model| first(model).into_iter().collect();
        agrees(Box::<Fifo>::default(), acts, false, next, first)?;
    }

    #[test]
    fn unordered_agrees_with_its_model(acts in acts()) {
        let next = |model: &Model| (0..model.waiting.len()).collect();
        agrees(Box::<Unordered>::default(), acts, true, next, first)?;
    }

    #[test]
    fn lifo_agrees_with_its_model(acts in acts()) {
        let next = |model: &Model| model.waiting.len().checked_sub(1).into_iter().collect();
        agrees(Box::<Lifo>::default(), acts, true, next, first)?;
    }

    #[test]
    fn priority_agrees_with_its_model(acts in acts()) {
        let place = |model: &Model, level| model.waiting.iter().position(|one| Some(one.2) == level);
        let next = |model: &Model| {
            let level = model.waiting.iter().map(|one| one.2).min();
            place(model, level).into_iter().collect()
        };
        let victim = |model: &Model| place(model, model.waiting.iter().map(|one| one.2).max());
        agrees(Box::new(Priority::new(None)), acts, false, next, victim)?;
    }

    #[test]
    fn keyed_agrees_with_its_model(acts in acts()) {
        // The first of each key of which nothing is in hand.
        let next = |model: &Model| {
            let mut seen: BTreeSet<u64> = model.in_hand.iter().map(|one| one.1).collect();
            let places = model.waiting.iter().enumerate();
            places.filter(|(_, one)| seen.insert(one.1)).map(|(at, _)| at).collect()
        };
        agrees(Box::new(Keyed::new(true)), acts, false, next, first)?;
    }
}

#[test]
fn hot_keys_take_turns_with_the_others() {
    let mut order = Keyed::new(false);
    let mut id = 0;
    let mut push = |order: &mut Keyed, key| {
        order.push(Entry::bare(live(id)), key);
        id += 1;
    };
    (0..1000).for_each(|_| push(&mut order, 1));
    push(&mut order, 2);
    let (_, first) = order.pop(0).unwrap();
    order.done(first);
    let (_, second) = order.pop(0).unwrap();
    assert_eq!(
        (first, second),
        (1, 2),
        "a thousand of one key wait, and the other has its turn"
    );
}

#[test]
fn a_long_queue_of_keys_gives_its_memory_back() {
    let mut order = Keyed::new(true);
    for id in 0..20_000 {
        order.push(Entry::bare(live(id)), id % 5000);
        if id >= 100 {
            assert!(order.evict().is_some());
        }
    }
    assert_eq!(order.len(), 100);
    while order.pop(0).is_some() {}
    assert!(order.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_producers_and_jobs_lose_nothing_and_break_no_order() {
    const EACH: u64 = 500;
    for plan in plans() {
        let per_key = plan.order_by.is_some();
        let (jobs, name) = (4, plan.kind.name());
        let queue = Arc::new(queue(plan, 1 << 20));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let busy = Arc::new(Mutex::new(BTreeSet::new()));
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                let (queue, seen, busy) = (queue.clone(), seen.clone(), busy.clone());
                tokio::spawn(async move {
                    loop {
                        let entry = queue.take().await;
                        let id = entry.live.id.0;
                        if id >= u64::MAX - 8 {
                            break;
                        }
                        let key = id / EACH;
                        if per_key {
                            assert!(busy.lock().insert(key), "two of one key in hand");
                        }
                        if id % 97 == 0 && entry.live.attempts == 0 {
                            busy.lock().remove(&key);
                            let again = Live {
                                attempts: 1,
                                ..entry.live
                            };
                            queue.put_back(again);
                            continue;
                        }
                        tokio::task::yield_now().await;
                        seen.lock().push(id);
                        busy.lock().remove(&key);
                        queue.done(&entry.live);
                    }
                })
            })
            .collect();
        let producers: Vec<_> = (0..4)
            .map(|key| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    let body = message(&key.to_string());
                    for nth in 0..EACH {
                        assert!(
                            queue
                                .push(live(key * EACH + nth), Some(body.clone()))
                                .is_empty()
                        );
                        if nth % 7 == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for producer in producers {
            producer.await.unwrap();
        }
        while seen.lock().len() < 4 * EACH as usize {
            tokio::task::yield_now().await;
        }
        for nth in 0..jobs {
            let body = message(&format!("end {nth}"));
            assert!(queue.push(live(u64::MAX - nth), Some(body)).is_empty());
        }
        for worker in workers {
            worker.await.unwrap();
        }
        let seen = seen.lock();
        let all: BTreeSet<u64> = seen.iter().copied().collect();
        assert_eq!(
            (all.len(), seen.len()),
            (4 * EACH as usize, 4 * EACH as usize),
            "{name}"
        );
        if per_key {
            for key in 0..4 {
                let of_key = seen.iter().filter(|id| **id / EACH == key);
                assert!(of_key.is_sorted(), "key {key} out of order");
            }
        }
    }
}
