//! What each construct of the rule language says of a message: rows of expression, message, answer.

use hie_hl7::Message;
use hie_rules::{Context, Expr};

const ADT: &str = "MSH|^~\\&|PAS|ROYAL|HIE|TRUST|20260102030405||ADT^A01^ADT_A01|MSG00001|P|2.4\r\
    EVN|A01|20260102030405\r\
    PID|1||4001^^^ROYAL^MR~9434765919^^^NHS^NH||O'Neil AND Sons^Aoife (Test)||19700131|F|||1 High St^^Leeds^^LS1 1AA\r\
    NK1|1|Neil^Tom|SPO\rNK1|2|Neil^Ann|MTH\r\
    PV1|1|I|WARD 7^3^A|E|||C123^Able^Bea\r\
    DG1|1||I10^Hypertension^ICD10\r\
    OBX|1|NM|WEIGHT||72.50|kg\rOBX|2|ST|NOTE||a\\T\\b|\rOBX|3|NM|HEIGHT||168|cm\r\
    ZAL|1|\"\"|*|20%|x_y\r";

const ACK: &str = "MSH|^~\\&|EPR|TRUST|HIE|TRUST|2026||ACK|1|P|2.4\rMSA|AA|MSG00001\r";

fn answer(message: &[u8], expression: &str) -> bool {
    let message = Message::parse(message).expect("a message");
    let expr = Expr::compile(expression).unwrap_or_else(|e| panic!("{expression}: {e}"));
    expr.eval(&Context {
        document: &message,
        source: "ADT-In",
    })
}

fn check(message: &str, rows: &[(&str, bool)]) {
    for (expression, expected) in rows {
        assert_eq!(
            answer(message.as_bytes(), expression),
            *expected,
            "{expression}"
        );
    }
}

#[test]
fn comparisons() {
    check(
        ADT,
        &[
            (r#"MSH-9.1 = "ADT""#, true),
            (r#"MSH-9.1 == "ADT""#, true),
            (r#"MSH-9.1 = 'ADT'"#, true),
            (r#"MSH-9.1="ADT""#, true),
            (r#"MSH-9.1 = "adt""#, false),
            (r#"MSH-9.1 != "ADT""#, false),
            (r#"MSH-9.1 <> "ORU""#, true),
            (r#""ADT" = MSH-9.1"#, true),
            (r#"(HL7.{MSH:9.1}=("ADT"))"#, true),
            (r#"MSH-4 = EVN-1"#, false),
            (r#"EVN-1 = MSH-9.2"#, true),
            (r#"PID-8 = """#, false),
            (r#"PID-9 = """#, true),
            (r#"ZZZ-1 = """#, true),
        ],
    );
}

#[test]
fn order_is_numeric_where_both_sides_are_numbers() {
    check(
        ADT,
        &[
            (r#"OBX(3)-5 > "99""#, true), // as text "168" would come first
            (r#"OBX(3)-5 > 99"#, true),
            (r#"OBX-5 = 72.5"#, true),
            (r#"OBX-5 = "72.5""#, false), // quoted: text
            (r#"OBX-5 <= 72.50 and OBX-5 >= 72.5"#, true),
            (r#"PID-7 < "19800101""#, true),
            (r#"OBX(2)-5 > 10"#, false), // text is on neither side of a number
            (r#"OBX(2)-5 < 10"#, false),
            (r#"OBX(2)-5 != 10"#, true),
            (r#"OBX(2)-5 > "10""#, true), // as text
            (r#"Length(PID-3(2).1) = 10"#, true),
            (r#"Length(PID-9) = 0"#, true),
            ("PID-1 = -1", false),
            ("PID-1 > -1.5", true),
        ],
    );
}

#[test]
fn word_tests() {
    check(
        ADT,
        &[
            (r#"PID-8 In ("F", "M")"#, true),
            (r#"PID-8 IN ("U","O")"#, false),
            (r#"PID-8 not in ("U","O")"#, true),
            (r#"PID-8 NotIn ("U","O")"#, true),
            (r#"PID-8 In "U, F""#, true),
            (r#"In(PID-8, "U,F")"#, true),
            (r#"In(PID-8, "U", "F")"#, true),
            (r#"OBX(3)-5 In (1, 168.0)"#, true),
            (r#"PID-5.1 Contains "Neil""#, true),
            (r#"PID-5.1 contains "neil""#, false),
            (r#"ToLower(PID-5.1) Contains "neil""#, true),
            (r#"Contains({PID-5}, "Aoife")"#, true),
            (r#"PID-5.1 DoesNotContain "Neil""#, false),
            (r#"PID-5.1 not contains "x""#, true),
            (r#"PID-5.1 [ "Neil""#, true),
            (r#"PV1-3.1 StartsWith "WARD ""#, true),
            (r#"PV1-3.1 EndsWith "7""#, true),
            (r#"PV1-3.1 DoesNotStartWith "ICU""#, true),
            (r#"PV1-3.1 DoesNotEndWith "7""#, false),
            (r#"PID-5.1 Contains PID-9"#, false), // nothing is in nothing
            (r#"MSH-9.2 Like "A*""#, true),
            (r#"MSH-9.2 Like "A0?""#, true),
            (r#"MSH-9.2 Not Like "A?""#, true),
            (r#"MSH-9.2 Like "?""#, false),
            (r#"ZAL-3 Like "\*""#, true),
            (r#"MSH-9.2 Like "\*""#, false),
            (r#"ZAL-4 Like "*\%""#, true),
            (r#"ZAL-5 Like "x_y""#, true),
        ],
    );
}

#[test]
fn functions() {
    check(
        ADT,
        &[
            ("Exists(PID-8)", true),
            ("Exists(PID-9)", false),
            ("Exists({PID:3(2)})", true),
            ("Exists(PID-3(3))", false),
            ("Exists(ZAL)", true),
            ("Exists(ZAM)", false),
            ("Exists(NK1(2))", true),
            ("Exists(NK1(3))", false),
            ("Exists(OBX(*)-6)", true),
            ("Exists(OBX(*)-17)", false),
            (r#"ToUpper(NK1-2.2) = "TOM""#, true),
            (r#"SubString(PID-7, 1, 4) = "1970""#, true),
            (r#"SubString(PID-7, 5) = "0131""#, true),
            (r#"SubString(PID-7, 9) = """#, true),
            (r#"Piece(PV1-3.1, " ") = "WARD""#, true),
            (r#"Piece(PV1-3.1, " ", 2) = "7""#, true),
            (r#"Piece(PV1-3, "^", 2, 3) = "3^A""#, true),
            (r#"Piece(PV1-3, "^", 9) = """#, true),
            (r#"Contains(PID-8, "F") = 1"#, true),
            (r#"Contains(PID-8, "F") = 0"#, false),
            (r#"Contains(PID-8, "F") != true"#, false),
            (r#"true = Exists(PID-8)"#, true),
        ],
    );
}

#[test]
fn connectives() {
    check(
        ADT,
        &[
            ("", true),
            ("  \n ", true),
            ("1", true),
            ("0", false),
            ("true", true),
            ("FALSE", false),
            ("not 0", true),
            ("!Exists(PID-9)", true),
            ("1 or 0 and 0", true), // and binds closer
            ("(1 or 0) and 0", false),
            ("not 0 and 0", false), // not binds closest
            ("not (0 and 0)", true),
            ("not not 1", true),
            ("1 && !0 || 0", true),
            (r#"not PID-8 = "M" AND PID-1 = 1"#, true),
        ],
    );
}

/// Each of these was silently false in the system this one re-makes.
#[test]
fn what_used_to_be_silently_false() {
    check(
        ADT,
        &[
            (r#"{MSH-9.1} = "ADT" AND NOT ({PID-8} IN ("U","O"))"#, true),
            (r#"{PV1-2} = "I""#, true), // digits in a segment's name
            (r#"{NK1-3} = "SPO""#, true),
            (r#"DG1-3.1 = "I10""#, true),
            (r#"{PID-3(2).5} = "NH""#, true), // a repetition
            (r#"{PID-3[2].5} = "NH""#, true),
            (r#"{NK1(2)-3} = "MTH""#, true),
            (r#"NOT({PID-8} = "M")"#, true),             // no blank
            (r#"{PID-5.1} = "O'Neil AND Sons""#, true),  // operator in a text
            (r#"{PID-5.2} = "Aoife (Test)""#, true),     // parenthesis in a text
            (r#"{PID-5.1} = 'O''Neil AND Sons'"#, true), // single quotes, one inside
            (r#"{PID-5.2} Like "Aoife (*)""#, true),
        ],
    );
}

#[test]
fn iris_spellings() {
    check(
        ADT,
        &[
            (r#"HL7.MSH:MessageType.TriggerEvent = "A01""#, true),
            (r#"HL7.MSH:MessageType.MessageStructure = "ADT_A01""#, true),
            (r#"HL7.MSH:SendingApplication = "PAS""#, true),
            (r#"HL7.MSH:messagecontrolid = "MSG00001""#, true),
            (r#"HL7.PID:PatientID = "4001""#, true),
            (r#"HL7.PID:PatientName.GivenName StartsWith "Ao""#, true),
            (r#"HL7.PID:Sex = "F""#, true),
            (r#"HL7.PV1:AttendingDoctor.1 = "C123""#, true),
            (r#"HL7.PV1:PatientClass = "I""#, true),
            (r#"HL7.EVN:EventTypeCode = "A01""#, true),
            (r#"HL7.{PID:5.2} [ "Test""#, true),
            (r#"HL7.{PID:3(2).1} = "9434765919""#, true),
            (r#"Document.{MSH:9.1} = "ADT""#, true),
            (r#"{MSH:MessageType.TriggerEvent} = "A01""#, true),
            (r#"HL7.[NK1:3] = "MTH""#, true), // in any such segment
            (r#"[NK1:3] = "MTH""#, true),
            (r#"HL7.(PID:3().5) = "NH""#, true),
            (r#"HL7.Name = "ADT_A01""#, true),
            (r#"HL7.Identifier = ControlId"#, true),
        ],
    );
}

#[test]
fn variables() {
    check(
        ADT,
        &[
            (r#"Source = "ADT-In""#, true),
            (r#"source StartsWith "ADT""#, true),
            (r#"MessageType = "ADT^A01""#, true),
            (r#"DocName = "ADT_A01""#, true),
            (r#"MsgType In ("ADT_A01", "ADT_A04")"#, true),
            (r#"DocType = "ADT_A01""#, true),
        ],
    );
    check(
        ACK,
        &[
            (r#"DocName = "ACK""#, true),
            (r#"MessageType = "ACK""#, true),
        ],
    );
    let long = format!("MSH|^~\\&|A|B|C|D|||{}^A01|1\r", "X".repeat(100));
    assert!(answer(
        long.as_bytes(),
        &format!("DocName = '{}_A01'", "X".repeat(100))
    ));
}

#[test]
fn many_values() {
    check(
        ADT,
        &[
            (r#"OBX(*)-3 = "NOTE""#, true),
            (r#"OBX()-3 = "NOTE""#, true),
            (r#"OBX-3 = "NOTE""#, false), // the first alone
            (r#"PID-3(*).5 = "NH""#, true),
            (r#"PID-3[*].5 In ("NH", "X")"#, true),
            (r#"OBX(*)-5 > 100"#, true),
            (r#"OBX(*)-3 != "NOTE""#, false), // exactly not (=)
            (r#"OBX(*)-3 != "NONE""#, true),
            (r#"OBX(*)-3 DoesNotContain "OT""#, false),
            (r#"OBX(*)-3 Not In ("X", "Y")"#, true),
            (r#"ZZZ(*)-3 = """#, true), // what is absent is empty
            (r#"Length(OBX(*)-5) = 5"#, true),
            (r#"ToLower(OBX(*)-3) = "height""#, true),
        ],
    );
}

#[test]
fn values_are_text_not_bytes() {
    check(
        ADT,
        &[
            (r#"OBX(2)-5 = "a&b""#, true), // unescaped
            (r#"ZAL-2 = '""'"#, true),     // the explicit null is two quotes
            (r#"ZAL-2 = """""""#, true),
            (r#"PID-3.4 = "ROYAL""#, true),
            (r#"PID-11.3 = "Leeds""#, true),
        ],
    );
    let latin = b"MSH|^~\\&|A|B|C|D|||ADT^A01|1|P|2.4||||||8859/1\rPID|1||1||M\xfcller\r";
    assert!(answer(latin, r#"PID-5.1 = "Müller""#));
    assert!(answer(latin, r#"Length(PID-5.1) = 6"#));
}
