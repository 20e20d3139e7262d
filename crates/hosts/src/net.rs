//! What the TCP classes share: their settings, and through [`Listener`] and [`Dialler`] their
//! sockets.
//!
//! Owns the adapter tables of inbound and outbound TCP. Knows nothing of messages.

mod allow;
mod sockets;

use std::net::IpAddr;

use hie_engine::{
    config::{Finding, ItemConfig},
    setting::{SettingDef, SettingType},
};
use hie_mllp::Framing;

pub use allow::AllowList;
pub use sockets::{Dialler, Listener};

/// A port number.
const PORT: SettingType = SettingType::Int {
    min: 0,
    max: 65_535,
};
/// Seconds without an "unlimited".
const SECONDS: SettingType = SettingType::Seconds {
    min: 0.001,
    max: 86_400.0,
    unlimited: None,
};
/// Seconds where `-1` is for ever.
const SECONDS_OR_EVER: SettingType = SettingType::Seconds {
    min: 0.0,
    max: 86_400.0,
    unlimited: Some("for ever"),
};

/// Framing and size, for both directions.
pub const FRAMING: &[SettingDef] = &[
    SettingDef::adapter(
        "Framing",
        SettingType::Checked(check_framing),
        "MLLP",
        "How messages are framed: `MLLP` (0B … 1C 0D), or `MLLP<start>/<end>` with other codes, decimal or \
         hexadecimal (`MLLP0x02/0x03`); a carriage return follows the end.",
    ),
    SettingDef::adapter(
        "MaxMessageSize",
        SettingType::Bytes {
            min: 1024,
            max: 1 << 30,
        },
        "16 MiB",
        "The longest message taken, in bytes (units KiB, MiB, kB, MB). A longer one is answered negatively.",
    ),
];

/// Settings of a TCP listener.
pub const INBOUND: &[SettingDef] = &[
    SettingDef::adapter("Port", PORT, "", "The port to listen on; 0 takes a free one, which `hie status` shows.").required(),
    SettingDef::adapter("IPAddress", SettingType::Checked(check_address), "0.0.0.0",
        "The address of this machine to listen on; 0.0.0.0 is every IPv4 address, :: every address.")
        .aliases(&["LocalInterface", "Host"]),
    SettingDef::adapter("AllowedIPAddresses", SettingType::Checked(check_allowed), "",
        "Who may connect: a comma-separated list of addresses and networks (`10.1.2.3, 10.2.0.0/16`). Empty: everybody."),
    SettingDef::adapter("JobPerConnection", SettingType::Bool, "true",
        "Whether connections are served side by side. False: one at a time, others wait until it closes."),
    SettingDef::adapter("MaxConnections", SettingType::Int { min: 1, max: 100_000 }, "1000",
        "The most connections served at once; further ones are closed at once."),
    SettingDef::adapter("StayConnected", SECONDS_OR_EVER, "-1",
        "How many seconds a connection may be idle before it is closed; 0 closes it after each message, -1 never."),
    SettingDef::adapter("ReadTimeout", SECONDS, "30",
        "How many seconds may pass between two reads inside a message. A slow sender that makes progress is not cut off by it."),
    SettingDef::adapter("FrameTimeout", SECONDS, "300",
        "How many seconds a whole message may take from its first byte to its last."),
    SettingDef::adapter("WriteTimeout", SECONDS, "30", "How many seconds a sender may take to read its answer."),
    SettingDef::adapter("TLSCertificateFile", SettingType::Path, "",
        "The certificate chain of this listener in PEM; with it, only TLS (1.2 and 1.3) is spoken.").optional(),
    SettingDef::adapter("TLSKeyFile", SettingType::Path, "", "The private key of the certificate, in PEM.").optional(),
    SettingDef::adapter("TLSClientCAFile", SettingType::Path, "",
        "Certificates (PEM) of whoever issues the clients' certificates; with it, each client must show one.").optional(),
];

/// Settings of a TCP client.
pub const OUTBOUND: &[SettingDef] = &[
    SettingDef::adapter("IPAddress", SettingType::Text, "127.0.0.1", "The name or address of the peer.").aliases(&["Host"]),
    SettingDef::adapter("Port", SettingType::Int { min: 1, max: 65_535 }, "", "The port of the peer.").required(),
    SettingDef::adapter("ConnectTimeout", SECONDS, "5", "How many seconds connecting may take."),
    SettingDef::adapter("StayConnected", SECONDS_OR_EVER, "-1",
        "How many seconds the connection stays open when nothing is sent; 0 closes it after each message, -1 never."),
    SettingDef::adapter("ReconnectRetry", SettingType::Int { min: 0, max: 1_000 }, "5",
        "After how many failed tries of a message the connection is made anew; 0 never. A lost or silent connection is always made anew."),
    SettingDef::adapter("ReplyTimeout", SECONDS_OR_EVER, "30",
        "How many seconds the reply may take to begin; after that the connection is closed, so that a late reply \
         cannot be taken for another's, and the message is tried again. -1 waits for ever.")
        .aliases(&["ResponseTimeout", "AckTimeout"]),
    SettingDef::adapter("ReadTimeout", SECONDS, "5", "How many seconds may pass between two reads inside the reply."),
    SettingDef::adapter("WriteTimeout", SECONDS, "30", "How many seconds the peer may take to accept a message."),
    SettingDef::adapter("TLSCAFile", SettingType::Path, "",
        "Certificates (PEM) of whoever may have issued the peer's certificate; with it, only TLS is spoken.").optional(),
    SettingDef::adapter("TLSServerName", SettingType::Text, "",
        "The name that the peer's certificate must carry, where it is not IPAddress.").optional(),
    SettingDef::adapter("TLSCertificateFile", SettingType::Path, "", "Our certificate chain (PEM) for a peer that asks for one.").optional(),
    SettingDef::adapter("TLSKeyFile", SettingType::Path, "", "The private key of our certificate, in PEM.").optional(),
];

/// Relations between the TLS settings that a table cannot say; `needs` is what TLS starts with.
pub fn check_tls(item: &ItemConfig, needs: &'static str) -> Vec<Finding> {
    let given = |name: &str| {
        item.settings
            .text(name)
            .is_some_and(|text| !text.is_empty())
    };
    let mut findings = Vec::new();
    for (has, lacks) in [
        ("TLSCertificateFile", "TLSKeyFile"),
        ("TLSKeyFile", "TLSCertificateFile"),
    ] {
        if given(has) && !given(lacks) {
            findings.push(Finding {
                setting: Some(has),
                message: format!("{has} is given without {lacks}"),
                help: Some(format!(
                    "a certificate and its key go together: give {lacks} too"
                )),
            });
        }
    }
    for rest in ["TLSClientCAFile", "TLSServerName", "TLSCertificateFile"] {
        let declared = item.class.setting(rest, None).is_some();
        if declared && rest != needs && given(rest) && !given(needs) {
            findings.push(Finding {
                setting: Some(rest),
                message: format!(
                    "{rest} is given, but without {needs} the connection is not encrypted"
                ),
                help: Some(format!("give {needs}, or leave {rest} out")),
            });
        }
    }
    findings
}

fn check_framing(text: &str) -> Result<(), String> {
    parse_framing(text).map(|_| ())
}

/// Reads `MLLP` or `MLLP<start>/<end>`.
pub fn parse_framing(text: &str) -> Result<Framing, String> {
    let allowed = || {
        format!(
            "{text:?} is no framing; allowed: MLLP, or MLLP<start>/<end> such as MLLP11/28 or MLLP0x02/0x03"
        )
    };
    if text.eq_ignore_ascii_case("MLLP") {
        return Ok(Framing::MLLP);
    }
    let codes = text
        .strip_prefix("MLLP")
        .and_then(|rest| rest.split_once('/'))
        .ok_or_else(allowed)?;
    let code = |code: &str| match code.strip_prefix("0x").or_else(|| code.strip_prefix('x')) {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => code.parse().ok(),
    };
    let start = code(codes.0).ok_or_else(allowed)?;
    let end = code(codes.1).ok_or_else(allowed)?;
    Framing::new(start, end, Some(b'\r')).map_err(|error| error.to_string())
}

fn check_address(text: &str) -> Result<(), String> {
    text.parse::<IpAddr>().map(|_| ()).map_err(|_| {
        format!("{text:?} is no IP address of this machine, such as 0.0.0.0 or 127.0.0.1")
    })
}

fn check_allowed(text: &str) -> Result<(), String> {
    AllowList::parse(text).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_is_read_in_all_its_forms() {
        assert_eq!(parse_framing("MLLP"), Ok(Framing::MLLP));
        assert_eq!(parse_framing("MLLP11/28"), Ok(Framing::MLLP));
        assert_eq!(parse_framing("MLLP0x0B/x1C"), Ok(Framing::MLLP));
        for wrong in ["", "LLP", "MLLP11", "MLLP11/300", "MLLP28/28", "MLLP/"] {
            assert!(parse_framing(wrong).is_err(), "{wrong}");
        }
    }
}
