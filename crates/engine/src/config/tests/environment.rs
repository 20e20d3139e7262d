//! Defaults that come from the environment.

use super::{REGISTRY, parse};
use crate::config::{ConfigError, ProductionConfig};

const FILE: &str = "\
production: {name: Test}
items:
  - {name: In, class: FeedService, adapter: {Port: 1}, host: {TargetConfigNames: Router}}
  - {name: Router, class: FeedRouter, host: {TargetConfigNames: Out}}
  - {name: Own, class: FeedRouter, pool_size: 2, host: {TargetConfigNames: Out, ExecutionMode: async}}
  - {name: Single, class: FeedRouter, host: {TargetConfigNames: Out, ExecutionMode: single_process}}
  - {name: Out, class: FeedOperation, adapter: {FilePath: out}}
";

fn read(variables: &[(&str, &str)]) -> Result<ProductionConfig, Vec<ConfigError>> {
    parse(FILE, "test.yaml", &REGISTRY, &|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn the_environment_gives_defaults_and_the_file_counts_more() {
    let config = read(&[("EXECUTION_MODE", "thread_pool"), ("CONCURRENCY", "8")]).unwrap();
    let of = |name: &str| {
        let item = config.item(name).unwrap();
        let mode = item.settings.text("ExecutionMode").unwrap().to_owned();
        (mode, item.pool_size)
    };
    assert_eq!(of("In"), ("thread_pool".into(), 1), "not for services");
    assert_eq!(of("Router"), ("thread_pool".into(), 8));
    assert_eq!(of("Out"), ("thread_pool".into(), 8));
    assert_eq!(of("Own"), ("async".into(), 2));
    assert_eq!(of("Single"), ("single_process".into(), 1));
    let config = read(&[("EXECUTION_MODE", ""), ("CONCURRENCY", " ")]).unwrap();
    assert_eq!(
        config.item("Router").unwrap().pool_size,
        1,
        "empty is unset"
    );
}

#[test]
fn a_wrong_value_is_one_error_that_names_the_variable() {
    let errors = read(&[("EXECUTION_MODE", "parallel"), ("CONCURRENCY", "0")]).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for variable in ["EXECUTION_MODE", "CONCURRENCY"] {
        let named = |error: &&ConfigError| error.message.contains(variable);
        let error = errors.iter().find(named).unwrap();
        assert!(error.help.as_deref().unwrap().contains("unset it"));
    }
}
