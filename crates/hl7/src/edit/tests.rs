//! Edits as data: path and value in, the whole message out.

use super::*;

const RAW: &[u8] = b"MSH|^~\\&|A|B\rPID|1||7^x~8^y&z\rOBX|1||a\rOBX|2\r";
const REST: &str = "OBX|1||a\rOBX|2\r";

fn edited(
    raw: &[u8],
    change: impl FnOnce(&mut Edit) -> Result<(), EditError>,
) -> Result<String, EditError> {
    let mut edit = Edit::new(&Message::parse(raw).unwrap());
    change(&mut edit)?;
    Ok(String::from_utf8(edit.finish()).unwrap())
}

fn set(raw: &[u8], path: &str, value: &str) -> Result<String, EditError> {
    let path = Path::parse(path).unwrap();
    edited(raw, |edit| edit.set(&path, value.as_bytes()).map(drop))
}

fn delete(path: &str) -> Result<String, EditError> {
    let path = Path::parse(path).unwrap();
    edited(RAW, |edit| edit.delete(&path).map(drop))
}

#[test]
fn set_changes_its_place_and_pads_what_is_missing() {
    let table = [
        // Replaced.
        ("PID-1", "9", "PID|9||7^x~8^y&z"),
        ("PID-3", "9", "PID|1||9~8^y&z"),
        ("PID-3.1", "9", "PID|1||9^x~8^y&z"),
        ("PID-3[2].2", "q", "PID|1||7^x~8^q"),
        ("PID-3[2].2.2", "q", "PID|1||7^x~8^y&q"),
        ("PID-3[*].1", "9", "PID|1||9^x~9^y&z"),
        ("PID-3", "", "PID|1||~8^y&z"),
        ("PID", "PID|new^one", "PID|new^one"),
        // Padded.
        ("PID-2.3", "9", "PID|1|^^9|7^x~8^y&z"),
        ("PID-2[2].1.3", "9", "PID|1|~&&9|7^x~8^y&z"),
        ("PID-3[4]", "9", "PID|1||7^x~8^y&z~~9"),
        ("PID-3.1.2", "9", "PID|1||7&9^x~8^y&z"),
        ("PID-6", "9", "PID|1||7^x~8^y&z|||9"),
        ("PID-5[2].2", "9", "PID|1||7^x~8^y&z||~^9"),
        // Smaller delimiters are structure.
        ("PID-2", "a^b&c", "PID|1|a^b&c|7^x~8^y&z"),
        ("PID-2.1", "a&b", "PID|1|a&b|7^x~8^y&z"),
    ];
    for (path, value, pid) in table {
        let want = format!("MSH|^~\\&|A|B\r{pid}\r{REST}");
        assert_eq!(
            set(RAW, path, value).as_deref(),
            Ok(want.as_str()),
            "{path}"
        );
    }
}

#[test]
fn msh_counts_its_separator_and_every_segment_of_a_name_can_be_meant() {
    let table = [
        (
            "MSH-3",
            "X",
            "MSH|^~\\&|X|B\rPID|1||7^x~8^y&z\rOBX|1||a\rOBX|2\r",
        ),
        (
            "MSH-10",
            "X",
            "MSH|^~\\&|A|B||||||X\rPID|1||7^x~8^y&z\rOBX|1||a\rOBX|2\r",
        ),
        (
            "OBX[2]-3",
            "X",
            "MSH|^~\\&|A|B\rPID|1||7^x~8^y&z\rOBX|1||a\rOBX|2||X\r",
        ),
        (
            "OBX[*]-3",
            "X",
            "MSH|^~\\&|A|B\rPID|1||7^x~8^y&z\rOBX|1||X\rOBX|2||X\r",
        ),
    ];
    for (path, value, want) in table {
        assert_eq!(set(RAW, path, value).as_deref(), Ok(want), "{path}");
    }
}

#[test]
fn what_would_break_the_message_is_refused() {
    let table = [
        ("MSH", "MSH|^~\\&", "edit.protected"),
        ("MSH-1", "#", "edit.protected"),
        ("MSH-2", "^~\\&", "edit.protected"),
        ("ZZZ-1", "x", "edit.segment_absent"),
        ("OBX[3]-1", "x", "edit.segment_absent"),
        ("ZZZ[*]-1", "x", "edit.segment_absent"),
        ("PID-1", "a|b", "edit.delimiter"),
        ("PID-1", "a~b", "edit.delimiter"),
        ("PID-1", "a\rb", "edit.delimiter"),
        ("PID-1", "a\nb", "edit.delimiter"),
        ("PID-1.1", "a^b", "edit.delimiter"),
        ("PID-1.1.1", "a&b", "edit.delimiter"),
        ("PID", "PV1|1", "edit.not_a_segment"),
        ("PID", "PID|1\rPV1|1", "edit.not_a_segment"),
        ("PID", "", "edit.not_a_segment"),
    ];
    for (path, value, code) in table {
        assert_eq!(set(RAW, path, value).unwrap_err().code(), code, "{path}");
    }
    let poor = b"MSH|^~\\|A\rPID|1\r";
    assert_eq!(
        set(poor, "PID-1.1.2", "x").unwrap_err().code(),
        "edit.no_subcomponents"
    );
}

#[test]
fn delete_keeps_the_numbers_of_what_follows() {
    let table = [
        ("PID-3", "PID|1||\r"),
        ("PID-3[*]", "PID|1||\r"),
        ("PID-3[1]", "PID|1||8^y&z\r"),
        ("PID-3[2]", "PID|1||7^x\r"),
        ("PID-3[3]", "PID|1||7^x~8^y&z\r"),
        ("PID-3.1", "PID|1||^x~8^y&z\r"),
        ("PID-3[*].1", "PID|1||^x~^y&z\r"),
        ("PID-3[2].2.1", "PID|1||7^x~8^&z\r"),
        ("PID-3.2.2", "PID|1||7^x~8^y&z\r"),
        ("PID-9", "PID|1||7^x~8^y&z\r"),
        ("ZZZ-1", "PID|1||7^x~8^y&z\r"),
        ("PID", ""),
    ];
    for (path, pid) in table {
        let want = format!("MSH|^~\\&|A|B\r{pid}{REST}");
        assert_eq!(delete(path).as_deref(), Ok(want.as_str()), "{path}");
    }
    let without = "MSH|^~\\&|A|B\rPID|1||7^x~8^y&z\r";
    assert_eq!(delete("OBX[*]").as_deref(), Ok(without));
    assert_eq!(delete("MSH-2").unwrap_err().code(), "edit.protected");
}

#[test]
fn segments_are_appended_with_the_line_end_of_the_message() {
    let table: &[(&[u8], &str)] = &[
        (b"MSH|1\rPID|1\r", "MSH|1\rPID|1\rZAB|x\r"),
        (b"MSH|1\rPID|1", "MSH|1\rPID|1\rZAB|x\r"),
        (b"MSH|1\r\nPID|1", "MSH|1\r\nPID|1\r\nZAB|x\r\n"),
        (b"MSH|1\nPID|1\n", "MSH|1\nPID|1\nZAB|x\n"),
        (b"MSH|1\rPID|text\n", "MSH|1\rPID|text\n\rZAB|x\r"),
        (b"MSH|1", "MSH|1\rZAB|x\r"),
    ];
    for (raw, want) in table {
        let got = edited(raw, |edit| edit.append_segment(b"ZAB|x").map(drop));
        assert_eq!(got.as_deref(), Ok(*want));
    }
    for bad in [
        &b"MSH|^~\\&"[..],
        b"",
        b"|x",
        b"zab|x",
        b"ZAB|x\r",
        b"ZABC|x",
    ] {
        let got = edited(RAW, |edit| edit.append_segment(bad).map(drop));
        assert_eq!(got, Err(EditError::NotASegment));
    }
}

#[test]
fn text_is_encoded_and_escaped() {
    let name = Path::parse("PID-5.1").unwrap();
    let set = |raw: &[u8], text: &str| {
        let mut edit = Edit::new(&Message::parse(raw).unwrap());
        edit.set_text(&name, text).map(|edit| edit.bytes().to_vec())
    };
    let utf8 = b"MSH|^~\\&|A\rPID\r";
    assert_eq!(
        set(utf8, "a|b\u{e9}\n").unwrap(),
        "MSH|^~\\&|A\rPID|||||a\\F\\b\u{e9}\\.br\\\r".as_bytes()
    );
    let latin = b"MSH|^~\\&||||||||||||||||8859/1\rPID\r";
    assert!(set(latin, "é").unwrap().ends_with(b"|\xE9\r"));
    assert_eq!(set(latin, "山").unwrap_err().code(), "edit.unencodable");
    let strange = b"MSH|^~\\&||||||||||||||||KLINGON\rPID\r";
    assert_eq!(set(strange, "a").unwrap_err().code(), "edit.unencodable");
    let bare = b"MSH|^~|A\rPID\r";
    assert!(set(bare, "plain").is_ok());
    assert_eq!(set(bare, "a^b").unwrap_err().code(), "edit.escape");
}

#[test]
fn edits_follow_one_another() {
    let got = edited(RAW, |edit| {
        let path = |text| Path::parse(text).unwrap();
        edit.append_segment(b"ZAB")?
            .set(&path("ZAB-2.2"), b"two")?
            .set(&path("ZAB-1"), b"one")?
            .delete(&path("OBX"))?
            .set(&path("OBX-3"), b"was second")?;
        Ok(())
    });
    let want = "MSH|^~\\&|A|B\rPID|1||7^x~8^y&z\rOBX|2||was second\rZAB|one|^two\r";
    assert_eq!(got.as_deref(), Ok(want));
}

/// Quadratic work here would take hours, not a moment: what is plural is done in
/// one pass.
#[test]
fn a_hostile_number_of_places_costs_no_more_than_its_bytes() {
    let mut raw = b"MSH|^~\\&|A\rPID|1||".to_vec();
    raw.extend(std::iter::repeat_n(*b"7~", 300_000).flatten());
    raw.extend(std::iter::repeat_n(*b"\rOBX|1|a", 300_000).flatten());
    let message = Message::parse(&raw).unwrap();
    let [ids, values] = ["PID-3[*].2", "OBX[*]-2"].map(|path| Path::parse(path).unwrap());
    let mut edit = Edit::new(&message);
    edit.set(&ids, b"x").unwrap().set(&values, b"b").unwrap();
    let edited = edit.finish();
    let after = Message::parse(&edited).unwrap();
    assert_eq!(after.get_all(&ids).filter(|v| *v == b"x").count(), 300_001);
    assert_eq!(
        after.get_all(&values).filter(|v| *v == b"b").count(),
        300_000
    );
    let mut edit = Edit::new(&after);
    edit.delete(&ids)
        .unwrap()
        .delete(&Path::parse("OBX[*]").unwrap())
        .unwrap();
    let emptied = edit.finish();
    assert_eq!(Message::parse(&emptied).unwrap().segments().count(), 2);
    assert_eq!(
        crate::view::rows(&after).filter(|row| row.repeats).count(),
        300_000
    );
}
