//! From files to messages: which files, and where a message begins in them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::exit::{Exit, Failure};

/// Reads all messages of all paths, in order.
pub(super) fn read(paths: &[PathBuf], fix_line_ends: bool) -> Result<Vec<Bytes>, Failure> {
    let mut messages = Vec::new();
    for path in paths {
        for file in files(path)? {
            let found = split(&contents(&file)?, fix_line_ends);
            if found.is_empty() {
                let message = format!(
                    "{} holds no message: no line begins with MSH",
                    file.display()
                );
                return Err(Failure::new("no-message", message));
            }
            messages.extend(found);
        }
    }
    Ok(messages)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::new("file", format!("cannot read {path}: {error}"))
}

/// The files that a path means: itself, or those of a folder in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path.as_os_str() == "-" || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable(path))? {
        let entry = entry.map_err(unreadable(path))?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !hidden && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    if found.is_empty() {
        let message = format!("the folder {} has no files", path.display());
        return Err(Failure::new("no-message", message).exit(Exit::Failure));
    }
    Ok(found)
}

fn contents(file: &Path) -> Result<Vec<u8>, Failure> {
    if file.as_os_str() == "-" {
        let mut all = Vec::new();
        io::stdin()
            .read_to_end(&mut all)
            .map_err(unreadable(Path::new("stdin")))?;
        return Ok(all);
    }
    fs::read(file).map_err(unreadable(file))
}

/// Envelopes of a batch (HL7 v2 chapter 2, 2.10.3), which are no part of a message.
const ENVELOPE: [&[u8]; 4] = [b"FHS", b"BHS", b"BTS", b"FTS"];

/// Cuts a file at lines that begin with MSH. What stands before the first, the envelope of a
/// batch, and frame bytes of MLLP are left out; every other byte stays as it is.
fn split(file: &[u8], fix_line_ends: bool) -> Vec<Bytes> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in file.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
        let begin = line
            .iter()
            .take_while(|byte| matches!(byte, 0x0b | 0x1c))
            .count();
        let line = line.get(begin..).unwrap_or_default();
        if line.starts_with(b"MSH") {
            messages.push(Vec::new());
        }
        let envelope = ENVELOPE.iter().any(|name| line.starts_with(name));
        if let Some(message) = messages.last_mut().filter(|_| !envelope) {
            message.extend_from_slice(line);
        }
    }
    messages
        .into_iter()
        .map(|message| finish(message, fix_line_ends))
        .collect()
}

fn finish(mut message: Vec<u8>, fix_line_ends: bool) -> Bytes {
    // Blank lines between messages belong to neither; the line end of the last segment stays.
    while let [.., b'\r' | b'\n', b'\r' | b'\n'] = message[..] {
        if message.ends_with(b"\r\n") && !matches!(message[..], [.., b'\r' | b'\n', b'\r', b'\n']) {
            break;
        }
        message.pop();
    }
    // A frame's end that stood on its own line left nothing but its line end.
    if fix_line_ends {
        let mut fixed = Vec::with_capacity(message.len());
        for (at, byte) in message.iter().enumerate() {
            match byte {
                b'\n' if at > 0 && message.get(at - 1) == Some(&b'\r') => {}
                b'\n' => fixed.push(b'\r'),
                other => fixed.push(*other),
            }
        }
        message = fixed;
    }
    message.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &[u8], fix: bool) -> Vec<String> {
        split(file, fix)
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }

    #[test]
    fn every_msh_begins_a_message_and_bytes_stay_as_they_are() {
        assert_eq!(
            texts(b"MSH|1\rPID|1\rMSH|2\rPID|2\r", false),
            ["MSH|1\rPID|1\r", "MSH|2\rPID|2\r"]
        );
        assert_eq!(texts(b"MSH|1\nPID|1", false), ["MSH|1\nPID|1"]);
        assert_eq!(texts(b"MSH|1\r\nPID|1\r\n", false), ["MSH|1\r\nPID|1\r\n"]);
        assert_eq!(texts(b"\n\n  x\n", false), Vec::<String>::new());
    }

    #[test]
    fn blank_lines_between_messages_belong_to_neither() {
        assert_eq!(
            texts(b"MSH|1\r\n\r\n\r\nMSH|2\n\n\n", false),
            ["MSH|1\r\n", "MSH|2\n"]
        );
    }

    #[test]
    fn envelopes_and_frames_are_left_out() {
        let batch = b"FHS|x\rBHS|x\rMSH|1\rPID\rMSH|2\rBTS|2\rFTS|1\r";
        assert_eq!(texts(batch, false), ["MSH|1\rPID\r", "MSH|2\r"]);
        assert_eq!(
            texts(b"\x0bMSH|1\rPID\r\x1c\r\x0bMSH|2\r\x1c\r", false),
            ["MSH|1\rPID\r", "MSH|2\r"]
        );
    }

    #[test]
    fn line_ends_are_fixed_when_asked() {
        assert_eq!(
            texts(b"MSH|1\nPID|1\r\nPV1\r", true),
            ["MSH|1\rPID|1\rPV1\r"]
        );
    }
}
