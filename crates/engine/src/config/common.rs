//! Settings that every host of a kind has, and names that are known but not supported yet.
//!
//! The reader adds the table of an item's kind to what its class declares; where a class declares
//! one of these names itself (another default), its own declaration counts.

use super::{Finding, ItemConfig};
use crate::{
    class::{Build, Class},
    pattern,
    queue::{Kind, Overflow, Plan, plan},
    setting::{SettingDef, SettingType, Target},
};

const EXECUTION_MODE: SettingDef = SettingDef::host(
    "ExecutionMode",
    SettingType::Choice(&[
        &["async"],
        &["thread_pool"],
        &["multiprocess", "multi_process"],
        &["single_process"],
    ]),
    "async",
    "Where the item's jobs run. `async`: as tasks of the shared runtime. `thread_pool`: each on a \
     thread of its own, named after the item, where blocking code slows nobody else; a service has \
     `pool_size` threads for its connections. `multiprocess`: in WorkerCount processes of their \
     own with `pool_size` jobs each, where a crash, a leak or blocking code touches nobody else; a \
     service has one process. `single_process`: one job on one thread, so that \
     everything the item does happens one after the other.",
)
.env("EXECUTION_MODE");

const QUEUE_TYPE: SettingDef = SettingDef::host(
    "QueueType",
    SettingType::Choice(&[&["fifo"], &["priority"], &["lifo"], &["unordered"]]),
    "fifo",
    "The order in which the item's queue is worked off. `fifo`: first in, first out. `priority`: \
     five levels (Critical, High, Normal, Low, Bulk), first in, first out inside each. `lifo`: the \
     newest first. `unordered`: no promise; what is given back goes behind the rest.",
);

const MESSAGING_PATTERN: SettingDef = SettingDef::host(
    "MessagingPattern",
    SettingType::Choice(&[
        &["async_reliable"],
        &["sync_reliable"],
        &["concurrent_async"],
        &["concurrent_sync"],
    ]),
    "async_reliable",
    "Who waits, and whether order holds. Services: with async_* a sender is answered as AckMode \
     says, with sync_* once the message is answered (MessageTimeout); sync_reliable takes one \
     message at a time in the order of arrival over all connections, concurrent_sync up to \
     `pool_size`. Processes and operations: async_reliable takes messages in the order of the \
     queue, concurrent_async promises none; with sync_* a message is done when all that it sent is \
     answered; sync_reliable has one message in hand at a time whatever `pool_size` says.",
)
.env("MESSAGING_PATTERN");

const MESSAGE_TIMEOUT: SettingDef = SettingDef::host(
    "MessageTimeout",
    SettingType::Seconds {
        min: 0.001,
        max: 86_400.0,
        unlimited: None,
    },
    "30",
    "How long the item waits for a response where its pattern or a call of its host waits, in \
     seconds. A response that comes later is kept in the trace and reaches nobody.",
);

const MAX_HOPS: SettingDef = SettingDef::host(
    "MaxHops",
    SettingType::Int {
        min: 1,
        max: 10_000,
    },
    "100",
    "How many items a message may have passed, one after another, since it entered. One that has \
     passed more goes round for ever and ends in state Error.",
);

const ORDER_BY: SettingDef = SettingDef::host(
    "OrderBy",
    SettingType::Checked(check_order_by),
    "",
    "With `fifo`: the place of a key in the message, such as `PID-3.1` or `'{PID:3.1}'` (quoted in \
     YAML). Messages with the same key are worked off in order and one at a time, those with \
     different keys side by side by the item's jobs. A message that cannot be read, or has nothing \
     there, has the empty key: such messages are in order among themselves.",
)
.optional();

const PRIORITY_AGING: SettingDef = SettingDef::host(
    "PriorityAging",
    SettingType::Seconds {
        min: 0.001,
        max: 31_536_000.0,
        unlimited: Some("off"),
    },
    "-1",
    "With `priority`: for each such period that a message has waited it counts one level higher, in \
     seconds, so that bulk messages are not left behind for ever. -1 turns it off.",
);

const QUEUE_SIZE: SettingDef = SettingDef::host(
    "QueueSize",
    SettingType::Int {
        min: 0,
        max: 1_000_000_000,
    },
    "0",
    "How many messages may wait for the item; 0 is no limit but the disk. Counts what waits, not \
     what jobs have in hand. What OverflowStrategy says happens to those beyond it.",
);

const OVERFLOW_STRATEGY: SettingDef = SettingDef::host(
    "OverflowStrategy",
    SettingType::Choice(&[&["block"], &["drop_oldest"], &["drop_newest"], &["reject"]]),
    "block",
    "What happens to a message for a full queue (QueueSize). `block`: its sender waits, back to the \
     socket. `reject`: a service answers that it cannot take the message now and stores nothing, a \
     process ends its message in Error. `drop_newest`: it is acknowledged, recorded and Discarded. \
     `drop_oldest`: the oldest one of the lowest priority that waits, itself included, is Discarded.",
);

/// The settings of a queue: of processes and operations.
const QUEUE: [&SettingDef; 5] = [
    &QUEUE_TYPE,
    &ORDER_BY,
    &PRIORITY_AGING,
    &QUEUE_SIZE,
    &OVERFLOW_STRATEGY,
];

fn check_order_by(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    plan::order_by(text).map(drop)
}

const MAX_ATTEMPTS: SettingDef = SettingDef::host(
    "MaxAttempts",
    SettingType::Int { min: 1, max: 1000 },
    "3",
    "How often a message may bring the host down (a panic) before it is suspended as poison and \
     the next one is taken. A peer that refuses or is down does not count: see FailureTimeout.",
);

/// What becomes of a host that fails: the same for every kind.
const RESTART: [SettingDef; 4] = [
    SettingDef::host(
        "RestartPolicy",
        SettingType::Choice(&[&["never"], &["on_failure"], &["always"]]),
        "on_failure",
        "Whether a host that failed is started again. `on_failure`: after it could not start, ended \
         with an error, panicked, or its worker process died. `always`: also when a service ends by \
         itself. `never`: the first failure gives the item up.",
    ),
    SettingDef::host(
        "MaxRestarts",
        SettingType::Int { min: -1, max: 1000 },
        "-1",
        "How often one host (one job of the pool) is started again within RestartWindow; after the \
         next failure the item is given up: state `failed`, an alert in the log, not ready in \
         `/health`. Its queue goes on taking messages, and `hie item start` starts it anew. -1 never \
         gives up.",
    ),
    SettingDef::host(
        "RestartDelay",
        SettingType::Seconds {
            min: 0.0,
            max: 300.0,
            unlimited: None,
        },
        "5",
        "The pause before the first restart, in seconds. Each further one doubles it, up to a minute \
         (or RestartDelay, if that is longer), less a random quarter at most. A host that panicked \
         over a message is started again at once: MaxAttempts bounds that.",
    ),
    SettingDef::host(
        "RestartWindow",
        SettingType::Seconds {
            min: 0.0,
            max: 31_536_000.0,
            unlimited: None,
        },
        "300",
        "For how many seconds of running a restart counts against MaxRestarts and lengthens the \
         pause. Time in which the host does not run makes nothing forgotten.",
    ),
];

/// Every service.
pub const SERVICE: &[SettingDef] = &[
    EXECUTION_MODE,
    WORKER_COUNT,
    WORKER_MEMORY_MAX,
    WORKER_TIMEOUT,
    WORKER_HEARTBEAT,
    RESTART[0],
    RESTART[1],
    RESTART[2],
    RESTART[3],
    MESSAGING_PATTERN,
    MESSAGE_TIMEOUT,
];

/// Every process.
pub const PROCESS: &[SettingDef] = &[
    MAX_ATTEMPTS,
    EXECUTION_MODE,
    WORKER_COUNT,
    WORKER_MEMORY_MAX,
    WORKER_TIMEOUT,
    WORKER_HEARTBEAT,
    QUEUE_TYPE,
    RESTART[0],
    RESTART[1],
    RESTART[2],
    RESTART[3],
    MESSAGING_PATTERN,
    MESSAGE_TIMEOUT,
    MAX_HOPS,
    ORDER_BY,
    PRIORITY_AGING,
    QUEUE_SIZE,
    OVERFLOW_STRATEGY,
];

/// Every operation.
pub const OPERATION: &[SettingDef] = &[
    SettingDef::host(
        "RetryInterval",
        SettingType::Seconds {
            min: 0.01,
            max: 86_400.0,
            unlimited: None,
        },
        "5",
        "The pause before a message that could not be delivered is tried again, in seconds. It \
         keeps its place at the head of the queue, so order holds with a pool size of 1.",
    ),
    SettingDef::host(
        "FailureTimeout",
        SettingType::Seconds {
            min: 0.0,
            max: 31_536_000.0,
            unlimited: Some("never give up"),
        },
        "-1",
        "How long one message is tried in all, in seconds, before it is given up as \
         ReplyCodeActions or the class says. -1 never gives up.",
    ),
    MAX_ATTEMPTS,
    EXECUTION_MODE,
    WORKER_COUNT,
    WORKER_MEMORY_MAX,
    WORKER_TIMEOUT,
    WORKER_HEARTBEAT,
    QUEUE_TYPE,
    RESTART[0],
    RESTART[1],
    RESTART[2],
    RESTART[3],
    MESSAGING_PATTERN,
    MESSAGE_TIMEOUT,
    MAX_HOPS,
    ORDER_BY,
    PRIORITY_AGING,
    QUEUE_SIZE,
    OVERFLOW_STRATEGY,
];

/// The table of a kind of host.
pub fn of_kind(build: &Build) -> &'static [SettingDef] {
    match build {
        Build::Service(_) => SERVICE,
        Build::Process(_) => PROCESS,
        Build::Operation(_) => OPERATION,
    }
}

/// All settings of a class: its own in their order, then those of its kind that it does not
/// declare itself.
pub fn settings_of(class: &'static Class) -> Vec<&'static SettingDef> {
    let own: Vec<&SettingDef> = class.settings().collect();
    let declared = |name: &str| own.iter().any(|def| def.name == name);
    let common: Vec<&SettingDef> = of_kind(&class.build)
        .iter()
        .filter(|def| !declared(def.name))
        .collect();
    own.into_iter().chain(common).collect()
}

const WORKER_COUNT: SettingDef = SettingDef::host(
    "WorkerCount",
    SettingType::Int { min: 1, max: 32 },
    "1",
    "How many worker processes the item has, each with `pool_size` jobs. Only with \
     `ExecutionMode: multiprocess`; a service has one.",
);

const WORKER_MEMORY_MAX: SettingDef = SettingDef::host(
    "WorkerMemoryMax",
    SettingType::Bytes {
        min: 16 << 20,
        max: 1 << 42,
    },
    "",
    "How much memory one worker process may use; one that uses more is ended and started anew, \
     and its messages go back to their places. Not given: no limit. Only with \
     `ExecutionMode: multiprocess`.",
)
.optional();

const WORKER_TIMEOUT: SettingDef = SettingDef::host(
    "WorkerTimeout",
    SettingType::Seconds {
        min: 0.01,
        max: 86_400.0,
        unlimited: Some("no limit"),
    },
    "300",
    "How long one try may take in a worker process, in seconds, before the process is ended and \
     started anew; the message counts one attempt more (MaxAttempts). -1 is without limit. Only \
     with `ExecutionMode: multiprocess`.",
);

const WORKER_HEARTBEAT: SettingDef = SettingDef::host(
    "WorkerHeartbeat",
    SettingType::Seconds {
        min: 0.1,
        max: 3_600.0,
        unlimited: None,
    },
    "5",
    "How often a worker process must show that it lives, in seconds. One that misses three times \
     is ended and started anew. Only with `ExecutionMode: multiprocess`.",
);

/// What is wrong between the settings that every class has.
pub(crate) fn check(item: &ItemConfig) -> Vec<Finding> {
    let mut findings = pattern::check(item);
    let mode = item.settings.text("ExecutionMode");
    if mode == Some("single_process") && item.pool_size > 1 {
        findings.push(Finding {
            setting: Some("ExecutionMode"),
            message: format!(
                "single_process is one job, and pool_size is {}",
                item.pool_size
            ),
            help: Some("set pool_size to 1, or ExecutionMode to thread_pool".into()),
        });
    }
    findings.extend(check_workers(item));
    findings.extend(check_queue(item));
    findings
}

/// Settings of worker processes that would be read and do nothing.
fn check_workers(item: &ItemConfig) -> Vec<Finding> {
    let mode = item.settings.text("ExecutionMode").unwrap_or("async");
    let workers = item.settings.int("WorkerCount").unwrap_or(1);
    let service = matches!(item.class.build, Build::Service(_));
    let finding = |setting, message: String, help: &str| Finding {
        setting: Some(setting),
        message,
        help: Some(help.into()),
    };
    let multiprocess = mode == "multiprocess";
    let mut findings = Vec::new();
    if workers > 1 && !multiprocess {
        findings.push(finding(
            "WorkerCount",
            format!("{workers} worker processes are asked for, and ExecutionMode is {mode}"),
            "set ExecutionMode to multiprocess, or remove WorkerCount",
        ));
    } else if workers > 1 && service {
        findings.push(finding(
            "WorkerCount",
            "a service runs in one worker process: its port or folder can be taken once".into(),
            "set WorkerCount to 1; `pool_size` says how much it does at once",
        ));
    }
    if item.settings.get("WorkerMemoryMax").is_some() && !multiprocess {
        findings.push(finding(
            "WorkerMemoryMax",
            format!("it limits worker processes, and ExecutionMode is {mode}"),
            "set ExecutionMode to multiprocess, or remove the line",
        ));
    }
    findings
}

/// What is wrong between the settings of a queue: one that would be read and ignored.
fn check_queue(item: &ItemConfig) -> Vec<Finding> {
    let plan = Plan::of(item);
    let kind = plan.kind.name();
    let mut findings = Vec::new();
    let mut wrong = |setting, message: String, help: &str| {
        findings.push(Finding {
            setting: Some(setting),
            message,
            help: Some(help.into()),
        });
    };
    if plan.order_by.is_some() && plan.kind != Kind::Fifo {
        let message = format!("an order per key is first in, first out, and QueueType is {kind}");
        wrong("OrderBy", message, "remove one of the two lines");
    }
    if plan.aging.is_some() && plan.kind != Kind::Priority {
        let message = format!("there are no levels to rise in: QueueType is {kind}");
        let help = "set QueueType to priority, or remove the line";
        wrong("PriorityAging", message, help);
    }
    if plan.overflow != Overflow::Block && plan.limit == 0 {
        let message = "a queue without a limit is never full".into();
        let help = "give a QueueSize, or remove the line";
        wrong("OverflowStrategy", message, help);
    }
    findings
}

/// What to say of a setting of queues that is given to a class without one.
pub(crate) fn needs_a_queue(class: &Class, name: &str) -> Option<(String, String)> {
    let of_queues = QUEUE.iter().any(|def| def.name == name);
    let is_service = matches!(class.build, Build::Service(_));
    (of_queues && is_service).then(|| {
        (
            format!("`{name}` is a setting of queues, and a service has none"),
            "set it on the items that the service sends to: messages wait there".into(),
        )
    })
}

/// The setting of this exact name or alias among `defs`, for this target if one is given.
pub(crate) fn find(
    defs: &[&'static SettingDef],
    name: &str,
    target: Option<Target>,
) -> Option<&'static SettingDef> {
    defs.iter()
        .copied()
        .filter(|def| target.is_none_or(|target| target == def.target))
        .find(|def| def.name == name || def.aliases.contains(&name))
}

/// Settings of hosts that IRIS or the HIE design know and this version does not act on. Naming
/// one is an error of its own: a setting that is read and ignored would be worse than none.
pub(crate) const LATER_SETTINGS: &[&str] = &[
    "AlertGracePeriod",
    "AlertGroups",
    "AlertOnError",
    "AlertRetryGracePeriod",
    "ArchiveIO",
    "BatchHandling",
    "BusinessPartner",
    "DocTypeResolution",
    "InactivityTimeout",
    "LogTraceEvents",
    "MessageSchemaCategory",
    "QueueCountAlert",
    "QueueWaitAlert",
    "SaveReplies",
    "Schedule",
    "SearchTableClass",
    "SSLConfig",
    "SendSuperSession",
    "ThrottleDelay",
    "Validation",
];
