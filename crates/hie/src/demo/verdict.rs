//! The first words of the demo and its last: where everything is, and what the ledger says.

use std::{
    io::{self, Write},
    path::Path,
};

use hie_engine::Production;
use hie_load::ledger::Verdict;

use super::{
    books::Books,
    letters::Destination,
    receivers::{Sites, folder_verdict},
};
use crate::{
    desk::Desk,
    exit::{Exit, Failure},
    out::{Out, Style, Table, number},
};

/// Says what runs and where its data lies.
pub(crate) fn welcome(out: &mut Out, desk: &Desk, production: &Production) -> io::Result<()> {
    let data = desk.data.display();
    let status = production.status();
    writeln!(
        out,
        "# HIE demo: production {} with simulated senders and receivers",
        status.production
    )?;
    for item in &status.items {
        if let Some(address) = &item.address {
            writeln!(
                out,
                "# {} {} {address}",
                item.kind.to_ascii_lowercase(),
                item.name
            )?;
        }
    }
    if let Some(metrics) = desk.metrics {
        writeln!(out, "# metrics http://{metrics}/metrics")?;
    }
    writeln!(out, "# data {data}")?;
    let hie = crate::out::myself();
    for command in ["queues", "messages", "trace ID"] {
        writeln!(
            out,
            "# try in another terminal: {hie} {command} --data {data}"
        )?;
    }
    out.flush()
}

/// Prints the account; fails when an acknowledged message is missing, changed or out of order.
pub(crate) fn print(
    out: &mut Out,
    sites: &Sites,
    books: &Books,
    folder: &Path,
    suspended: u64,
) -> Result<(), Failure> {
    let mut verdicts = sites.verdicts(books);
    let file = folder_verdict(folder, books).map_err(|error| {
        Failure::new(
            "folder",
            format!("cannot read {}: {error}", folder.display()),
        )
    })?;
    verdicts.push((Destination::WarehouseFile, file));
    let totals = books.totals();
    writeln!(
        out,
        "\nThe ledger, which the senders and receivers kept outside the engine:"
    )?;
    table(&verdicts).print(out, "  ")?;
    let sum = |figure: fn(&Verdict) -> u64| {
        verdicts
            .iter()
            .map(|(_, verdict)| figure(verdict))
            .sum::<u64>()
    };
    let (lost, changed, inversions) = (
        sum(|verdict| verdict.lost),
        sum(|verdict| verdict.changed),
        sum(|verdict| verdict.inversions),
    );
    let clean = (lost, changed, inversions) == (0, 0, 0);
    let word = out
        .paint(if clean { Style::Green } else { Style::Red }, "verdict:")
        .into_owned();
    writeln!(
        out,
        "{word} sent {}, acked {}, refused {}, delivered {}, lost {lost}, changed {changed}, out of order {inversions}, duplicates {}",
        totals.sent,
        totals.acked,
        totals.refused,
        sum(|verdict| verdict.delivered.saturating_sub(verdict.unknown)),
        sum(|verdict| verdict.extra_deliveries),
    )?;
    if suspended > 0 {
        writeln!(
            out,
            "  {suspended} were answered AE and are suspended: a person looks at them, and `hie resend` sends them again"
        )?;
    }
    out.flush()?;
    if clean { Ok(()) } else { Err(blame(&verdicts)) }
}

fn table(verdicts: &[(Destination, Verdict)]) -> Table {
    let heads = [
        "receiver",
        "sent",
        "acked",
        "delivered",
        "lost",
        "changed",
        "out of order",
        "duplicates",
    ];
    let mut table = Table::new(&heads, &[1, 2, 3, 4, 5, 6, 7]);
    for (destination, verdict) in verdicts {
        let bad = |count: u64| {
            (
                if count == 0 { Style::Plain } else { Style::Red },
                number(count),
            )
        };
        let plain = |count: u64| (Style::Plain, number(count));
        table.styled([
            (Style::Plain, destination.name().to_owned()),
            plain(verdict.sent),
            plain(verdict.acked),
            plain(verdict.delivered.saturating_sub(verdict.unknown)),
            bad(verdict.lost),
            bad(verdict.changed),
            bad(verdict.inversions),
            plain(verdict.extra_deliveries),
        ]);
    }
    table
}

fn blame(verdicts: &[(Destination, Verdict)]) -> Failure {
    let examples: Vec<String> = verdicts
        .iter()
        .filter_map(|(destination, verdict)| {
            let id = verdict
                .lost_examples
                .first()
                .or(verdict.changed_examples.first())?;
            Some(format!("{id} to {}", destination.name()))
        })
        .collect();
    let examples = if examples.is_empty() {
        String::new()
    } else {
        format!(" (first: {})", examples.join(", "))
    };
    Failure::new("demo", format!("the ledger does not balance{examples}"))
        .exit(Exit::Failure)
        .help("messages that still wait in a queue count as lost here; run it again with --data DIR and look with `hie queues --data DIR`")
}
