//! Python classes: `class: custom.<org>.<module>.<Class>`.
//!
//! What such a class is (its kind, its settings) is asked of the interpreter once for each load of
//! a configuration, with `python3 -m hie.describe`; out of the answer a [`Class`] is made that the
//! engine treats like a built-in one. A class whose description did not change keeps its `Class`,
//! so a configuration may be loaded any number of times.
//!
//! In a worker process no interpreter is asked: the engine hands the descriptions on
//! ([`know`]).

use std::{
    collections::HashMap,
    ffi::OsString,
    io::Read,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use hie_engine::{
    HostError,
    class::{Build, Class, Unresolved},
    config::{Finding, ItemConfig, ProductionConfig, PythonConfig},
    host::{BusinessOperation, BusinessProcess, BusinessService},
    setting::{SettingDef, SettingType, Target},
};
use parking_lot::Mutex;
use serde::Deserialize;

/// How long an interpreter may take to describe a class.
const DESCRIBE_WITHIN: Duration = Duration::from_secs(10);

/// What an interpreter may say about a class.
const ANSWER_MAX: u64 = 4 << 20;

/// Names that are looked for in Python.
const PREFIX: &str = "custom.";

/// Descriptions by class name, with the class that was made of each.
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

#[derive(Default)]
struct Known {
    /// (name, description) to class: leaked once, used for ever.
    classes: HashMap<(String, String), &'static Class>,
    /// What the engine told this worker.
    told: HashMap<String, String>,
}

/// Resolves the name of a Python class; none where it cannot be one. For
/// [`Registry::with_foreign`](hie_engine::class::Registry::with_foreign).
pub fn resolve(name: &str, python: &PythonConfig) -> Option<Result<&'static Class, Unresolved>> {
    if !name.starts_with(PREFIX) {
        return None;
    }
    let told = KNOWN
        .lock()
        .as_ref()
        .and_then(|known| known.told.get(name).cloned());
    let description = match told {
        Some(description) => Ok(description),
        None => describe(name, python),
    };
    Some(description.and_then(|description| class_of(name, &description)))
}

/// Takes over what the engine knows of classes.
pub(crate) fn know(descriptions: Vec<(String, String)>) {
    let mut known = KNOWN.lock();
    known.get_or_insert_default().told.extend(descriptions);
}

/// The name and the description of a class, if it is a Python class.
pub(crate) fn description(class: &'static Class) -> Option<(String, String)> {
    let known = KNOWN.lock();
    let classes = &known.as_ref()?.classes;
    let (key, _) = classes
        .iter()
        .find(|(_, known)| std::ptr::eq(**known, class))?;
    Some(key.clone())
}

/// The environment in which modules are found: `PythonPath` before what the engine inherited.
pub(crate) fn environment(python: &PythonConfig) -> Vec<(OsString, OsString)> {
    let inherited = std::env::var_os("PYTHONPATH").filter(|path| !path.is_empty());
    let inherited = inherited
        .iter()
        .flat_map(|path| std::env::split_paths(path));
    let path = std::env::join_paths(python.path.iter().cloned().chain(inherited));
    let mut env = vec![("PYTHONUNBUFFERED".into(), "1".into())];
    env.extend(path.ok().map(|path| ("PYTHONPATH".into(), path)));
    env
}

/// Asks the interpreter.
fn describe(name: &str, python: &PythonConfig) -> Result<String, Unresolved> {
    let program = python.executable.display();
    let mut command = Command::new(&python.executable);
    command.args(["-m", "hie.describe", name]);
    for folder in &python.path {
        command.arg("--path").arg(folder);
    }
    command
        .envs(environment(python))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| Unresolved {
        message: format!("{program} cannot be started to load `{name}`: {error}"),
        help: Some("install Python 3.9 or later, or say where it is with PythonExecutable".into()),
    })?;
    let said = read_all(child.stdout.take());
    let complained = read_all(child.stderr.take());
    let Some(well) = wait(&mut child) else {
        let within = DESCRIBE_WITHIN.as_secs();
        return Err(Unresolved {
            message: format!("{program} did not describe `{name}` within {within} s"),
            help: Some("a module should do nothing long when it is imported".into()),
        });
    };
    let join = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let (said, complained) = (join(said), join(complained));
    if well {
        return Ok(said);
    }
    Err(refused(name, python, &complained))
}

/// What the interpreter says of a class that it cannot load.
fn refused(name: &str, python: &PythonConfig, complained: &str) -> Unresolved {
    let last = complained
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty());
    let sdk_missing = ["No module named hie", "No module named 'hie"]
        .iter()
        .any(|words| complained.contains(words));
    if sdk_missing {
        return Unresolved {
            message: format!("`{name}` is a Python class, and Python has no module `hie`"),
            help: Some("install the SDK: pip install ./sdk/python".into()),
        };
    }
    let folders: Vec<String> = python
        .path
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    let help = match folders.is_empty() {
        true => "PythonPath names no folder to look in, and there is no folder `python` beside \
                 this file"
            .into(),
        false => format!("looked in {} (PythonPath)", folders.join(", ")),
    };
    Unresolved {
        message: format!("`{name}`: {}", last.unwrap_or("Python gave no reason")),
        help: Some(help),
    }
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(ANSWER_MAX).read_to_end(&mut bytes); // what was read counts
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether it ended well; none when it had to be ended.
fn wait(child: &mut Child) -> Option<bool> {
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    let mut left = DESCRIBE_WITHIN;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if !left.is_zero() => {
                thread::sleep(LOOK_EVERY);
                left = left.saturating_sub(LOOK_EVERY);
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[derive(Deserialize)]
struct Described {
    kind: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    settings: Vec<DescribedSetting>,
}

#[derive(Deserialize)]
struct DescribedSetting {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    default: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    doc: String,
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    target: Option<String>,
}

/// The class of a description.
fn class_of(name: &str, description: &str) -> Result<&'static Class, Unresolved> {
    let key = (name.to_owned(), description.trim().to_owned());
    let made = KNOWN
        .lock()
        .as_ref()
        .and_then(|known| known.classes.get(&key).copied());
    if let Some(class) = made {
        return Ok(class);
    }
    let wrong = |why: String| Unresolved {
        message: format!("`{name}`: what hie.describe says of it is not a description: {why}"),
        help: Some("the SDK and this engine must be of the same version".into()),
    };
    let described: Described =
        serde_json::from_str(&key.1).map_err(|error| wrong(error.to_string()))?;
    let class = Box::leak(Box::new(make(name, described).map_err(wrong)?));
    let mut known = KNOWN.lock();
    let classes = &mut known.get_or_insert_default().classes;
    Ok(*classes.entry(key).or_insert(class))
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn make(name: &str, described: Described) -> Result<Class, String> {
    let build = match described.kind.as_str() {
        "Service" => Build::Service(make_service),
        "Process" => Build::Process(make_process),
        "Operation" => Build::Operation(make_operation),
        other => return Err(format!("its kind is `{other}`")),
    };
    let mut settings = described
        .settings
        .iter()
        .map(setting)
        .collect::<Result<Vec<_>, _>>()?;
    let has = |settings: &[SettingDef], name: &str| settings.iter().any(|def| def.name == name);
    if described.kind != "Operation" && !has(&settings, "TargetConfigNames") {
        settings.push(TARGETS);
    }
    settings.retain(|def| def.name != "ExecutionMode");
    settings.push(EXECUTION_MODE);
    Ok(Class {
        name: leak(name),
        aliases: &[],
        summary: leak(match described.summary.as_str() {
            "" => "A Python class.",
            summary => summary,
        }),
        settings: Box::leak(Box::new([&*settings.leak()])),
        build,
        check,
    })
}

const TARGETS: SettingDef = SettingDef::host(
    "TargetConfigNames",
    SettingType::Items,
    "",
    "The items that get the messages.",
);

const EXECUTION_MODE: SettingDef = SettingDef::host(
    "ExecutionMode",
    SettingType::Choice(&[&["multiprocess", "multi_process"]]),
    "multiprocess",
    "Python classes run in worker processes: `multiprocess` is their only mode.",
);

fn setting(described: &DescribedSetting) -> Result<SettingDef, String> {
    let name = &described.name;
    if name.is_empty() {
        return Err("a setting has no name".into());
    }
    #[allow(clippy::cast_possible_truncation)] // `as` saturates, which is meant
    let whole = |bound: Option<f64>, open: i64| bound.map_or(open, |bound| bound as i64);
    let kind = match described.kind.as_str() {
        "text" => SettingType::Text,
        "bool" => SettingType::Bool,
        "int" => SettingType::Int {
            min: whole(described.min, i64::MIN),
            max: whole(described.max, i64::MAX),
        },
        "seconds" => SettingType::Seconds {
            min: described.min.unwrap_or(0.0).max(0.0),
            max: described.max.unwrap_or(31_536_000.0),
            // A setting that knows -1 as "no limit" says so by a negative minimum or default.
            unlimited: (described.min.is_some_and(|min| min < 0.0)
                || described.default.as_deref() == Some("-1"))
            .then_some("no limit"),
        },
        "bytes" => SettingType::Bytes {
            min: u64::try_from(whole(described.min, 0)).unwrap_or(0),
            max: u64::try_from(whole(described.max, i64::MAX)).unwrap_or(u64::MAX),
        },
        "choice" if !described.choices.is_empty() => {
            let choices = described.choices.iter().map(|choice| {
                let names: &'static [&'static str] = Box::leak(Box::new([leak(choice)]));
                names
            });
            SettingType::Choice(choices.collect::<Vec<_>>().leak())
        }
        "items" => SettingType::Items,
        "path" => SettingType::Path,
        other => return Err(format!("setting {name} has the type `{other}`")),
    };
    let target = match described.target.as_deref() {
        Some("Adapter") => Target::Adapter,
        _ => Target::Host,
    };
    if let Some(default) = &described.default
        && kind.parse(default).is_err()
    {
        return Err(format!(
            "the default of setting {name} is not {}",
            kind.expected()
        ));
    }
    Ok(SettingDef {
        name: leak(name),
        aliases: &[],
        target,
        kind,
        default: described.default.as_deref().map(leak),
        required: described.required,
        env: None,
        doc: leak(&described.doc),
    })
}

fn check(_item: &ItemConfig, _production: &ProductionConfig) -> Vec<Finding> {
    Vec::new() // What a Python class finds wrong it says when it starts.
}

fn elsewhere() -> HostError {
    HostError::new(
        "python-class",
        "a Python class runs in a worker process only",
    )
}

fn make_service(
    _: &ItemConfig,
    _: &ProductionConfig,
) -> Result<Box<dyn BusinessService>, HostError> {
    Err(elsewhere())
}

fn make_process(
    _: &ItemConfig,
    _: &ProductionConfig,
) -> Result<Box<dyn BusinessProcess>, HostError> {
    Err(elsewhere())
}

fn make_operation(
    _: &ItemConfig,
    _: &ProductionConfig,
) -> Result<Box<dyn BusinessOperation>, HostError> {
    Err(elsewhere())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = r#"{"class":"custom.test.a.B","kind":"Process","summary":"Does.","settings":[
        {"name":"Endpoint","type":"text","default":null,"required":true,"doc":"Where."},
        {"name":"Tries","type":"int","default":"3","min":1,"max":9,"doc":"How often."},
        {"name":"Mode","type":"choice","choices":["a","b"],"default":"a","target":"Adapter"},
        {"name":"Wait","type":"seconds","default":"-1"}]}"#;

    #[test]
    fn a_description_becomes_a_class_once() {
        let class = class_of("custom.test.a.B", DESCRIPTION).unwrap();
        assert_eq!(
            (class.name, class.build.kind()),
            ("custom.test.a.B", "Process")
        );
        let names: Vec<&str> = class.settings().map(|def| def.name).collect();
        let expected = [
            "Endpoint",
            "Tries",
            "Mode",
            "Wait",
            "TargetConfigNames",
            "ExecutionMode",
        ];
        assert_eq!(names, expected);
        assert!(class.setting("Endpoint", None).unwrap().required);
        assert_eq!(class.setting("Mode", None).unwrap().target, Target::Adapter);
        assert!(std::ptr::eq(
            class,
            class_of("custom.test.a.B", DESCRIPTION).unwrap()
        ));
        let (name, known) = description(class).unwrap();
        assert_eq!(
            (name.as_str(), known.as_str()),
            ("custom.test.a.B", DESCRIPTION)
        );
    }

    #[test]
    fn what_is_no_description_is_an_error_with_its_place() {
        for wrong in [
            "",
            "[]",
            r#"{"kind":"Thing"}"#,
            r#"{"kind":"Process","settings":[{"name":"A","type":"colour"}]}"#,
            r#"{"kind":"Process","settings":[{"name":"A","type":"int","default":"x"}]}"#,
        ] {
            assert!(class_of("custom.test.a.C", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_missing_sdk_and_a_missing_module_are_told_apart() {
        let python = PythonConfig::default();
        let sdk = "/usr/bin/python3: Error while finding module specification for 'hie.describe' \
                   (ModuleNotFoundError: No module named 'hie')";
        let help = refused("custom.a.b.C", &python, sdk).help.unwrap();
        assert!(help.contains("pip install ./sdk/python"), "{help}");
        let theirs = refused("custom.a.b.C", &python, "x\nthere is no class C in b\n");
        assert!(theirs.message.contains("there is no class C"));
    }
}
