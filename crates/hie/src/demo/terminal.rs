//! The demo's terminal: single keys without Enter, another screen, and everything as it was
//! afterwards.
//!
//! Owns the mode of the terminal. Ctrl-C stays a signal, so it works whatever the demo does.

use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc;

/// To the other screen, no cursor, no wrapping of long lines.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
/// And back.
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Held while the view is shown; dropping it gives the terminal back.
pub(crate) struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    /// Takes the terminal over. Keys are read only where stdin is one.
    pub(crate) fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let mut before = None;
        if stdin.is_terminal() {
            let modes = tcgetattr(&stdin)?;
            let mut raw = modes.clone();
            raw.local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO);
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&stdin, OptionalActions::Now, &raw)?;
            before = Some(modes);
        }
        let terminal = Self { before };
        let mut stdout = io::stdout().lock();
        stdout.write_all(ENTER)?;
        stdout.flush()?;
        Ok(terminal)
    }

    /// The keys that are pressed from now on. The thread that reads them lives as long as the
    /// process: a blocked read has no other end.
    pub(crate) fn keys(&self) -> mpsc::UnboundedReceiver<u8> {
        let (send, keys) = mpsc::unbounded_channel();
        if self.before.is_some() {
            let read = move || {
                let mut stdin = io::stdin().lock();
                let mut key = [0];
                while let Ok(1) = stdin.read(&mut key) {
                    let [key] = key;
                    if send.send(key).is_err() {
                        return;
                    }
                }
            };
            let _ = std::thread::Builder::new().name("keys".into()).spawn(read);
        }
        keys
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(LEAVE).and_then(|()| stdout.flush());
    }
}

/// Columns and rows of the terminal; 80 by 24 where it does not say.
pub(crate) fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}
