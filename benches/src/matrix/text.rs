//! The productions of the matrix, as configuration files.

use std::fmt::Write as _;

use crate::production::{SERVICE, TARGET};

/// The process in the middle.
pub(crate) const WORK: &str = "Work";

fn head() -> String {
    "production: {name: Matrix, DataPath: data, MetricsAddress: none}\nitems:\n".to_owned()
}

/// `ExecutionMode` and the jobs of an item; worker processes share the jobs, two of them.
fn mode(mode: &str, jobs: usize) -> (usize, String) {
    match mode {
        "single_process" => (1, "ExecutionMode: single_process".to_owned()),
        "multiprocess" if jobs > 1 => (
            jobs / 2,
            "ExecutionMode: multiprocess, WorkerCount: 2".to_owned(),
        ),
        mode => (jobs, format!("ExecutionMode: {mode}")),
    }
}

/// Service → process → discard, all of one pattern; process and operation in one mode.
pub(crate) fn cell(port: u16, execution: &str, pattern: &str, jobs: usize) -> String {
    let mut text = head();
    let (pool, execution) = mode(execution, jobs);
    let service_pool = if pattern == "concurrent_sync" {
        1024
    } else {
        jobs
    };
    let _ = writeln!(
        text,
        "  - name: {SERVICE}\n    class: HL7TCPService\n    pool_size: {service_pool}\n    adapter: {{Port: {port}, IPAddress: 127.0.0.1, MaxConnections: 20000}}\n    host: {{TargetConfigNames: {WORK}, MessagingPattern: {pattern}, MessageTimeout: 120}}"
    );
    let _ = writeln!(
        text,
        "  - name: {WORK}\n    class: PassthroughProcess\n    pool_size: {pool}\n    host: {{TargetConfigNames: {TARGET}, MessagingPattern: {pattern}, {execution}}}"
    );
    let _ = writeln!(
        text,
        "  - name: {TARGET}\n    class: DiscardOperation\n    pool_size: {pool}\n    host: {{MessagingPattern: {pattern}, {execution}}}"
    );
    text
}

/// Service → an operation that stands still until `enabled`, with these host settings.
pub(crate) fn standing(port: u16, class: &str, pool: usize, host: &str, enabled: bool) -> String {
    let mut text = head();
    if class.starts_with("custom.") {
        let sdk = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/python/src");
        let path = format!("{{PythonPath: 'python, {sdk}', ");
        text = text.replacen('{', &path, 1);
    }
    let _ = writeln!(
        text,
        "  - name: {SERVICE}\n    class: HL7TCPService\n    adapter: {{Port: {port}, IPAddress: 127.0.0.1}}\n    host: {{TargetConfigNames: {TARGET}}}"
    );
    let _ = writeln!(
        text,
        "  - name: {TARGET}\n    class: {class}\n    enabled: {enabled}\n    pool_size: {pool}\n    host: {{{host}}}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{MODES, PATTERNS};

    #[test]
    fn every_cell_is_a_valid_production() {
        let cells = PATTERNS.iter().flat_map(|pattern| {
            MODES
                .iter()
                .map(|mode| cell(0, mode, pattern.name, pattern.jobs))
        });
        let drained = [
            "ExecutionMode: multiprocess",
            "QueueType: unordered",
            "OrderBy: '{PID:3.1}'",
        ];
        let drained = drained.map(|host| standing(0, "DiscardOperation", 64, host, false));
        for text in cells.chain(drained) {
            let read =
                hie_engine::config::parse(&text, "matrix.yaml", &hie_hosts::REGISTRY, &|_| None);
            assert!(read.is_ok(), "{:?}\n{text}", read.err());
        }
    }
}
