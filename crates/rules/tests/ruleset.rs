//! Rule sets: what a decision holds, and every fault of a definition at once.

use hie_hl7::Message;
use hie_rules::{ActionDef, Context, Decision, MatchMode, RuleDef, RuleField, RuleSet, RuleSetDef};

const ADT: &[u8] = b"MSH|^~\\&|PAS|R|H|T|2026||ADT^A01|1|P|2.4\rPID|1||7||Secretname\rPV1|1|I\r";

fn rule(name: &str, when: &str, send: &[&str]) -> RuleDef {
    let send = send.iter().map(ToString::to_string).collect();
    RuleDef {
        name: name.into(),
        enabled: true,
        when: Some(when.into()),
        send,
        delete: false,
    }
}

fn delete(name: &str, when: &str) -> RuleDef {
    RuleDef {
        delete: true,
        ..rule(name, when, &[])
    }
}

fn set(match_mode: MatchMode, rules: Vec<RuleDef>, default: &[&str]) -> RuleSetDef {
    let send: Vec<String> = default.iter().map(ToString::to_string).collect();
    let default = (!send.is_empty()).then_some(ActionDef {
        send,
        delete: false,
    });
    RuleSetDef {
        name: "Routing".into(),
        match_mode,
        rules,
        default,
    }
}

fn decide(def: &RuleSetDef, look: impl FnOnce(Decision<'_>)) {
    let rules = RuleSet::compile(def).expect("a valid set");
    let message = Message::parse(ADT).expect("a message");
    look(rules.decide(&Context {
        document: &message,
        source: "ADT-In",
    }));
}

fn three() -> Vec<RuleDef> {
    vec![
        rule("no", r#"MSH-9.1 = "ORU""#, &["LAB"]),
        rule(
            "adt",
            r#"MSH-9.1 = "ORU" or MSH-9.1 = "ADT""#,
            &["EPR", "RIS", "EPR"],
        ),
        rule("inpatient", r#"PV1-2 = "I""#, &["BED", "EPR"]),
    ]
}

#[test]
fn all_joins_the_targets_of_every_rule_each_once() {
    decide(&set(MatchMode::All, three(), &["DW"]), |decision| {
        assert_eq!(decision.sends.as_slice(), ["EPR", "RIS", "BED"]);
        assert_eq!(
            decision
                .matched
                .iter()
                .map(|m| (m.index, m.name))
                .collect::<Vec<_>>(),
            [(1, "adt"), (2, "inpatient")]
        );
        assert!(!decision.defaulted && !decision.deleted && !decision.is_undecided());
    });
}

#[test]
fn first_stops_at_the_first() {
    decide(&set(MatchMode::First, three(), &["DW"]), |decision| {
        assert_eq!(decision.sends.as_slice(), ["EPR", "RIS"]);
        assert_eq!(decision.matched.len(), 1);
    });
}

#[test]
fn the_log_line_names_the_clause_and_nothing_of_the_message() {
    decide(&set(MatchMode::All, three(), &[]), |decision| {
        let expected = r#"Routing: rule 2 "adt" [MSH-9.1 = "ADT"], rule 3 "inpatient" [PV1-2 = "I"] -> EPR, RIS, BED"#;
        assert_eq!(decision.to_string(), expected);
    });
    decide(
        &set(
            MatchMode::All,
            vec![rule("c", r#"PID-5.1 StartsWith "Sec""#, &["X"])],
            &[],
        ),
        |decision| {
            assert!(!format!("{decision} {decision:?}").contains("Secretname"));
        },
    );
    decide(
        &set(MatchMode::All, vec![rule("always", " ", &["X"])], &[]),
        |decision| {
            assert_eq!(
                decision.to_string(),
                r#"Routing: rule 1 "always" [always] -> X"#
            );
        },
    );
}

#[test]
fn no_rule_means_the_default() {
    let none = vec![rule("no", "0", &["LAB"])];
    decide(
        &set(MatchMode::All, none.clone(), &["DW", "DW"]),
        |decision| {
            assert_eq!(decision.sends.as_slice(), ["DW"]);
            assert!(decision.defaulted && !decision.is_undecided());
            assert_eq!(decision.to_string(), "Routing: no rule, default -> DW");
        },
    );
    decide(&set(MatchMode::All, none, &[]), |decision| {
        assert!(decision.is_undecided() && decision.sends.is_empty() && !decision.deleted);
        assert_eq!(
            decision.to_string(),
            "Routing: no rule, no default -> nobody"
        );
    });
}

#[test]
fn delete_keeps_from_the_default_and_takes_from_nobody() {
    decide(
        &set(MatchMode::All, vec![delete("noise", "1")], &["DW"]),
        |decision| {
            assert!(
                decision.deleted
                    && decision.sends.is_empty()
                    && !decision.defaulted
                    && !decision.is_undecided()
            );
            assert_eq!(
                decision.to_string(),
                r#"Routing: rule 1 "noise" [1] -> deleted"#
            );
        },
    );
    let mixed = vec![delete("noise", "1"), rule("adt", "1", &["EPR"])];
    decide(&set(MatchMode::All, mixed.clone(), &["DW"]), |decision| {
        assert!(decision.deleted);
        assert_eq!(decision.sends.as_slice(), ["EPR"]);
    });
    decide(&set(MatchMode::First, mixed, &["DW"]), |decision| {
        assert!(decision.deleted && decision.sends.is_empty())
    });
}

#[test]
fn a_rule_that_is_off_is_checked_but_never_holds() {
    let off = RuleDef {
        enabled: false,
        ..rule("off", "1", &["LAB"])
    };
    let def = set(MatchMode::All, vec![off], &["DW"]);
    decide(&def, |decision| {
        assert_eq!(decision.sends.as_slice(), ["DW"])
    });
    assert_eq!(
        RuleSet::compile(&def)
            .unwrap()
            .targets()
            .collect::<Vec<_>>(),
        ["LAB", "DW"]
    );
    let broken = RuleDef {
        enabled: false,
        ..rule("off", "PID-", &["LAB"])
    };
    assert!(RuleSet::compile(&set(MatchMode::All, vec![broken], &[])).is_err());
}

#[test]
fn every_fault_is_told_at_once() {
    let both = RuleDef {
        delete: true,
        ..rule("both", "1", &["EPR"])
    };
    let rules = vec![
        rule("a", r#"MSH-9.1 Contians "A""#, &[]),
        rule("a", "", &["EPR", " "]),
        both,
        rule("", "PID-8", &["EPR"]),
    ];
    let def = RuleSetDef {
        default: Some(ActionDef::default()),
        ..set(MatchMode::All, rules, &[])
    };
    let errors = RuleSet::compile(&def).unwrap_err();
    let told: Vec<_> = errors
        .iter()
        .map(|e| (e.rule_index, e.field, e.entry, e.offset, e.len))
        .collect();
    let expected = [
        (Some(0), RuleField::When, None, 8, 8),
        (Some(0), RuleField::Send, None, 0, 0),
        (Some(1), RuleField::Name, None, 0, 1),
        (Some(1), RuleField::Send, Some(1), 0, 0),
        (Some(2), RuleField::Delete, None, 0, 0),
        (Some(3), RuleField::Name, None, 0, 0),
        (Some(3), RuleField::When, None, 0, 5),
        (None, RuleField::Default, None, 0, 0),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        errors[0].to_string(),
        "rule 1, when: unknown operator \"Contians\"; did you mean Contains?"
    );
}
