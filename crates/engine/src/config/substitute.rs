//! `${NAME}`, `${NAME:-default}`, `${file:/run/secrets/x}` and `$${` in the values of a file.
//!
//! Works on the text of one scalar after the YAML is read, so that no value can change the
//! structure of the file. What comes from outside may be a secret: it is marked, and no error
//! says a word of it.

use std::{io::Read, path::Path};

/// A secret file larger than this is a mistake.
const SECRET_MAX_BYTES: u64 = 1 << 20;

/// Where values come from.
pub(crate) struct Sources<'a> {
    /// The environment.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The folder that relative names of secret files start from.
    pub(crate) folder: &'a Path,
    /// What `${DataPath}` stands for; none while it is itself being read.
    pub(crate) data_path: Option<&'a str>,
}

/// A text with everything put in.
#[derive(PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// Whether part of it came from the environment or a file.
    pub(crate) outside: bool,
    /// Whether it differs from what is written, so that places in it say nothing of the file.
    pub(crate) moved: bool,
}

/// What is wrong with one substitution, and the byte of the raw text at which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Puts everything in, or says all that is wrong.
pub(crate) fn expand(raw: &str, sources: &Sources<'_>) -> Result<Expanded, Vec<Fault>> {
    let mut out = Expanded {
        text: String::new(),
        outside: false,
        moved: false,
    };
    let mut faults = Vec::new();
    let mut rest = raw;
    while let Some(start) = rest.find("${") {
        let (before, found) = rest.split_at(start);
        out.moved = true;
        if let Some(before) = before.strip_suffix('$') {
            out.text.push_str(before);
            out.text.push_str("${");
            rest = found.strip_prefix("${").unwrap_or("");
            continue;
        }
        out.text.push_str(before);
        let offset = raw.len() - found.len();
        let fault = |(message, help)| Fault {
            offset,
            message,
            help,
        };
        let Some(end) = found.find('}') else {
            faults.push(fault((
                "`${` is not closed by `}`".into(),
                Some(ESCAPE.into()),
            )));
            return Err(faults);
        };
        let (inside, tail) = found.split_at(end);
        match resolve(inside.strip_prefix("${").unwrap_or(inside), sources) {
            Ok((value, outside)) => {
                out.text.push_str(&value);
                out.outside |= outside;
            }
            Err(wrong) => faults.push(fault(wrong)),
        }
        rest = tail.strip_prefix('}').unwrap_or("");
    }
    out.text.push_str(rest);
    if faults.is_empty() {
        Ok(out)
    } else {
        Err(faults)
    }
}

const ESCAPE: &str = "write `$${` for a plain `${`";

type Wrong = (String, Option<String>);

/// The value of what stands between the braces, and whether it came from outside.
fn resolve(inside: &str, sources: &Sources<'_>) -> Result<(String, bool), Wrong> {
    if let Some(path) = inside.strip_prefix("file:") {
        return secret(path, sources.folder).map(|text| (text, true));
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_name(name) {
        let message = "`${…}` does not hold the name of a variable".to_owned();
        let help = "write `${NAME}`, `${NAME:-default}` or `${file:/path}`; `$${` is a plain `${`";
        return Err((message, Some(help.into())));
    }
    if let Some(path) = sources.data_path.filter(|_| name == "DataPath") {
        return Ok((path.to_owned(), false));
    }
    match (
        (sources.env)(name).filter(|value| !value.is_empty() || default.is_none()),
        default,
    ) {
        (Some(value), _) => Ok((value, true)),
        (None, Some(default)) => Ok((default.to_owned(), false)),
        (None, None) => Err((
            format!("the environment variable `{name}` is not set"),
            Some(format!("set it, or give a default: `${{{name}:-value}}`")),
        )),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The content of a secret file without its final line end.
fn secret(path: &str, folder: &Path) -> Result<String, Wrong> {
    let wrong = |why: String| (format!("the secret file `{path}` {why}"), None);
    let file = folder.join(path);
    let handle = std::fs::File::open(file)
        .map_err(|error| wrong(format!("cannot be opened: {}", reason(&error))))?;
    let mut bytes = Vec::new();
    handle
        .take(SECRET_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(format!("cannot be read: {}", reason(&error))))?;
    if bytes.len() as u64 > SECRET_MAX_BYTES {
        return Err(wrong("is larger than 1 MiB".into()));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text".into()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Why a file could not be read, without the operating system's number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
