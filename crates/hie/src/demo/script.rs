//! What happens in a demo without hands on it: receivers that stop and come back at given times.

use std::time::Duration;

use super::letters::Destination;

/// The receivers that can be stopped, in the order of their keys.
pub(crate) const RECEIVERS: [Destination; 3] = [
    Destination::Epr,
    Destination::Ris,
    Destination::WarehouseLive,
];

/// A receiver is down for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outage {
    /// Its place in [`RECEIVERS`].
    pub(crate) receiver: usize,
    /// From the start of the demo.
    pub(crate) from: Duration,
    /// Later than `from`.
    pub(crate) to: Duration,
}

/// Reads `EPR@3..8`: the receiver EPR is down from second 3 to second 8.
pub(crate) fn outage(text: &str) -> Result<Outage, String> {
    let form = "expected RECEIVER@FROM..TO in seconds, as in EPR@3..8";
    let (name, times) = text.split_once('@').ok_or(form)?;
    let (from, to) = times.split_once("..").ok_or(form)?;
    let (from, to) = (seconds(from)?, seconds(to)?);
    let known = |destination: &Destination| destination.name().eq_ignore_ascii_case(name);
    let receiver = RECEIVERS.iter().position(known).ok_or_else(|| {
        let names = RECEIVERS.map(Destination::name).join(", ");
        format!("there is no receiver `{name}`; there are {names}")
    })?;
    if from >= to {
        return Err(format!("it would end before it begins; {form}"));
    }
    Ok(Outage { receiver, from, to })
}

/// Reads a length of time in seconds, above 0 or 0, fractions allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|_| format!("`{text}` is no length of time"))
}

/// A step of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    pub(crate) receiver: usize,
    pub(crate) up: bool,
}

/// All outages as steps in order of time. Where one outage begins as another ends, the receiver
/// ends up down.
pub(crate) fn timeline(outages: &[Outage]) -> Vec<Step> {
    let both = |outage: &Outage| {
        let Outage { receiver, from, to } = *outage;
        [
            Step {
                at: from,
                receiver,
                up: false,
            },
            Step {
                at: to,
                receiver,
                up: true,
            },
        ]
    };
    let mut steps: Vec<Step> = outages.iter().flat_map(both).collect();
    steps.sort_by_key(|step| (step.at, !step.up));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_outages_and_says_what_is_wrong_with_them() {
        let second = Duration::from_secs;
        let expected = Outage {
            receiver: 0,
            from: Duration::from_millis(1500),
            to: second(3),
        };
        assert_eq!(outage("epr@1.5..3"), Ok(expected));
        assert_eq!(
            outage("Warehouse-Live@0..1").map(|outage| outage.receiver),
            Ok(2)
        );
        for (text, part) in [
            ("EPR", "RECEIVER@FROM..TO"),
            ("EPR@3", "RECEIVER@FROM..TO"),
            ("PAS@1..2", "there are EPR, RIS, Warehouse-Live"),
            ("EPR@2..2", "end before it begins"),
            ("EPR@x..2", "no number"),
            ("EPR@-1..2", "no length of time"),
            ("EPR@1..inf", "no length of time"),
        ] {
            let error = outage(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn steps_come_in_order_of_time() {
        let steps = timeline(&[outage("RIS@2..4").unwrap(), outage("EPR@1..2").unwrap()]);
        let seen: Vec<_> = steps
            .iter()
            .map(|step| (step.at.as_secs(), step.receiver, step.up))
            .collect();
        assert_eq!(
            seen,
            [(1, 0, false), (2, 0, true), (2, 1, false), (4, 1, true)]
        );
    }
}
