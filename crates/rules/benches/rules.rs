//! What a decision costs: a set of ten rules of the usual kind over an admission of 700 bytes, and the
//! parts of it. Run with `cargo bench -p hie-rules`.

use divan::{Bencher, black_box};
use hie_hl7::Message;
use hie_rules::{ActionDef, Context, Expr, MatchMode, RuleDef, RuleSet, RuleSetDef};

const ADT: &str = "MSH|^~\\&|PAS|ROYAL|HIE|TRUST|20260102030405||ADT^A01^ADT_A01|MSG00001|P|2.4|||AL|NE\r\
    EVN|A01|20260102030405|||USER1^Clerk^One\r\
    PID|1||4000001^^^ROYAL^MR~9434765919^^^NHS^NH||Testpatient^Aoife^Mary^^Mrs||19700131|F|||12 High Street^^Leeds^West Yorkshire^LS1 1AA^GBR||0113 4960000^PRN^PH|||M|CHR|||||||||||||\r\
    PD1|||MANOR PARK SURGERY^^B86001|G1234567^Doctor^General^^^Dr\r\
    NK1|1|Testpatient^Thomas|SPO|12 High Street^^Leeds^West Yorkshire^LS1 1AA|0113 4960001\r\
    PV1|1|I|WARD7^3^A^ROYAL|E|||C1234567^Able^Beatrice^^^Dr|C1234567^Able^Beatrice^^^Dr|C7654321^Baker^Carl|GM|||R|||||I|V0000001|||||||||||||||||||||||||20260102030000\r\
    DG1|1||I10^Essential hypertension^ICD10|Essential hypertension|20260102|A\r\
    AL1|1|DA|PENICILLIN^Penicillin|SV|Rash\r";

/// Each rule of the kind one meets; about half of them hold.
const RULES: [(&str, &str); 10] = [
    (
        "admissions",
        r#"MSH-9.1 = "ADT" and MSH-9.2 In ("A01", "A02", "A03")"#,
    ),
    (
        "merges",
        r#"MSH-9.1 = "ADT" and MSH-9.2 In ("A34", "A40", "A47")"#,
    ),
    ("results", r#"MessageType = "ORU^R01""#),
    ("inpatients", r#"PV1-2 = "I" and PV1-3.1 StartsWith "WARD""#),
    ("nhs number known", r#"PID-3(*).5 = "NH""#),
    ("from the PAS", r#"Source = "ADT-In" and MSH-3 = "PAS""#),
    (
        "test patients",
        r#"PID-5.1 Like "ZZ*" or PID-5.2 Contains "TEST""#,
    ),
    (
        "radiology",
        r#"DocName In ("ORM_O01", "OMI_O23") and OBR(*)-24 = "RAD""#,
    ),
    ("allergies", "Exists(AL1)"),
    (
        "children",
        r#"PID-7 > "20080101" and not (PV1-10 In ("OBS", "MW"))"#,
    ),
];

fn main() {
    assert!((650..900).contains(&ADT.len()), "{} bytes", ADT.len());
    divan::main();
}

fn set(match_mode: MatchMode) -> RuleSet {
    let rules = RULES.iter().enumerate().map(|(n, (name, when))| RuleDef {
        name: (*name).into(),
        enabled: true,
        when: Some((*when).into()),
        send: vec!["EPR".into(), format!("Target-{n}")],
        delete: false,
    });
    let default = Some(ActionDef {
        send: vec!["DataWarehouse".into()],
        delete: false,
    });
    let def = RuleSetDef {
        name: "Trust".into(),
        match_mode,
        rules: rules.collect(),
        default,
    };
    RuleSet::compile(&def).expect("the rules are valid")
}

#[divan::bench]
fn ten_rules(bencher: Bencher<'_, '_>) {
    let rules = set(MatchMode::All);
    bencher.bench_local(|| {
        let message = Message::parse(black_box(ADT.as_bytes())).expect("a message");
        let decision = rules.decide(&Context {
            document: &message,
            source: "ADT-In",
        });
        black_box(decision.sends.len())
    });
}

#[divan::bench]
fn log_line(bencher: Bencher<'_, '_>) {
    let rules = set(MatchMode::All);
    let message = Message::parse(ADT.as_bytes()).expect("a message");
    let decision = rules.decide(&Context {
        document: &message,
        source: "ADT-In",
    });
    bencher.bench_local(|| black_box(&decision).to_string());
}

#[divan::bench(args = RULES.map(|(_, when)| when))]
fn one_condition(bencher: Bencher<'_, '_>, when: &str) {
    let expr = Expr::compile(when).expect("a valid condition");
    let message = Message::parse(ADT.as_bytes()).expect("a message");
    let context = Context {
        document: &message,
        source: "ADT-In",
    };
    bencher.bench_local(|| black_box(&expr).eval(black_box(&context)));
}

#[divan::bench]
fn compile(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| Expr::compile(black_box(RULES[9].1)));
}
