//! The productions that are measured, as configuration files. Metrics are off: the port of one run
//! must not stand in the way of the next, and nobody scrapes.

use std::fmt::Write as _;

/// Where the engine listens in a production of here.
pub(crate) const SERVICE: &str = "In";
/// Whom its messages reach in the end.
pub(crate) const TARGET: &str = "Out";

fn head() -> String {
    "production: {name: Bench, DataPath: data, MetricsAddress: none}\nitems:\n".to_owned()
}

fn service(text: &mut String, name: &str, port: u16, target: &str) {
    let _ = writeln!(
        text,
        "  - name: {name}\n    class: HL7TCPService\n    adapter: {{Port: {port}, IPAddress: 127.0.0.1}}\n    host: {{TargetConfigNames: {target}}}"
    );
}

fn operation(text: &mut String, name: &str, port: u16, pool_size: usize) {
    let _ = writeln!(
        text,
        "  - name: {name}\n    class: HL7TCPOperation\n    pool_size: {pool_size}\n    adapter: {{Port: {port}, IPAddress: 127.0.0.1}}\n    host: {{FailureTimeout: -1}}"
    );
}

/// Service → discard: the ACK path, and as little as can be behind it.
pub(crate) fn discarding(port: u16, pool_size: usize) -> String {
    let mut text = head();
    service(&mut text, SERVICE, port, TARGET);
    let _ = writeln!(
        text,
        "  - name: {TARGET}\n    class: DiscardOperation\n    pool_size: {pool_size}"
    );
    text
}

/// Service → operation, nothing between.
pub(crate) fn direct(port: u16, to: u16) -> String {
    let mut text = head();
    service(&mut text, SERVICE, port, TARGET);
    operation(&mut text, TARGET, to, 1);
    text
}

/// Service → router with two rules, of which the second holds → operation.
pub(crate) fn routed(port: u16, to: u16, router_pool: usize, operation_pool: usize) -> String {
    let mut text = head();
    service(&mut text, SERVICE, port, "Router");
    let _ = writeln!(
        text,
        "  - name: Router\n    class: HL7RoutingEngine\n    pool_size: {router_pool}\n    host: {{BusinessRuleName: Bench}}"
    );
    operation(&mut text, TARGET, to, operation_pool);
    let _ = write!(
        text,
        "rules:\n  Bench:\n    rules:\n      - name: Results\n        when: 'MSH-9.1 = \"ORU\"'\n        delete: true\n      - name: Admissions\n        when: 'MSH-9.1 = \"ADT\" and PID-3.1 != \"\"'\n        send: [{TARGET}]\n"
    );
    text
}

/// Half services, half operations, each with a port of its own; `first_to` and up are closed ports.
pub(crate) fn wide(port: u16, items: usize, first_to: u16) -> String {
    let mut text = head();
    for n in 0..items / 2 {
        let port = if n == 0 { port } else { 0 };
        service(
            &mut text,
            &format!("{SERVICE}-{n}"),
            port,
            &format!("{TARGET}-{n}"),
        );
        operation(&mut text, &format!("{TARGET}-{n}"), first_to, 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_production_is_valid() {
        let files = [
            discarding(0, 64),
            direct(0, 9),
            routed(0, 9, 2, 64),
            wide(0, 100, 9),
        ];
        for text in files {
            let read =
                hie_engine::config::parse(&text, "bench.yaml", &hie_hosts::REGISTRY, &|_| None);
            assert!(read.is_ok(), "{:?}\n{text}", read.err());
        }
    }

    #[test]
    fn a_wide_production_has_as_many_items_as_asked() {
        assert_eq!(wide(0, 100, 9).matches("- name:").count(), 100);
    }
}
