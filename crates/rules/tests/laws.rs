//! Laws of the language over arbitrary input: no text makes the compiler panic, no message the
//! evaluation, and the connectives keep the laws of logic.

use hie_hl7::Message;
use hie_rules::{Context, Expr, parse_path};
use proptest::prelude::*;
use proptest::sample::select;

/// Paths and variables, single valued or not.
const VALUES: &[&str] = &[
    "PID-8",
    "{MSH:9.1}",
    "PID-3(2).1",
    "OBX(*)-5",
    "PID-3(*)",
    "[OBX:3]",
    "HL7.PID:PatientName.FamilyName",
    "Source",
    "DocName",
    "Length(PID-5)",
    "ToUpper(OBX(*)-3)",
    "SubString(PID-7, 2, 3)",
    "Piece(PID-3, '^', 2, 3)",
    "MSH-1",
    "MSH-2",
];

/// A right side that every operator takes.
const LITERALS: &[&str] = &["\"A\"", "'7'", "\"20260101\"", "'Müller'"];

const INFIX: &[&str] = &[
    "=",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "Contains",
    "DoesNotContain",
    "StartsWith",
    "EndsWith",
    "Like",
    "Not Like",
    "In",
    "Not In",
];

/// A condition that compiles.
fn condition() -> impl Strategy<Value = String> {
    let number = |value: &str| value.starts_with("Length");
    let test =
        (select(VALUES), select(INFIX), select(LITERALS)).prop_map(move |(value, op, literal)| {
            let literal = if number(value) { "'7'" } else { literal };
            format!("{value} {op} {literal}")
        });
    let exists = select(vec![
        "Exists(PID)",
        "Exists(OBX(*)-5)",
        "Exists(ZZZ-9)",
        "1",
        "false",
    ]);
    let leaf = prop_oneof![4 => test, 1 => exists.prop_map(String::from)];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} Or {b})")),
            inner.prop_map(|a| format!("NOT({a})")),
        ]
    })
}

/// Bytes of a message: any at all, or shaped so that the conditions above find something.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let value = select(vec![
        "",
        "A",
        "7",
        "a\\F\\b",
        "\"\"",
        "20260101",
        "Müller",
        "x^y&z~A^7",
        "\\X0D\\",
        "\\",
    ]);
    let segment = (
        select(vec!["PID", "OBX", "MSH", "ZZZ", "", "PIDX"]),
        prop::collection::vec(value, 0..9),
    )
        .prop_map(|(name, fields)| format!("{name}|{}\r", fields.join("|")).into_bytes());
    let shaped = prop::collection::vec(segment, 0..6).prop_map(|segments| segments.concat());
    let body = prop_oneof![shaped, prop::collection::vec(any::<u8>(), 0..300)];
    (
        select(vec![
            "MSH|^~\\&|",
            "MSH|^~\\&|||||||ADT^A01|7|P|2.4||||||8859/1\r",
            "MSH^~|",
        ]),
        body,
    )
        .prop_map(|(head, body)| [head.as_bytes(), &body].concat())
}

fn eval(text: &str, message: &[u8]) -> bool {
    let expr = Expr::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let message = Message::parse(message).expect("it starts with MSH");
    let context = Context {
        document: &message,
        source: "ADT-In",
    };
    let answer = expr.eval(&context);
    assert_eq!(expr.why(&context).is_some(), answer, "{text}");
    answer
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(text in any::<String>()) {
        let _ = (Expr::compile(&text), parse_path(&text));
    }

    /// Made of the language's own pieces, so that it comes further than the first character.
    #[test]
    fn no_shuffled_text_makes_the_compiler_panic(
        pieces in prop::collection::vec(select(vec![
            "PID-5", "PID", "{", "}", "[", "]", "(", ")", ",", "=", "!=", "<", "and", "or", "not", "!", "In",
            "Contains", "Like", "Exists", "Length", "Piece", "SubString", "\"A\"", "'", "\"", "1", "0", "-", ".",
            "*", "HL7.", "MSH:MessageType", ":", "Source", "Sorce", " ", "é", "\u{201c}", "007", "99999999999999999999",
        ]), 0..14),
        blank in select(vec!["", " "]),
    ) {
        let text = pieces.join(blank);
        if let Err(error) = Expr::compile(&text) {
            prop_assert!(text.get(error.offset..error.offset + error.len).is_some(), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn no_message_makes_a_condition_panic(text in condition(), message in message()) {
        eval(&text, &message);
    }

    #[test]
    fn connectives_keep_the_laws(a in condition(), b in condition(), c in condition(), message in message()) {
        let eval = |text: String| eval(&text, &message);
        prop_assert_eq!(eval(format!("not (({a}) and ({b}))")), eval(format!("(not ({a})) or (not ({b}))")));
        prop_assert_eq!(eval(format!("not (({a}) or ({b}))")), eval(format!("!({a}) && !({b})")));
        prop_assert_eq!(eval(format!("not not ({a})")), eval(a.clone()));
        prop_assert_eq!(eval(format!("({a}) or not ({a})")), true);
        prop_assert_eq!(
            eval(format!("({a}) and (({b}) or ({c}))")),
            eval(format!("({a}) and ({b}) or ({a}) and ({c})"))
        );
        prop_assert_eq!(eval(format!("({a}) = 1")), eval(format!("({a}) != 0")));
    }

    #[test]
    fn a_negated_test_is_the_opposite(
        value in select(VALUES),
        literal in select(LITERALS),
        pair in select(vec![
            ("=", "!="), ("=", "<>"), ("Contains", "DoesNotContain"), ("StartsWith", "Not StartsWith"),
            ("EndsWith", "DoesNotEndWith"), ("Like", "NotLike"), ("In", "Not In"),
        ]),
        message in message(),
    ) {
        let literal = if value.starts_with("Length") { "'7'" } else { literal };
        let positive = eval(&format!("{value} {} {literal}", pair.0), &message);
        prop_assert_eq!(eval(&format!("{value} {} {literal}", pair.1), &message), !positive);
        prop_assert_eq!(eval(&format!("NOT({value} {} {literal})", pair.0), &message), !positive);
    }

    #[test]
    fn both_ways_of_writing_a_test_agree(
        value in select(VALUES),
        literal in select(LITERALS),
        name in select(vec!["Contains", "DoesNotContain", "StartsWith", "EndsWith", "Like", "In", "NotIn"]),
        message in message(),
    ) {
        let infix = eval(&format!("{value} {name} {literal}"), &message);
        prop_assert_eq!(eval(&format!("{name}({value}, {literal})"), &message), infix);
    }

    /// `In` is a chain of `=`.
    #[test]
    fn a_list_is_a_chain_of_equals(value in select(VALUES), message in message()) {
        let list = eval(&format!("{value} In ('B', '7', 'A')"), &message);
        let chain = ["'A'", "'B'", "'7'"].iter().filter(|_| !value.starts_with("Length"));
        let chain: Vec<String> = chain.map(|l| format!("{value} = {l}")).collect();
        if !chain.is_empty() {
            prop_assert_eq!(eval(&chain.join(" or "), &message), list);
        }
    }

    /// A text that stands in a field is found again, whatever it is made of.
    #[test]
    fn what_stands_in_a_field_is_equal_to_itself(text in "[A-Za-z0-9 ()!,.:;<>=äß'-]{1,20}") {
        let message = format!("MSH|^~\\&|A|B|C|D|||ADT^A01|1|P|2.4||||||UNICODE UTF-8\rPID|1||7||{text}\r");
        let quoted = text.replace('\'', "''");
        let (equal, listed) = (format!("PID-5 = '{quoted}'"), format!("{{PID:5.1}} In (\"{text}\", \"x\")"));
        prop_assert!(eval(&equal, message.as_bytes()));
        prop_assert!(eval(&listed, message.as_bytes()));
    }
}
