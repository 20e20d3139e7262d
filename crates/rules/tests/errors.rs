//! Faults of expressions: each row the text, the place that is pointed at, and the help.

use hie_rules::{EXPRESSION_MAX_BYTES, EXPRESSION_MAX_DEPTH, Expr};

/// Expression, the part of it that is pointed at ("" for its end), a piece of the message, of the help.
#[rustfmt::skip] // one row a line
const ROWS: &[(&str, &str, &str, &str)] = &[
    // words
    (r#"MSH-9.1 Contians "A""#, "Contians", "unknown operator", "did you mean Contains?"),
    (r#"MSH-9.1 startwith "A""#, "startwith", "unknown operator", "did you mean StartsWith?"),
    (r#"Suorce = "A""#, "Suorce", "unknown word", "did you mean Source?"),
    (r#"MSH-9.2 = Banana"#, "Banana", "unknown word", "\"Banana\""),
    (r#"Exist(PID-5)"#, "Exist", "no function", "did you mean Exists?"),
    (r#"MAX("a")"#, "MAX", "no function", ""),
    (r#"DocNam = "A""#, "DocNam", "unknown word", "did you mean DocName?"),
    // a value where a condition is needed, and the other way round: never a silent false
    ("PID-8", "PID-8", "PID-8 is a value", "Exists(PID-8)"),
    (r#"PID-1 = 1 and PID-8"#, "PID-8", "PID-8 is a value", "Exists(PID-8)"),
    ("not Source", "Source", "not a condition", ""),
    (r#""A""#, "\"A\"", "not a condition", ""),
    ("7", "7", "not a condition", ""),
    ("PID", "PID", "names a segment", "Exists(PID)"),
    ("MSH-9.1 = ADT", "ADT", "whole segment", "\"ADT\""),
    (r#"PID-8 In (U, "O")"#, "U", "unknown word", "\"U\""),
    (r#"MSH-9.2 In (A01)"#, "A01", "whole segment", "\"A01\""),
    (r#"(PID-1 = 1) < 2"#, "(PID-1 = 1)", "condition, not a value", ""),
    (r#"(PID-1 = 1) = "A""#, r#"(PID-1 = 1) = "A""#, "true or false", "1 or 0"),
    (r#"ToUpper(PID-1 = 1) = "A""#, "PID-1 = 1", "condition, not a value", ""),
    (r#"Exists("PID-5")"#, "\"PID-5\"", "not for a text", "Exists(PID-7)"),
    // what would mean something else than it looks
    (r#"MSH-9.2 = "A*""#, "\"A*\"", "know no wildcards", r#"Like "A*""#),
    (r#"MSH-9.2 In ("A0?", "B")"#, "\"A0?\"", "know no wildcards", r#"Like "A0\?""#),
    (r#"MSH-9.2 Like "A%""#, "\"A%\"", "%", "write *"),
    (r#"PID-8 In ("U,O")"#, "\"U,O\"", "is it a list", r#"In ("A", "B")"#),
    (r#"PID-8 In "U,,O""#, "\"U,,O\"", "is empty", ""),
    (r#"PID-8 Contains """#, "\"\"", "in every value", "Exists"),
    (r#"PID-1 > 3 > 2"#, ">", "second comparison", "and"),
    (r#"PID-1 In (1) Contains "A""#, "Contains", "second comparison", "and"),
    ("PID-3.1 = 007", "007", "leading zero", "\"007\""),
    (r#"PID-1 = 1 or PID-1 > "A" and Length(PID-1) > "A""#, "\"A\"", "compared with a number", ""),
    (r#"OBX(*)-5 = OBX(*)-6"#, "OBX(*)-6", "both sides", "OBX(1)-5"),
    (r#"PID-5 Like PID-6"#, "PID-6", "written in the rule", ""),
    (r#"PID-8 In (PID-9)"#, "PID-9", "texts and numbers only", ""),
    // paths
    ("pid-5 = 1", "pid", "unknown word", "PID-1"),
    ("PID - 5 = 1", "-", "means nothing here", "PID-5.1"),
    ("{pid-5} = 1", "pid", "no segment name", "capitals: PID"),
    ("{PID-5 = 1", "=", "should stand here", ""),
    ("{PID-5", "{", "never closed", ""),
    ("{PIDX-5} = 1", "PIDX", "no segment name", "three characters"),
    ("{1:9} = 1", "1", "no segment name", "by name"),
    ("{ORCgrp(1).OBR:4} = 1", "ORCgrp", "no segment name", "groups need a schema"),
    ("PID-0 = 1", "0", "no field number", "from 1"),
    ("PID-99999 = 1", "99999", "no field number", "from 1"),
    ("PID-3(0).1 = 1", "0", "no repetition number", "from 1"),
    ("PID-3(x).1 = 1", "x", "repetition is a number", ""),
    ("PID-3(1.1 = 1", ".", "after the number", ""),
    ("PID- = 1", " ", "field number or name", ""),
    ("PID-5. = 1", " ", "component number", ""),
    ("PID-3.1.1.1 = 1", "PID-3.1.1.1", "below the subcomponent", "PID-3.4.2"),
    ("HL7.MSH:MesageType = 1", "MesageType", "no field named", "MSH:MessageType"),
    ("HL7.MSH:MessageType.Trigger = 1", "Trigger", "no component named", ""),
    ("HL7.MSH:MessageType.TriggrEvent = 1", "TriggrEvent", "no component named", "TriggerEvent"),
    ("HL7.OBX:Value = 1", "Value", "no field named", "number"),
    ("HL7.Nam = 1", "HL7.Nam", "unknown word", "HL7.Name"),
    // shape
    ("(PID-1 = 1", "(", "never closed", ""),
    ("PID-1 = 1)", ")", "nothing is open", ""),
    ("PID-1 =", "", "ends too early", "PID-8"),
    ("PID-1 = 1 and", "", "ends too early", ""),
    ("and PID-1 = 1", "and", "before and", ""),
    ("PID-1 = 1 Source = 2", "Source", "operator is missing", "and"),
    ("PID-1 not = 2", "=", "this can't stand here", ""),
    ("PID-1 not NotIn (2)", "NotIn", "can't stand here", ""),
    ("true = false = 1", "=", "second comparison", ""),
    ("PID-1 = 1 PID-2 = 2", "PID-2", "operator is missing", "and"),
    (r#"PID-8 In ()"#, ")", "", ""),
    (r#"PID-8 In ("A" "B")"#, "\"B\"", "operator is missing", ""),
    (r#"PID-8 = "A"#, "\"", "never closed", "written twice"),
    ("PID-8 = “A”", "“", "means nothing", "plain quotes"),
    ("PID-8 = 1 & PID-1 = 1", "&", "means nothing", "and"),
    ("PID-1 + 1 = 2", "+", "means nothing", "arithmetic"),
    ("PID-1 = 3a", "3a", "no number", "\"3a\""),
    ("Contains(PID-5)", "Contains(PID-5)", "1 arguments", "Contains(PID-5.1"),
    (r#"Exists("Table", "Key")"#, r#"Exists("Table", "Key")"#, "2 arguments", "Exists(PID-7)"),
    (r#"SubString(PID-5, 0) = "A""#, "0", "from 1", ""),
    (r#"SubString(PID-5, 3, 2) = "A""#, "3, 2", "ends before", ""),
    (r#"Piece(PID-5, "") = "A""#, "\"\"", "separator", ""),
];

#[test]
fn each_fault_is_pointed_at_and_helped() {
    for (text, pointed, message, help) in ROWS {
        let error = Expr::compile(text).expect_err(text);
        let at = text
            .get(error.offset..error.offset + error.len)
            .expect("on character borders");
        assert_eq!(at, *pointed, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        let told = error.help.as_deref().unwrap_or("");
        assert!(told.contains(help), "{text}: {error}");
    }
}

#[test]
fn offsets_are_bytes_of_the_whole_text() {
    let error = Expr::compile("PID-5.1 = \"Müller\" and\n  PID-8 Cntains 'F'").unwrap_err();
    assert_eq!((error.offset, error.len), (32, 7));
    let end = Expr::compile("PID-8 = ").unwrap_err();
    assert_eq!((end.offset, end.len), (8, 0));
}

#[test]
fn length_and_depth_are_limited() {
    let fits = format!(
        "{}1{}",
        "(".repeat(EXPRESSION_MAX_DEPTH),
        ")".repeat(EXPRESSION_MAX_DEPTH)
    );
    assert!(Expr::compile(&fits).is_ok());
    let deep = Expr::compile(&format!("({fits})")).unwrap_err();
    assert!(deep.message.contains("nested deeper"), "{deep}");
    assert_eq!(deep.offset, EXPRESSION_MAX_DEPTH);
    assert!(
        Expr::compile(&"!".repeat(EXPRESSION_MAX_DEPTH + 1))
            .unwrap_err()
            .message
            .contains("nested deeper")
    );
    let calls = format!("{}PID-1", "ToUpper(".repeat(1_000));
    assert!(
        Expr::compile(&calls)
            .unwrap_err()
            .message
            .contains("nested deeper")
    );

    let long = vec!["PID-1 = 1"; 1_100].join(" or "); // flat: as long as it likes within the limit
    assert!(long.len() <= EXPRESSION_MAX_BYTES);
    assert!(Expr::compile(&long).is_ok());
    let error = Expr::compile(&" ".repeat(EXPRESSION_MAX_BYTES + 1)).unwrap_err();
    assert_eq!((error.offset, error.len), (0, EXPRESSION_MAX_BYTES + 1));
}

/// The parser recurses with the nesting: the limit must hold on the smallest stack that a thread of ours
/// has, also unoptimised.
#[test]
fn the_deepest_condition_needs_little_stack() {
    let deep = |open: &str, close: &str| {
        format!(
            "{}PID-1 = 1{}",
            open.repeat(EXPRESSION_MAX_DEPTH),
            close.repeat(EXPRESSION_MAX_DEPTH)
        )
    };
    let texts = [
        deep("(", ")"),
        deep("not ", ""),
        deep("0 or (", ")"),
        deep("0 or (1 and (", "))"),
    ];
    let compile = move || texts.map(|text| Expr::compile(&text).is_ok());
    let thread = std::thread::Builder::new()
        .stack_size(1024 * 1024)
        .spawn(compile);
    assert_eq!(
        thread.expect("a thread").join().expect("no overflow"),
        [true, true, true, false]
    );
}
