//! The one screen at the start: what listens where, where the data lies, what to try next.

use std::io::{self, Write};

use hie_engine::{
    Production,
    config::ItemConfig,
    status::{HealthLevel, ItemStatus, Status},
};

use crate::{
    desk::Desk,
    out::{self, Out, Style, Table},
};

/// Prints it.
pub(crate) fn print(out: &mut Out, desk: &Desk, production: &Production) -> io::Result<()> {
    let status = production.status();
    let (name, version, pid) = (
        &status.production,
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
    );
    let title = format!("HIE {version}  {name}");
    let title = out.paint(Style::Bold, &title).into_owned();
    writeln!(out, "\n{title}  (process {pid})\n")?;
    items(out, production, &status)?;
    troubles(out, &status)?;
    let data = desk.data.display().to_string();
    writeln!(
        out,
        "\n  data     {data}  (journal {}; {})",
        out::bytes(status.journal_bytes),
        recovery(&status)
    )?;
    match desk.metrics {
        Some(address) => writeln!(
            out,
            "  metrics  http://{address}/metrics   health  http://{address}/health"
        )?,
        None => writeln!(out, "  metrics  none (MetricsAddress)")?,
    }
    next(out, &data, &status)?;
    out.flush()
}

fn items(out: &mut Out, production: &Production, status: &Status) -> io::Result<()> {
    let mut table = Table::new(&["item", "class", "where", "targets"], &[]);
    for (item, config) in status.items.iter().zip(&production.config().items) {
        table.row([
            item.name.clone(),
            item.class.to_owned(),
            place(item, config),
            targets(production, config).join(", "),
        ]);
    }
    table.print(out, "  ")
}

/// What did not start: it is tried again, and must be seen at once.
fn troubles(out: &mut Out, status: &Status) -> io::Result<()> {
    let failed = status
        .items
        .iter()
        .filter(|item| item.health.level == HealthLevel::Failed);
    for item in failed {
        let reason = item.health.reason.clone().unwrap_or_default();
        let line = format!("{}: {}", item.name, out::safe(&reason));
        let line = out.paint(Style::Red, &line).into_owned();
        writeln!(out, "\n  ! {line}")?;
    }
    Ok(())
}

/// Where an item listens, reads, sends or writes.
fn place(item: &ItemStatus, config: &ItemConfig) -> String {
    if !config.enabled {
        return "disabled".into();
    }
    let text = |name| config.settings.text(name).filter(|text| !text.is_empty());
    let network = || {
        Some(format!(
            "{}:{}",
            text("IPAddress")?,
            config.settings.int("Port")?
        ))
    };
    let address = item.address.clone().or_else(network);
    let address = address.or_else(|| Some(text("FilePath")?.to_owned()));
    let file = text("FilePath").is_some();
    match (address, item.kind, file) {
        (None, ..) => "–".into(),
        (Some(address), "Service", false) => format!("listens {address}"),
        (Some(address), "Service", true) => format!("reads {address}"),
        (Some(address), _, false) => format!("sends to {address}"),
        (Some(address), _, true) => format!("writes {address}"),
    }
}

/// What an item names as its targets: by setting, or by its rules.
fn targets(production: &Production, config: &ItemConfig) -> Vec<String> {
    let mut names = config.settings.list("TargetConfigNames").to_vec();
    let production = production.config();
    let rules = config
        .settings
        .text("BusinessRuleName")
        .and_then(|name| production.rules.get(name));
    for target in rules.iter().flat_map(|rules| rules.targets()) {
        if !names.iter().any(|name| name == target) {
            names.push(target.to_owned());
        }
    }
    names
}

fn recovery(status: &Status) -> String {
    let found = &status.recovered;
    let orphaned = match found.orphaned {
        0 => String::new(),
        orphaned => format!(
            ", {} for items that are not configured",
            out::number(orphaned as u64)
        ),
    };
    match (found.queued, found.waiting) {
        (0, 0) => "nothing to recover".into(),
        (queued, 0) => format!(
            "recovered {} on queues{orphaned}",
            out::count(queued as u64, "message")
        ),
        (queued, waiting) => format!(
            "recovered {} on queues, {} suspended{orphaned}",
            out::count(queued as u64, "message"),
            out::number(waiting as u64)
        ),
    }
}

/// Three commands that show something at once.
fn next(out: &mut Out, data: &str, status: &Status) -> io::Result<()> {
    let listens = |item: &&ItemStatus| item.kind == "Service" && item.class.contains("TCP");
    let feed = status
        .items
        .iter()
        .find(listens)
        .and_then(|item| item.address.clone());
    let here = std::env::current_dir().map(|dir| dir.join("hie-data"));
    let option = if here.is_ok_and(|dir| dir.as_os_str() == data) {
        String::new()
    } else {
        format!(" --data {data}")
    };
    let me = out::myself();
    writeln!(out, "\n  Try next, in another terminal:")?;
    if let Some(feed) = feed {
        writeln!(out, "    {me} send --to {feed} FILE.hl7")?;
    }
    writeln!(out, "    {me} status --watch{option}")?;
    writeln!(out, "    {me} messages{option}")?;
    writeln!(
        out,
        "\n  Ctrl-C stops it; what was acknowledged stays on the disk.\n"
    )
}
