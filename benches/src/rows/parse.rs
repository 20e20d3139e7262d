//! Parsing in this process: a message, then three fields by their paths. A report's third field is in
//! its last segment, so that every byte of it has to be looked at: three fields of its beginning
//! would be had without reading on, and the figure would say nothing.

use std::{hint::black_box, time::Instant};

use hie_hl7::{Message, Path};
use hie_load::message::{Kind, Template};

use crate::{Fault, figure::Sample};

/// Bytes parsed in one timing.
const STRETCH_BYTES: usize = 64 << 20;
/// Timings, of which the best counts: anything else on the machine only adds time.
const TIMINGS: usize = 9;

/// 700: the admission; more: a result report of so many bytes.
pub(super) fn run(bytes: usize) -> Result<Sample, Fault> {
    let kind = if bytes == 700 { Kind::Adt } else { Kind::Oru };
    let mut raw = Vec::new();
    Template::fixed(kind, bytes).write(&mut raw, b"BENCH0000N000000001", 0);
    let segments = raw
        .split(|byte| *byte == b'\r')
        .filter(|segment| segment.starts_with(b"OBX"));
    let third = match segments.count() {
        0 => "PID-3.1".to_owned(),
        last => format!("OBX[{last}]-5"),
    };
    let near = best(&raw, &["MSH-9", "MSH-10", "PID-3.1"])?;
    let best = if kind == Kind::Adt {
        near
    } else {
        best(&raw, &["MSH-9", "MSH-10", &third])?
    };
    Ok(Sample::new(best)
        .with("bytes", raw.len() as f64)
        .with("ns a message", raw.len() as f64 / best)
        .with("ns with fields of the beginning", raw.len() as f64 / near))
}

/// Bytes a nanosecond of the best timing. Each field is found, and used.
fn best(raw: &[u8], fields: &[&str; 3]) -> Result<f64, Fault> {
    let paths = fields
        .map(Path::parse)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let (rounds, mut best) = (STRETCH_BYTES / raw.len(), 0.0_f64);
    for _ in 0..TIMINGS {
        let (began, mut found) = (Instant::now(), 0);
        for _ in 0..rounds {
            let message = Message::parse(black_box(raw))?;
            found += paths
                .iter()
                .filter(|path| black_box(message.get(path)).is_some())
                .count();
        }
        let bytes_per_ns = (rounds * raw.len()) as f64 / began.elapsed().as_secs_f64() / 1e9;
        best = best.max(bytes_per_ns);
        if found != rounds * fields.len() {
            return Err(format!("the fields {fields:?} are not all in the message").into());
        }
    }
    Ok(best)
}
