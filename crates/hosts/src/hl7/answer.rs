//! What a sender is told: acknowledgements positive and negative.
//!
//! Owns the choice of the code (`NackErrorCode`, commit codes) and the shape of the answer. A
//! positive one can only be written with a [`Durable`] token, which only the journal can make.

use std::io::Write as _;

use hie_engine::{
    clock::Clock,
    setting::{SettingDef, SettingType, Settings},
};
use hie_hl7::{
    Message,
    ack::{AckCode, AckError, AckRequest},
};
use hie_journal::Durable;

/// Settings of every HL7 service that answers.
pub const SETTINGS: &[SettingDef] = &[
    SettingDef::host(
        "NackErrorCode",
        SettingType::Choice(&[&["ContentE"], &["ContentR"], &["AllE"], &["AllR"]]),
        "ContentE",
        "Which negative code says what: ContentE answers E to a wrong message and R to a failure of the engine \
         (the sender may repeat it), ContentR the reverse, AllE and AllR always the same.",
    ),
    SettingDef::host(
        "UseAckCommitCodes",
        SettingType::Bool,
        "false",
        "Whether an immediate answer uses CA, CE and CR in place of AA, AE and AR, for messages of version 2.3 and later.",
    ),
    SettingDef::host(
        "AddNackERR",
        SettingType::Bool,
        "false",
        "Whether a negative answer has an ERR segment with the reason.",
    ),
    SettingDef::host(
        "LocalFacilityApplication",
        SettingType::Checked(check_local),
        "",
        "`facility:application` for MSH-4 and MSH-3 of answers made here; empty: MSH-6 and MSH-5 of the message.",
    ),
];

fn check_local(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains(':') {
        return Ok(());
    }
    Err(format!(
        "{text:?} lacks the colon: write facility:application"
    ))
}

/// Why a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The message is wrong; repeating it as it is will not help.
    Content,
    /// The engine cannot take it now; repeating it may help.
    System,
}

/// Writes answers as the settings of a service say.
#[derive(Clone, Debug)]
pub struct Answerer {
    content_is_reject: bool,
    system_is_reject: bool,
    commit_codes: bool,
    add_err: bool,
    local: Option<(String, String)>,
}

impl Answerer {
    /// From the settings of [`SETTINGS`].
    pub fn new(settings: &Settings) -> Self {
        let (content_is_reject, system_is_reject) = match settings.text("NackErrorCode") {
            Some("ContentR") => (true, false),
            Some("AllE") => (false, false),
            Some("AllR") => (true, true),
            _ => (false, true),
        };
        let local = settings
            .text("LocalFacilityApplication")
            .and_then(|text| text.split_once(':'));
        Self {
            content_is_reject,
            system_is_reject,
            commit_codes: settings.bool("UseAckCommitCodes"),
            add_err: settings.bool("AddNackERR"),
            local: local
                .map(|(facility, application)| (application.to_owned(), facility.to_owned())),
        }
    }

    /// Whether `UseAckCommitCodes` applies to this message.
    pub fn uses_commit_codes(&self, message: &Message<'_>) -> bool {
        self.commit_codes
            && message
                .header()
                .version_number()
                .is_some_and(hie_hl7::Version::has_commit_codes)
    }

    /// Appends a positive answer: the message is on disk, and the token proves it.
    pub fn accept(
        &self,
        _proof: &Durable,
        message: &Message<'_>,
        commit: bool,
        id: u64,
        clock: &Clock,
        out: &mut Vec<u8>,
    ) {
        let code = if commit { AckCode::CA } else { AckCode::AA };
        self.write(Some(message), code, None, id, clock, out);
    }

    /// Appends a negative answer; `message` is none where there is no usable MSH.
    #[allow(clippy::too_many_arguments)] // one call a place; a struct would only repeat the names
    pub fn refuse(
        &self,
        message: Option<&Message<'_>>,
        fault: Fault,
        commit: bool,
        reason: &str,
        id: u64,
        clock: &Clock,
        out: &mut Vec<u8>,
    ) {
        let reject = match fault {
            Fault::Content => self.content_is_reject,
            Fault::System => self.system_is_reject,
        };
        let code = match (commit, reject) {
            (false, false) => AckCode::AE,
            (false, true) => AckCode::AR,
            (true, false) => AckCode::CE,
            (true, true) => AckCode::CR,
        };
        let hl7_code = if fault == Fault::Content { 100 } else { 207 };
        self.write(message, code, Some((reason, hl7_code)), id, clock, out);
    }

    fn write(
        &self,
        message: Option<&Message<'_>>,
        code: AckCode,
        why: Option<(&str, u16)>,
        id: u64,
        clock: &Clock,
        out: &mut Vec<u8>,
    ) {
        let (time, mut id_digits) = (clock.hl7_now(), [0; 20]);
        let time = std::str::from_utf8(&time).unwrap_or_default();
        let mut rest = &mut id_digits[..];
        let _ = write!(rest, "{id}"); // twenty digits hold any u64
        let unused = rest.len();
        let id = std::str::from_utf8(&id_digits[..20 - unused]).unwrap_or_default();
        let mut request = match message {
            Some(message) => AckRequest::to(message, code, time, id),
            None => AckRequest::to_garbage(code, time, id),
        };
        if let Some((application, facility)) = &self.local {
            request = request.from_local(application, facility);
        }
        if let Some((reason, hl7_code)) = why {
            request = request.text(reason);
            if self.add_err {
                request = request.error(AckError::new(hl7_code).saying(reason));
            }
        }
        request.write(out);
    }
}
