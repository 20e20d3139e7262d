//! The worker processes of items: which program, how many, and which job lives in which.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use hie_engine::{
    HostError,
    class::Registry,
    config::{ItemConfig, ProductionConfig},
    host::BusinessService,
    workers::{FarHost, Seat, WorkerPool, WorkerStatus, Workers},
};
use tracing::level_filters::LevelFilter;

use crate::{
    far_host::Standin,
    far_service::ServiceStandin,
    link::Rules,
    process::Plan,
    python,
    slot::Slot,
    wire::{
        FRAME_MAX, PROTOCOL,
        settings::{Init, plain},
    },
};

/// Runs the hosts of items in worker processes: built-in classes in the program that is given,
/// Python classes in an interpreter.
pub struct ProcessWorkers {
    registry: Registry,
    program: PathBuf,
}

impl ProcessWorkers {
    /// `program` is what runs `worker --item NAME --worker K` for the classes of the registry.
    pub fn new(registry: Registry, program: PathBuf) -> Self {
        Self { registry, program }
    }

    /// The program that runs now, even if its file was replaced since.
    pub fn of_this_program(registry: Registry) -> Self {
        Self::new(registry, "/proc/self/exe".into())
    }

    fn is_built_in(&self, item: &ItemConfig) -> bool {
        self.registry
            .classes()
            .iter()
            .any(|class| std::ptr::eq(*class, item.class))
    }

    fn plan(&self, seat: &Seat, worker: u16) -> Plan {
        let item = &seat.item;
        let mut args: Vec<OsString> = Vec::new();
        let mut env = Vec::new();
        let (program, arg0) = if self.is_built_in(item) {
            args.push("worker".into());
            (self.program.clone(), "hie".into())
        } else {
            args.extend(["-m".into(), "hie.worker".into()]);
            let python = &seat.production.python;
            env.extend(python::environment(python));
            (python.executable.clone(), python.executable.clone().into())
        };
        args.extend(["--item".into(), item.name.clone().into()]);
        args.extend(["--worker".into(), worker.to_string().into()]);
        Plan {
            program,
            arg0,
            args,
            env,
            memory_max: memory_max(item),
        }
    }

    fn init(&self, seat: &Seat, worker: u16) -> Init {
        let (item, production) = (&seat.item, &seat.production);
        let built_in = self.is_built_in(item);
        let service = item.class.build.kind() == "Service";
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        Init {
            protocol: PROTOCOL,
            item: item.name.clone(),
            class: item.class.name.to_owned(),
            kind: item.class.build.kind().to_owned(),
            worker,
            jobs: if service { 1 } else { item.pool_size },
            settings: plain(&item.settings),
            targets: item.settings.list("TargetConfigNames").to_vec(),
            config_file: production.file.to_string_lossy().into_owned(),
            python_path: production.python.path.iter().map(path).collect(),
            max_frame: FRAME_MAX,
            log_level: log_level().to_owned(),
            foreign: self.foreign(production),
            config_text: match built_in {
                true => production.source.0.to_string(),
                false => String::new(),
            },
        }
    }

    /// The descriptions of all Python classes of the production.
    fn foreign(&self, production: &ProductionConfig) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = production
            .items
            .iter()
            .filter_map(|item| python::description(item.class))
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

fn memory_max(item: &ItemConfig) -> Option<u64> {
    let bytes = item.settings.int("WorkerMemoryMax")?;
    u64::try_from(bytes).ok()
}

/// What the engine would log of it.
fn log_level() -> &'static str {
    let level = LevelFilter::current();
    if level >= LevelFilter::DEBUG {
        "debug"
    } else if level >= LevelFilter::INFO {
        "info"
    } else if level >= LevelFilter::WARN {
        "warn"
    } else {
        "error"
    }
}

impl Workers for ProcessWorkers {
    fn pool(&self, seat: Seat) -> Result<Arc<dyn WorkerPool>, HostError> {
        let item = &seat.item;
        let count = item.worker_count().unwrap_or(1);
        let settings = &item.settings;
        let slots = (0..count).map(|worker| {
            let rules = Rules {
                item: item.name.as_str().into(),
                worker,
                heartbeat: settings
                    .duration("WorkerHeartbeat")
                    .unwrap_or(Duration::from_secs(5)),
                memory_max: memory_max(item),
            };
            Arc::new(Slot::new(
                self.plan(&seat, worker),
                self.init(&seat, worker),
                rules,
                seat.stats.clone(),
                seat.production.engine.shutdown_timeout,
            ))
        });
        Ok(Arc::new(Pool {
            slots: slots.collect(),
            jobs: item.pool_size.max(1),
            timeout: settings.duration("WorkerTimeout"),
        }))
    }
}

struct Pool {
    slots: Vec<Arc<Slot>>,
    /// Jobs a worker.
    jobs: u16,
    timeout: Option<Duration>,
}

impl WorkerPool for Pool {
    fn host(&self, job: usize) -> Box<dyn FarHost> {
        let jobs = usize::from(self.jobs);
        let slot = &self.slots[(job / jobs) % self.slots.len()];
        let place = u16::try_from(job % jobs).unwrap_or(0);
        Box::new(Standin::new(slot.clone(), place, self.timeout))
    }

    fn service(&self) -> Box<dyn BusinessService> {
        Box::new(ServiceStandin::new(self.slots[0].clone()))
    }

    fn status(&self) -> Vec<WorkerStatus> {
        self.slots.iter().map(|slot| slot.status()).collect()
    }
}
