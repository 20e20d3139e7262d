//! What a run leaves: a table on the screen, a JSON file, and the page `docs/benchmarks.md`. What
//! limits each figure is written by hand in `benches/limits.md` and taken from there, so that
//! writing the page anew loses no thought.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    Fault,
    figure::{Figure, ROWS, Row, Verdict},
    machine::Machine,
};

/// The figure in the row's unit; `–` where there is none.
fn shown(row: &Row, figure: &Figure) -> String {
    let value = figure.value.filter(|value| !value.is_nan());
    value.map_or_else(|| "–".to_owned(), |value| row.unit.show(value))
}

fn row_of(figure: &Figure) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id == figure.id)
}

/// The table for a screen.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = format!(
        "{:<66} {:>10} {:>10} {:>12}  verdict\n",
        "measure", "must", "goal", "measured"
    );
    for figure in figures {
        let Some(row) = row_of(figure) else { continue };
        let (must, goal) = (row.unit.show(row.must), row.unit.show(row.goal));
        let _ = writeln!(
            text,
            "{:<66} {must:>10} {goal:>10} {:>12}  {}",
            row.title,
            shown(row, figure),
            figure.verdict.text()
        );
        for reason in voids(figure) {
            let _ = writeln!(text, "    {reason}");
        }
    }
    text
}

fn voids(figure: &Figure) -> impl Iterator<Item = &str> {
    figure
        .samples
        .iter()
        .filter_map(|sample| sample.void.as_deref())
}

#[derive(Serialize)]
struct Record<'a> {
    machine: &'a Machine,
    command: String,
    figures: &'a [Figure],
}

/// Writes the JSON record of a run; says where.
pub(crate) fn save(root: &Path, machine: &Machine, figures: &[Figure]) -> Result<PathBuf, Fault> {
    let folder = root.join("target/bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{}-{}.json", machine.commit, machine.time_s));
    let record = Record {
        machine,
        command: crate::command(),
        figures,
    };
    fs::write(&path, serde_json::to_string_pretty(&record)?)?;
    Ok(path)
}

/// Writes the page. Rows that were not measured in this run keep no figure: a page is of one run.
pub(crate) fn write(
    root: &Path,
    path: &Path,
    machine: &Machine,
    command: &str,
    figures: &[Figure],
) -> Result<(), Fault> {
    let file = root.join("benches/limits.md");
    let limits = fs::read_to_string(&file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(fs::write(path, page(&limits, machine, command, figures)?)?)
}

fn page(
    limits: &str,
    machine: &Machine,
    command: &str,
    figures: &[Figure],
) -> Result<String, Fault> {
    let mut text = String::from(
        "<!-- Written by `hie-bench --write`; the words come from benches/limits.md. -->\n# Benchmarks\n\n",
    );
    let _ = writeln!(text, "{}\n", section(limits, "intro").unwrap_or_default());
    let _ = writeln!(text, "    {command}\n");
    let _ = writeln!(text, "{}\n", machine.table());
    let _ = writeln!(
        text,
        "| measure | must | goal | measured | verdict | runs |\n|---|---|---|---|---|---|"
    );
    for figure in figures {
        let Some(row) = row_of(figure) else { continue };
        let runs: Vec<_> = figure
            .samples
            .iter()
            .map(|sample| row.unit.show(sample.value))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | **{}** | {} | {} |",
            row.title,
            row.unit.show(row.must),
            row.unit.show(row.goal),
            shown(row, figure),
            figure.verdict.text(),
            runs.join(", ")
        );
    }
    for figure in figures {
        let Some(row) = row_of(figure) else { continue };
        explain(&mut text, limits, row, figure)?;
    }
    Ok(text)
}

/// The paragraph of one row: what the figure was made of, how it is taken, what limits it.
fn explain(text: &mut String, limits: &str, row: &Row, figure: &Figure) -> Result<(), Fault> {
    let words = section(limits, row.id)
        .ok_or_else(|| format!("benches/limits.md has no section {}", row.id))?;
    let _ = write!(text, "\n## {}\n\n{}\n\n{words}\n", row.title, figure.parts);
    if figure.verdict == Verdict::Void {
        for reason in voids(figure) {
            let _ = writeln!(text, "\nThe figure is void: {reason}.");
        }
    }
    Ok(())
}

/// The text under `## name`.
fn section<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let heading = format!("## {name}\n");
    let (_, rest) = text.split_once(&heading)?;
    Some(rest.split("\n## ").next().unwrap_or(rest).trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Sample;

    const LIMITS: &str = include_str!("../limits.md");

    #[test]
    fn every_row_says_what_limits_it() {
        for row in ROWS {
            assert!(
                section(LIMITS, row.id).is_some_and(|words| !words.is_empty()),
                "{}",
                row.id
            );
        }
    }

    #[test]
    fn the_page_has_figures_and_words() {
        let machine = Machine::here(Path::new("."), Path::new("/proc"));
        let figures: Vec<_> = ROWS
            .iter()
            .map(|row| Figure::of(row, vec![Sample::new(row.goal).with("seen", 1.5)]))
            .collect();
        let page = page(LIMITS, &machine, "cargo run", &figures).unwrap();
        assert_eq!(page.matches("| goal met |").count(), ROWS.len());
        assert!(page.contains("seen 1.500") && page.contains(section(LIMITS, "disk").unwrap()));
        let lost = Figure::of(
            &ROWS[0],
            vec![Sample::new(1.0).void_if(Some("2 lost".into()))],
        );
        assert!(table(&[lost]).contains("VOID\n    2 lost"));
    }

    #[test]
    fn sections_end_at_the_next() {
        let text = "## a\nfirst\n\nmore\n\n## b\nsecond\n";
        assert_eq!(
            (section(text, "a"), section(text, "b"), section(text, "c")),
            (Some("first\n\nmore"), Some("second"), None)
        );
    }
}
