//! The conditions that the documentation and the examples show are conditions.

use std::fs;
use std::path::Path;

use hie_rules::Expr;

/// The texts behind `when: '...'`, each on one line.
fn conditions(text: &str) -> Vec<String> {
    let quoted = |line: &str| {
        let (_, rest) = line.split_once("when: '")?;
        rest.rsplit_once('\'')
            .map(|(condition, _)| condition.replace("''", "'"))
    };
    text.lines().filter_map(quoted).collect()
}

fn compile_all(path: &Path, least: usize) {
    let text = fs::read_to_string(path).expect("it is part of the repository");
    let found = conditions(&text);
    assert!(found.len() >= least, "{}: {found:?}", path.display());
    for condition in found {
        let result = Expr::compile(&condition);
        assert!(
            result.is_ok(),
            "{}: {condition}: {:?}",
            path.display(),
            result.err()
        );
    }
}

#[test]
fn shown_conditions_compile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    compile_all(&root.join("docs/reference/rules.md"), 2);
    compile_all(&root.join("examples/nhs-acute-trust.yaml"), 8);
}
