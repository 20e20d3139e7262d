//! From a path or a text to a production, or to every error.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::Path,
};

use super::{
    ConfigError, ProductionConfig, PythonConfig,
    error::{Errors, Problem},
    lines::{Lines, Place},
    reader::Reader,
    substitute::reason,
    yaml,
};
use crate::class::Registry;

/// A file larger than this is refused.
pub const FILE_MAX_BYTES: u64 = 16 << 20;

/// Reads and checks a configuration file. `env` looks up variables of the environment.
///
/// # Errors
/// Every error of the file, sorted by position. A file that cannot be read is one error at 1:1.
pub fn load(
    path: &Path,
    registry: &Registry,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<ProductionConfig, Vec<ConfigError>> {
    let file = path.display().to_string();
    let text = read(path).map_err(|problem| vec![problem.finish(&file)])?;
    parse(&text, &file, registry, env)
}

/// The same for a text; `file` is its name in errors, and relative paths start from its folder.
///
/// # Errors
/// Every error of the text, sorted by position.
pub fn parse(
    text: &str,
    file: &str,
    registry: &Registry,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<ProductionConfig, Vec<ConfigError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut errors = Errors::default();
    if text.len() as u64 > FILE_MAX_BYTES {
        errors.add(too_large());
        return Err(errors.finish(file));
    }
    let (root, problems) = yaml::parse(text);
    let unreadable = root.is_none() && !problems.is_empty();
    problems.into_iter().for_each(|problem| errors.add(problem));
    if unreadable {
        return Err(errors.finish(file));
    }
    let folder = Path::new(file)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let lines = Lines::new(text);
    let (registry, classless) = (*registry, Vec::new());
    let mut reader = Reader {
        registry,
        env,
        source: text,
        lines,
        folder,
        data_path: None,
        classless,
        python: PythonConfig::default(),
        foreign: BTreeMap::new(),
        bad_variables: BTreeSet::new(),
        errors,
    };
    let production = reader.file(root.as_ref(), Path::new(file));
    match production {
        Some(production) if reader.errors.count() == 0 => Ok(production),
        _ => Err(reader.errors.finish(file)),
    }
}

fn too_large() -> Problem {
    let message = format!("the file is larger than {} MiB", FILE_MAX_BYTES >> 20);
    Problem::new(Place::START, message).help("split the production")
}

fn read(path: &Path) -> Result<String, Problem> {
    let failed = |error: &std::io::Error| {
        Problem::new(
            Place::START,
            format!("cannot read the file: {}", reason(error)),
        )
    };
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        let lines = Lines::new(&before);
        let line = lines.count();
        let column = lines.line(line).chars().count() + 1;
        Problem::new(Place { line, column }, "the file is not UTF-8 text")
            .help("save it as UTF-8; characters before this place are fine")
    })
}
