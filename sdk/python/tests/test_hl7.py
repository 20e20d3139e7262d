"""HL7 by path: the same tables as the engine's own tests, and byte identity over the corpus."""

import os
import re
import unittest

from hie.hl7 import HL7Error, HL7Message, PathError, parse_path
from hie._hl7_text import CannotEscape, Delimiters, charset_of, decode, encode, escape, read_delimiters, unescape

RAW = b"MSH|^~\\&|A|B\rPID|1||7^x~8^y&z\rOBX|1||a\rOBX|2\r"
HEAD = b"MSH|^~\\&|A|B\r"
REST = b"OBX|1||a\rOBX|2\r"
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
CORPUS = os.path.join(os.path.dirname(ROOT), "shared", "data", "hl7")


class Paths(unittest.TestCase):
    def test_every_form_has_one_canonical_spelling(self):
        table = [
            ("PID", "PID"), ("{PID}", "PID"), ("PID-5.1", "PID-5.1"), ("PID:5.1", "PID-5.1"),
            ("PID.5.1", "PID-5.1"), ("{PID:5.1}", "PID-5.1"), ("PID-3[2].1.2", "PID-3[2].1.2"),
            ("PID-3(2).1", "PID-3[2].1"), ("{PID:3(2).1}", "PID-3[2].1"), ("OBX(*)-5", "OBX[*]-5"),
            ("OBX(2)-5", "OBX[2]-5"), ("{OBX(2):5}", "OBX[2]-5"), ("{OBX():5()}", "OBX[*]-5[*]"),
            ("ZA1-99999", "ZA1-99999"),
        ]  # fmt: skip
        for written, canonical in table:
            self.assertEqual(str(parse_path(written)), canonical)
            self.assertEqual(parse_path(canonical), parse_path(written))

    def test_a_broken_path_says_where(self):
        table = [
            ("", 0), ("pid-5", 0), ("PI-5", 0), ("PIDX-5", 0), ("ORCgrp(1).OBR:4", 0), ("5PI-1", 0),
            ("PID-", 4), ("PID-x", 4), ("PID-0", 4), ("PID-100000", 4), ("PID-5.", 6), ("PID-5.1.1.1", 9),
            ("PID[", 4), ("PID[2", 5), ("PID-5[2)", 7), ("{PID-5", 6), ("PID-5}", 5), ("PID 5", 3),
        ]  # fmt: skip
        for written, offset in table:
            with self.assertRaises(PathError, msg=written) as raised:
                parse_path(written)
            self.assertEqual(raised.exception.offset, offset, written)


class Reading(unittest.TestCase):
    def test_text_is_unescaped_absent_is_none_empty_is_empty(self):
        msg = HL7Message(b"MSH|^~\\&|A\rPID|1||7^a\\T\\b^|\"\"|S\\F\\M^J~T^K\rOBX|1\rOBX|2|ST||second\r")
        table = [
            ("PID-3.2", "a&b"), ("PID-3.3", ""), ("PID-3.4", None), ("PID-4", '""'), ("PID-9", None),
            ("PID-5", "S|M^J"), ("PID-5[2].1", "T"), ("PID-5(2)", "T^K"), ("PID-5[3]", None),
            ("OBX(2)-4", "second"), ("OBX-4", None), ("OBX[*]-4", "second"), ("ZZZ-1", None), ("MSH-1", "|"),
            ("MSH-3", "A"), ("PID-3.1.1", "7"), ("PID-3.1.2", None),
        ]  # fmt: skip
        for path, want in table:
            self.assertEqual(msg[path], want, path)
            self.assertEqual(path in msg, want is not None)
        self.assertEqual(msg.get_raw("MSH-2"), b"^~\\&")
        self.assertEqual(msg.get("ZZZ-1", "none"), "none")
        self.assertEqual(msg.get_all("OBX[*]-1"), ["1", "2"])
        self.assertEqual(msg.repetitions("PID-5.1"), ["S|M", "T"])

    def test_segments_are_views(self):
        msg = HL7Message(RAW)
        self.assertEqual([s.name for s in msg.segments()], ["MSH", "PID", "OBX", "OBX"])
        second = msg.segments("OBX")[1]
        self.assertEqual((second["1"], second[3], second.raw), ("2", None, b"OBX|2"))
        second["3.2"] = "new"
        self.assertEqual(msg.raw, HEAD + b"PID|1||7^x~8^y&z\rOBX|1||a\rOBX|2||^new\r")
        self.assertIsNone(msg.segment("OBX", 3))
        self.assertEqual(msg.segment("PID").repetitions(3), ["7^x", "8^y&z"])

    def test_the_names_of_the_design(self):
        msg = HL7Message(b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|77|P|2.4\rPID|1\r")
        self.assertEqual((msg.get_message_type(), msg.control_id), ("ADT_A01", "77"))
        self.assertEqual(msg.get_segment("PID", 0)["1"], "1")
        self.assertEqual(len(msg.get_segments("PID")), 1)
        self.assertEqual(msg.get_field("PID-8", "U"), "U")
        self.assertTrue(msg.set_field("PID-8", "F").endswith(b"PID|1|||||||F\r"))

    def test_line_ends_are_kept_and_understood(self):
        for end in (b"\r", b"\n", b"\r\n"):
            raw = b"MSH|^~\\&|A" + end + b"PID|1" + end + end + b"OBX|1"
            msg = HL7Message(raw)
            self.assertEqual([s.name for s in msg.segments()], ["MSH", "PID", "OBX"])
            msg["PID-1"] = "2"
            self.assertEqual(msg.raw, raw.replace(b"PID|1", b"PID|2"))
        text = HL7Message(b"MSH|^~\\&|A\rNTE|1||two\nlines\rPID|1\r")  # with CR, an LF is text
        self.assertEqual(text["NTE-3"], "two\nlines")

    def test_what_is_no_message_says_so_without_its_content(self):
        for raw in (b"", b"  \r\n", b"PID|secret", b"MSH", b"MSH\r", b"MSHA|", b"FHS|^~\\&", b"MSH\xe9"):
            with self.assertRaises(HL7Error) as raised:
                HL7Message(raw)["PID-1"]
            self.assertNotIn("secret", str(raised.exception))
        self.assertEqual(HL7Message(b"\xef\xbb\xbf\r\n MSH|^~\\&|A\r")["MSH-3"], "A")
        self.assertNotIn("SMITH", repr(HL7Message(b"MSH|^~\\&|SMITH\r")))


class Changing(unittest.TestCase):
    def test_set_raw_changes_its_place_and_pads_what_is_missing(self):
        table = [
            ("PID-1", "9", "PID|9||7^x~8^y&z"), ("PID-3", "9", "PID|1||9~8^y&z"),
            ("PID-3.1", "9", "PID|1||9^x~8^y&z"), ("PID-3[2].2", "q", "PID|1||7^x~8^q"),
            ("PID-3[2].2.2", "q", "PID|1||7^x~8^y&q"), ("PID-3[*].1", "9", "PID|1||9^x~9^y&z"),
            ("PID-3", "", "PID|1||~8^y&z"), ("PID", "PID|new^one", "PID|new^one"),
            ("PID-2.3", "9", "PID|1|^^9|7^x~8^y&z"), ("PID-2[2].1.3", "9", "PID|1|~&&9|7^x~8^y&z"),
            ("PID-3[4]", "9", "PID|1||7^x~8^y&z~~9"), ("PID-3.1.2", "9", "PID|1||7&9^x~8^y&z"),
            ("PID-6", "9", "PID|1||7^x~8^y&z|||9"), ("PID-5[2].2", "9", "PID|1||7^x~8^y&z||~^9"),
            ("PID-2", "a^b&c", "PID|1|a^b&c|7^x~8^y&z"), ("PID-2.1", "a&b", "PID|1|a&b|7^x~8^y&z"),
        ]  # fmt: skip
        for path, value, want in table:
            msg = HL7Message(RAW)
            msg.set_raw(path, value)
            self.assertEqual(msg.raw, HEAD + want.encode() + b"\r" + REST, path)

    def test_msh_counts_its_separator(self):
        for path, want in [("MSH-3", b"MSH|^~\\&|X|B"), ("MSH-10", b"MSH|^~\\&|A|B||||||X")]:
            msg = HL7Message(RAW)
            msg[path] = "X"
            self.assertEqual(msg.get_raw("MSH"), want)
            self.assertEqual(msg[path], "X")

    def test_what_would_break_the_message_is_refused(self):
        table = [
            ("MSH", "MSH|^~\\&"), ("MSH-1", "#"), ("MSH-2", "^~\\&"), ("ZZZ-1", "x"), ("OBX[3]-1", "x"),
            ("ZZZ[*]-1", "x"), ("PID-1", "a|b"), ("PID-1", "a~b"), ("PID-1", "a\rb"), ("PID-1", "a\nb"),
            ("PID-1.1", "a^b"), ("PID-1.1.1", "a&b"), ("PID", "PV1|1"), ("PID", "PID|1\rPV1|1"), ("PID", ""),
        ]  # fmt: skip
        for path, value in table:
            msg = HL7Message(RAW)
            with self.assertRaises(HL7Error, msg=path):
                msg.set_raw(path, value)
            self.assertEqual(msg.raw, RAW)

    def test_delete_keeps_the_numbers_of_what_follows(self):
        table = [
            ("PID-3", b"PID|1||\r"), ("PID-3[*]", b"PID|1||\r"), ("PID-3[1]", b"PID|1||8^y&z\r"),
            ("PID-3[2]", b"PID|1||7^x\r"), ("PID-3[3]", b"PID|1||7^x~8^y&z\r"), ("PID-3.1", b"PID|1||^x~8^y&z\r"),
            ("PID-3[*].1", b"PID|1||^x~^y&z\r"), ("PID-3[2].2.1", b"PID|1||7^x~8^&z\r"),
            ("PID-3.2.2", b"PID|1||7^x~8^y&z\r"), ("PID-9", b"PID|1||7^x~8^y&z\r"),
            ("ZZZ-1", b"PID|1||7^x~8^y&z\r"), ("PID", b""),
        ]  # fmt: skip
        for path, want in table:
            msg = HL7Message(RAW)
            del msg[path]
            self.assertEqual(msg.raw, HEAD + want + REST, path)

    def test_segments_are_appended_with_the_line_end_of_the_message(self):
        table = [
            (b"MSH|1\rPID|1\r", b"MSH|1\rPID|1\rZAB|x\r"), (b"MSH|1\rPID|1", b"MSH|1\rPID|1\rZAB|x\r"),
            (b"MSH|1\r\nPID|1", b"MSH|1\r\nPID|1\r\nZAB|x\r\n"), (b"MSH|1\nPID|1\n", b"MSH|1\nPID|1\nZAB|x\n"),
            (b"MSH|1\rPID|text\n", b"MSH|1\rPID|text\n\rZAB|x\r"), (b"MSH|1", b"MSH|1\rZAB|x\r"),
        ]  # fmt: skip
        for raw, want in table:
            msg = HL7Message(raw)
            segment = msg.append_segment("ZAB|x")
            self.assertEqual((msg.raw, segment["1"]), (want, "x"))
        for bad in (b"MSH|^~\\&", b"", b"|x", b"zab|x", b"ZAB|x\r", b"ZABC|x"):
            with self.assertRaises(HL7Error):
                HL7Message(RAW).append_segment(bad)

    def test_text_is_encoded_and_escaped(self):
        msg = HL7Message(b"MSH|^~\\&|A\rPID\r")
        msg["PID-5.1"] = "a|b\u00e9\n"
        self.assertEqual(msg.raw, "MSH|^~\\&|A\rPID|||||a\\F\\b\u00e9\\.br\\\r".encode())
        self.assertEqual(msg["PID-5.1"], "a|b\u00e9\n")
        latin = HL7Message(b"MSH|^~\\&||||||||||||||||8859/1\rPID\r")
        latin["PID-5.1"] = "\u00e9"
        self.assertTrue(latin.raw.endswith(b"|\xe9\r"))
        for raw, text in [
            (latin.raw, "\u5c71"),
            (b"MSH|^~\\&||||||||||||||||KLINGON\rPID\r", "a"),
            (b"MSH|^~|A\rPID\r", "a^b"),
        ]:
            with self.assertRaises(HL7Error):
                HL7Message(raw)["PID-5.1"] = text


class Text(unittest.TestCase):
    def test_sequences_mean_what_the_standard_says(self):
        d = Delimiters(truncation=b"#")
        table = [
            (r"plain", "plain"), (r"\F\\S\\T\\R\\E\\P" + "\\", r"|^&~\#"), (r"a\.br\b", "a\nb"),
            ("\\.sp\\\\.sp2\\\\.sp+1\\", "\n\n\n\n"), ("a\\.sk3\\b\\.ce\\", "a   b\n"), (r"\H\loud\N" + "\\", "loud"),
            (r"\.in+4\\.ti-2\\.fi\\.nf\x", "x"), ("\\X41\\\\X4243\\\\X0d\\", "ABC\r"),
            ("\\X4\\ \\XZZ\\ \\X\\", "\\X4\\ \\XZZ\\ \\X\\"), ("\\C2842\\ \\M242A\\ \\Zabc\\", "\\C2842\\ \\M242A\\ \\Zabc\\"),
            ("\\.zz\\ \\.sp999\\ \\.sp-1\\", "\\.zz\\ \\.sp999\\ \\.sp-1\\"), (r"C:\temp\file", r"C:\temp\file"),
            (r"50\ml \F\ x", r"50\ml | x"), ("\\", "\\"), ("\\\\", "\\\\"), ("\\f\\", "\\f\\"),
        ]  # fmt: skip
        for raw, text in table:
            self.assertEqual(unescape(raw.encode(), d).decode(), text, raw)

    def test_escape_and_back(self):
        d = Delimiters()
        text = b"|^~\\&\r\n\t\x1c#\xff"
        self.assertEqual(escape(text, d), b"\\F\\\\S\\\\R\\\\E\\\\T\\\\X0D\\\\.br\\\t\\X1C\\#\xff")
        every = bytes(range(256))
        for delimiters in (d, Delimiters(b"#", b"!", b"@", b"%", b"*"), Delimiters(component=b".")):
            self.assertEqual(unescape(escape(every, delimiters), delimiters), every)
        with self.assertRaises(CannotEscape):
            escape(b"a|b", Delimiters(escape=None))

    def test_msh_2_is_read_as_written_or_as_meant(self):
        table = [
            (b"|", b"^~\\&", b"^~\\&-"), (b"|", b"^~\\&#", b"^~\\&#"), (b"|", b"^~\\", b"^~\\--"),
            (b"|", b"^~", b"^~---"), (b"|", b"^", b"^~---"), (b"|", b"", b"^~\\&-"), (b"|", b"^~\\\\&", b"^~\\&-"),
            (b"|", b"^~&", b"^~-&-"), (b"|", b"blah", b"^~\\&-"), (b"@", b"~&#\\", b"~&#\\-"),
            (b"#", b"!@%*", b"!@%*-"), (b"^", b"", b"|~\\&-"), (b"|", b"^~\\&#!!!", b"^~\\&#"),
            (b"^", b"~\\&|CDC", b"~\\&|-"),
        ]  # fmt: skip
        for field, msh_2, want in table:
            d = read_delimiters(field, msh_2)
            got = b"".join(part or b"-" for part in d[1:])
            self.assertEqual((d.field, got), (field, want), msh_2)

    def test_character_sets(self):
        table = [
            (b"", ""), (b"ASCII", ""), (b"8859/1", "cp1252"), (b"8859/15", "iso8859-15"), (b"unicode utf-8 ", "utf-8"),
            (b"UTF-8~UNICODE", "utf-8"), (b"ISO-8859-2", "iso8859-2"), (b"windows-1252", "cp1252"),
            (b"~ISO IR87", "iso2022_jp"), (b"GB 18030-2000", "gb18030"), (b"ISO IR 999", None),
            (b"UNICODE UTF-16", None), (b"UTF-16", None), (b"8859/12", None), (b"rot13", None), (b"x" * 99, None),
        ]  # fmt: skip
        for name, want in table:
            self.assertEqual(charset_of(name, b"~"), want, name)
        self.assertEqual(decode(b"J\xfcrgen", ""), "Jürgen")
        self.assertEqual(decode("Jürgen".encode(), ""), "Jürgen")
        self.assertEqual(decode(b"J\xfcrgen", "utf-8"), "J\ufffdrgen")
        self.assertEqual(decode(b"\x1b$B;3ED\x1b(B", "iso2022_jp"), "山田")
        self.assertEqual(decode("山田".encode(), "iso2022_jp"), "山田")
        every = bytes(range(256))  # nothing is lost even where Windows-1252 has holes
        self.assertEqual(encode(decode(every, "cp1252"), "cp1252"), every)


@unittest.skipUnless(os.path.isdir(CORPUS), "the message corpus %s is absent" % CORPUS)
class Corpus(unittest.TestCase):
    def test_reading_and_editing_leave_all_other_bytes_alone(self):
        messages = edited = 0
        for folder, _, files in os.walk(CORPUS):
            for name in files:
                path = os.path.join(folder, name)
                if os.path.getsize(path) > 50_000:
                    continue
                with open(path, "rb") as file:
                    raw = file.read()
                msg = HL7Message(raw)
                try:
                    segments = msg.segments()
                except HL7Error:
                    continue
                messages += 1
                joined = raw[: msg._start] + b"".join(raw[line.start : line.next] for line in msg._index())
                self.assertEqual(joined, raw, path)
                for segment in segments[:8]:  # a part of each message is enough: there are many
                    if not re.fullmatch("[A-Z][A-Z0-9]{2}", segment.name) or segment.name in ("MSH", "BHS", "FHS"):
                        continue
                    before = segment.raw
                    for field in (1, 3):
                        value = msg.get_raw(segment.path("%d[*]" % field))
                        whole = segment.raw.split(msg.delimiters.field)
                        if value is None or b"\n" in whole[field]:
                            continue
                        msg.set_raw(segment.path(str(field)), b"")
                        msg.set_raw(segment.path(str(field)), value)
                        edited += 1
                    self.assertEqual(segment.raw, before, path)
                self.assertEqual(msg.raw, raw, path)
        self.assertGreater(messages, 100)
        self.assertGreater(edited, 1000)


if __name__ == "__main__":
    unittest.main()
