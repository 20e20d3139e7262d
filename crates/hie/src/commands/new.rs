//! `hie new host`: a starter for a host of one's own, with its unit test.
//!
//! Owns the names, the two files and the lines for the configuration. What a host can do is the
//! SDK's; the starters are Python files beside this one, so that they can be read and run.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    exit::{Exit, Failure},
    out::Out,
};

/// What `hie new` can begin.
#[derive(Subcommand)]
pub(crate) enum New {
    /// Write a starter for a host, and its unit test
    Host(NewHost),
}

/// Options of `hie new host`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  hie new host --python BedFinder                              a process in python/custom/local
  hie new host --python custom.nhs.beds.BedFinder              the same with its place chosen
  hie new host --python Pager --kind operation --dir hosts     an operation below hosts/

The unit test runs without an engine:
  cd python && python3 -m unittest discover -s tests           (pip install ./sdk/python, once)")]
pub(crate) struct NewHost {
    /// The class: a name (BedFinder), or with its place (custom.nhs.beds.BedFinder)
    #[arg(value_name = "NAME")]
    name: String,
    /// In Python (the only language there is yet)
    #[arg(long, required = true)]
    python: bool,
    /// What kind of host
    #[arg(long, value_enum, default_value_t = Kind::Process)]
    kind: Kind,
    /// The folder that Python imports from; made if absent
    #[arg(long, value_name = "DIR", default_value = "python")]
    dir: PathBuf,
}

/// The three kinds of hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    /// Lets messages in
    Service,
    /// Handles messages on their way
    Process,
    /// Takes messages out
    Operation,
}

impl Kind {
    /// The starter and its test.
    fn starter(self) -> (&'static str, &'static str) {
        match self {
            Self::Service => (
                include_str!("new/service.py"),
                include_str!("new/test_service.py"),
            ),
            Self::Process => (
                include_str!("new/process.py"),
                include_str!("new/test_process.py"),
            ),
            Self::Operation => (
                include_str!("new/operation.py"),
                include_str!("new/test_operation.py"),
            ),
        }
    }

    /// The settings worth showing in the configuration.
    fn settings(self) -> &'static str {
        match self {
            Self::Service => {
                "      CallInterval: 5           # seconds\n      Folder: in\n      TargetConfigNames: NEXT_ITEM\n"
            }
            Self::Process => "      Field: PID-5.1\n      TargetConfigNames: NEXT_ITEM\n",
            Self::Operation => "      Path: received.hl7\n",
        }
    }
}

/// A class and where it stands: `custom.nhs.beds.BedFinder`.
#[derive(PartialEq, Eq, Debug)]
struct ClassName {
    org: String,
    module: String,
    class: String,
}

impl ClassName {
    fn parse(text: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = text.split('.').collect();
        let (org, module, class) = match *parts {
            [class] => ("local", snake(class), class),
            ["custom", org, module, class] => (org, module.to_owned(), class),
            _ => {
                return Err(wrong_name(
                    text,
                    "it is one name, or custom.ORG.MODULE.CLASS",
                ));
            }
        };
        for part in [org, module.as_str(), class] {
            if !is_identifier(part) {
                return Err(wrong_name(
                    text,
                    &format!("`{part}` is no name in Python: letters, digits and _, no keyword"),
                ));
            }
        }
        if !class.starts_with(|first: char| first.is_ascii_uppercase()) {
            return Err(wrong_name(text, "a class begins with a capital letter"));
        }
        Ok(Self {
            org: org.to_owned(),
            module,
            class: class.to_owned(),
        })
    }

    fn full(&self) -> String {
        format!("custom.{}.{}.{}", self.org, self.module, self.class)
    }
}

fn wrong_name(name: &str, why: &str) -> Failure {
    Failure::new("usage", format!("{name:?} cannot name a host class: {why}"))
        .help("for instance BedFinder, or custom.nhs.beds.BedFinder")
}

/// Words that Python keeps for itself, as far as they look like names of modules or classes.
const KEYWORDS: &[&str] = &[
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

fn is_identifier(text: &str) -> bool {
    let shaped = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    shaped && text.len() <= 100 && !KEYWORDS.contains(&text)
}

/// `BedFinder` to `bed_finder`, `PDSLookup` to `pds_lookup`.
fn snake(class: &str) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut out = String::new();
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let begins = before.is_some_and(|before| {
            let after = letters.get(at + 1);
            before.is_ascii_lowercase()
                || before.is_ascii_digit()
                || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase))
        });
        if letter.is_ascii_uppercase() && begins {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

pub(crate) fn run(args: &New) -> Result<(), Failure> {
    let New::Host(args) = args;
    let name = ClassName::parse(&args.name)?;
    let (host, test) = args.kind.starter();
    let module = args
        .dir
        .join("custom")
        .join(&name.org)
        .join(format!("{}.py", name.module));
    let tests = args
        .dir
        .join("tests")
        .join(format!("test_{}.py", name.module));
    for path in [&module, &tests] {
        if path.symlink_metadata().is_ok() {
            return Err(there_already(path));
        }
    }
    write_new(&module, &fill(host, &name))?;
    write_new(&tests, &fill(test, &name))?;
    explain(args, &name, &module, &tests)
}

fn fill(starter: &str, name: &ClassName) -> String {
    let module = format!("custom.{}.{}", name.org, name.module);
    starter
        .replace("STARTER_MODULE", &module)
        .replace("StarterClass", &name.class)
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => there_already(path),
        _ => Failure::new(
            "folder",
            format!("cannot write {}: {error}", path.display()),
        ),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)
}

fn there_already(path: &Path) -> Failure {
    Failure::new(
        "exists",
        format!("{} is there already, and is left as it is", path.display()),
    )
    .exit(Exit::Usage)
    .help("choose another name, or another folder with --dir")
}

fn explain(args: &NewHost, name: &ClassName, module: &Path, tests: &Path) -> Result<(), Failure> {
    let mut out = Out::new();
    let dir = args.dir.display();
    write!(
        out,
        "wrote {}\nwrote {}\n\n\
         Test it (once before: pip install ./sdk/python):\n  \
         cd {dir} && python3 -m unittest discover -s tests\n\n\
         Lines for the configuration (PythonPath names {dir}; the folder python beside the \
         file is found without):\n  \
         - name: {}\n    class: {}\n    ExecutionMode: multiprocess\n    host:\n{}",
        module.display(),
        tests.display(),
        name.class,
        name.full(),
        args.kind.settings(),
    )?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_modules_named_after_them() {
        for (class, module) in [
            ("BedFinder", "bed_finder"),
            ("PDSLookup", "pds_lookup"),
            ("Pager", "pager"),
            ("Hl7ToFhir", "hl7_to_fhir"),
            ("X", "x"),
        ] {
            assert_eq!(snake(class), module);
        }
    }

    #[test]
    fn names_are_taken_whole_or_refused() {
        let full = |text: &str| ClassName::parse(text).map(|name| name.full());
        assert_eq!(
            full("BedFinder").ok().as_deref(),
            Some("custom.local.bed_finder.BedFinder")
        );
        assert_eq!(
            full("custom.nhs.beds.BedFinder").ok().as_deref(),
            Some("custom.nhs.beds.BedFinder")
        );
        for wrong in [
            "",
            "bedFinder",
            "Bed-Finder",
            "../Evil",
            "custom.nhs.BedFinder",
            "li.hosts.beds.BedFinder",
            "custom..beds.BedFinder",
            "custom.nhs.class.BedFinder",
            "Not Good",
            "None",
            "Ärzte",
        ] {
            let error = full(wrong).expect_err(wrong);
            assert_eq!(error.exit, Exit::Usage, "{wrong}");
        }
    }
}
