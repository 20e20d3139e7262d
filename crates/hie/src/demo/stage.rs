//! The stage of a demo: receivers, folders, the first file, and the configuration between them.
//!
//! Owns how the example production is led to this stage's ports and folders.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use hie_engine::config::{self, ProductionConfig};
use tokio_util::sync::CancellationToken;

use super::{
    books::Books,
    letters::{Destination, Letters, Source},
    receivers::Sites,
    senders::FileDrop,
};
use crate::exit::Failure;

/// What the demo runs. Built in, so that the binary alone is enough.
const EXAMPLE: &str = include_str!("../../../../examples/nhs-acute-trust.yaml");
/// Its name in errors.
const EXAMPLE_NAME: &str = "nhs-acute-trust.yaml";

/// The simulated receivers, and the configuration that leads to them.
pub(crate) struct Stage {
    pub(super) sites: Sites,
    pub(super) books: Arc<Books>,
    pub(super) files: FileDrop,
    pub(super) stop: CancellationToken,
    pub(super) data: PathBuf,
    /// Opens all control IDs; no other run has it.
    pub(super) run: String,
}

impl Stage {
    /// Starts the receivers, makes the folders that the example watches and fills, and drops the
    /// first file, so that the engine finds it at its first look.
    pub(crate) async fn set(data: &Path) -> Result<Self, Failure> {
        for folder in ["drop", "warehouse"] {
            let folder = data.join(folder);
            std::fs::create_dir_all(&folder).map_err(|error| {
                Failure::new(
                    "folder",
                    format!("cannot make the folder {}: {error}", folder.display()),
                )
            })?;
        }
        let (run, books, stop) = (
            run_name(),
            Arc::<Books>::default(),
            CancellationToken::new(),
        );
        let mut files = FileDrop {
            folder: data.join("drop"),
            archive: data.join("drop-archive"),
            letters: Letters::new(Source::Orders, &run),
            run: run.clone(),
            books: books.clone(),
            stop: stop.clone(),
            written: 0,
            dropped: Default::default(),
            waiting: Arc::default(),
        };
        files.drop_one().await;
        Ok(Self {
            sites: Sites::start().await?,
            books,
            files,
            stop,
            data: data.to_owned(),
            run,
        })
    }

    /// The example between this stage's senders and receivers.
    pub(crate) fn config(&self) -> Result<ProductionConfig, Failure> {
        let port = |destination| self.sites.port(destination).map(|port| port.to_string());
        let variable = |name: &str| match name {
            "HIE_DATA" => Some(self.data.display().to_string()),
            "ADT_PORT" | "RESULTS_PORT" => Some("0".into()),
            "EPR_PORT" => port(Destination::Epr),
            "RIS_PORT" => port(Destination::Ris),
            "WAREHOUSE_PORT" => port(Destination::WarehouseLive),
            _ => None, // the rest of the environment has no part in it
        };
        let parsed = config::parse(EXAMPLE, EXAMPLE_NAME, &crate::classes::REGISTRY, &variable);
        let mut config = parsed
            .map_err(|errors| Failure::new("config", config::render(&errors, Some(EXAMPLE))))?;
        // Beside a real engine on this machine, the demo must not want its port.
        config.engine.metrics_address = Some(([127, 0, 0, 1], 0).into());
        Ok(config)
    }
}

/// Six letters and digits that another run of this hour will hardly have.
fn run_name() -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut rest = hie_engine::clock::Clock::system().now_ms() / 100;
    let digit = |_| {
        let digit = DIGITS
            .get(usize::try_from(rest % 36).unwrap_or(0))
            .copied()
            .unwrap_or(b'0');
        rest /= 36;
        char::from(digit)
    };
    // The sequence number in a control ID follows the last N: an N in the run does no harm.
    (0..6)
        .map(digit)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect()
}
