"""Delimiters, escape sequences and character sets of HL7 v2.

Owns what bytes of a field mean as text and how text becomes bytes, by the same rules as the engine.
Knows nothing of segments and paths.
"""

from __future__ import annotations

import codecs
import re
from typing import List, NamedTuple, Optional, Set, Tuple, Union


class Delimiters(NamedTuple):
    """The characters that structure one message, each one byte; None where it has none."""

    field: bytes = b"|"
    component: bytes = b"^"
    repetition: bytes = b"~"
    escape: Optional[bytes] = b"\\"
    subcomponent: Optional[bytes] = b"&"
    truncation: Optional[bytes] = None


STANDARD = Delimiters()


def read_delimiters(field: bytes, encoding_characters: bytes) -> Delimiters:
    """MSH-1 and the raw MSH-2, as written or as meant; never fails.

    A doubled character counts once, ``^~&`` is a ``^~\\&`` that lost its backslash, letters, digits
    and blanks end the list, and an MSH-2 that yields nothing gives the defaults.
    """
    if field == b"|" and encoding_characters == b"^~\\&":
        return STANDARD
    found: List[bytes] = []
    for code in encoding_characters:
        byte = bytes((code,))
        if byte.isalnum() or byte == b" " or code > 0x7E or len(found) == 5:
            break
        if byte != field and byte not in found:
            found.append(byte)
    if not found:
        component = _unused(b"^", [field])
        repetition = _unused(b"~", [field, component])
        escape = _unused(b"\\", [field, component, repetition])
        sub = _unused(b"&", [field, component, repetition, escape])
        return Delimiters(field, component, repetition, escape, sub, None)
    if len(found) == 1:
        return Delimiters(field, found[0], _unused(b"~", [field, found[0]]), None, None, None)
    if len(found) == 2:
        return Delimiters(field, found[0], found[1], None, None, None)
    if len(found) == 3 and found[2] == b"&":
        return Delimiters(field, found[0], found[1], None, b"&", None)
    rest: List[Optional[bytes]] = list(found[3:])
    rest += [None, None]
    return Delimiters(field, found[0], found[1], found[2], rest[0], rest[1])


def _unused(wanted: bytes, taken: List[bytes]) -> bytes:
    for candidate in (wanted, b"|", b"!", b"@", b"$", b"%"):
        if candidate not in taken:
            return candidate
    return wanted


# --- escape sequences -----------------------------------------------------------------------------


class CannotEscape(ValueError):
    """The text needs an escape sequence, and the message declares no escape character."""


def escape(text: bytes, d: Delimiters) -> bytes:
    """Text to field bytes; :func:`unescape` gives them back, byte for byte."""
    special = set(range(0x20)) - {0x09}
    for delimiter in d:
        if delimiter is not None:
            special.add(delimiter[0])
    if not any(byte in special for byte in text):
        return text
    if d.escape is None:
        raise CannotEscape("the text needs an escape sequence, but MSH-2 has no escape character")
    out = bytearray()
    for code in text:
        if code in special:
            out += d.escape + _sequence_name(code, d, special) + d.escape
        else:
            out.append(code)
    return bytes(out)


def _sequence_name(code: int, d: Delimiters, special: Set[int]) -> bytes:
    byte = bytes((code,))
    for delimiter, name in (
        (d.field, b"F"),
        (d.component, b"S"),
        (d.repetition, b"R"),
        (d.escape, b"E"),
        (d.subcomponent, b"T"),
        (d.truncation, b"P"),
    ):
        if byte == delimiter:
            return name
    if byte == b"\n" and ord(".") not in special:
        return b".br"
    return b"X%02X" % code


def unescape(raw: bytes, d: Delimiters) -> bytes:
    """Field bytes to text; sequences nobody knows stay as they are."""
    mark = d.escape
    if mark is None or mark not in raw:
        return raw
    out: List[bytes] = []
    at = 0
    while True:
        start = raw.find(mark, at)
        if start < 0:
            out.append(raw[at:])
            return b"".join(out)
        out.append(raw[at:start])
        meaning, at = _sequence(raw, start, mark, d)
        out.append(meaning)


def _sequence(raw: bytes, start: int, mark: bytes, d: Delimiters) -> Tuple[bytes, int]:
    """What the sequence at ``start`` means, and where reading goes on."""
    end = raw.find(mark, start + 1)
    if end < 0:
        return mark, start + 1
    name = raw[start + 1 : end]
    meaning = _meaning(name, d)
    if meaning is not None:
        return meaning, end + 1
    if name[:1] in (b"C", b"M", b"Z", b"X", b"."):  # another's sequence: kept with both ends
        return raw[start : end + 1], end + 1
    return mark, start + 1  # a stray escape character: the next one may open a sequence


_FORMAT = re.compile(rb"\.(?:(br|ce)|(sp|sk)(?:\+?([0-9]{1,2}))?|(fi|nf)|(?:in|ti)-?\+?[0-9]{1,2})")


def _meaning(name: bytes, d: Delimiters) -> Optional[bytes]:
    if len(name) == 1:
        if name in b"HN":
            return b""
        known = {b"F": d.field, b"S": d.component, b"R": d.repetition, b"E": d.escape}
        known[b"T"], known[b"P"] = d.subcomponent, d.truncation
        return known.get(name)
    if name[:1] == b"X":
        digits = name[1:]
        if not digits or len(digits) % 2 or re.fullmatch(rb"[0-9A-Fa-f]+", digits) is None:
            return None
        return bytes.fromhex(digits.decode("ascii"))
    found = _FORMAT.fullmatch(name)
    if found is None:
        return None
    if found.group(1):
        return b"\n"
    if found.group(2):
        times = 1 if found.group(3) is None else int(found.group(3))
        return (b"\n" if found.group(2) == b"sp" else b" ") * times
    return b""


# --- character sets -------------------------------------------------------------------------------

UNSTATED = ""
"""MSH-18 is empty or says ASCII: UTF-8 where the bytes are UTF-8, Windows-1252 otherwise."""

_HL7_NAMES = {
    "": UNSTATED,
    "ASCII": UNSTATED,
    "US-ASCII": UNSTATED,
    "ISO IR6": UNSTATED,
    "ISO IR 6": UNSTATED,
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF8": "utf-8",
    "ISO IR14": "iso2022_jp",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp",
    "ISOIR87": "iso2022_jp",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "cp949",
    "BIG-5": "big5hkscs",
}
_ISO_8859 = {"1": "cp1252", "9": "cp1254", "11": "cp874"}
_ISO_8859.update({str(n): "iso8859-%d" % n for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)})
# As the web agreed: the smaller set is read as its superset.
_WIDER = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gbk",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
_DECODABLE = frozenset(
    ["utf-8", "gbk", "gb18030", "cp949", "big5hkscs", "euc_jp", "shift_jis", "iso2022_jp"]
    + ["cp866", "cp874", "koi8-r", "koi8-u", "mac-roman"]
    + ["cp125%d" % n for n in range(9)]
    + ["iso8859-%d" % n for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)]
)


def charset_named(name: bytes) -> Optional[str]:
    """The codec of one name of HL7 table 0211 or of the web; None if nobody knows it."""
    text = name.strip().decode("ascii", "replace").upper()
    if text in _HL7_NAMES:
        return _HL7_NAMES[text]
    if text.startswith("8859/"):
        return _ISO_8859.get(text[5:])
    if len(text) > 32:
        return None
    try:
        codec = codecs.lookup(text).name
    except (LookupError, ValueError):
        return None
    codec = _WIDER.get(codec, codec)
    return codec if codec in _DECODABLE else None


def charset_of(msh_18: bytes, repetition: bytes) -> Optional[str]:
    """The codec of the raw MSH-18; None if the name that counts is not known."""
    if not msh_18:
        return UNSTATED
    names = msh_18.split(repetition)
    first = charset_named(names[0])
    if first != UNSTATED:
        return first
    if any(charset_named(name) == "iso2022_jp" for name in names[1:]):
        return "iso2022_jp"
    return first


def decode(data: bytes, charset: str) -> str:
    """Bytes to text; never fails. Bytes that fit nothing become U+FFFD in the text only."""
    try:
        return data.decode(charset or "utf-8", _C1)
    except UnicodeDecodeError:
        pass
    if not charset:
        return data.decode("cp1252", _C1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(charset, "replace")


def encode(text: str, charset: str) -> bytes:
    """Text to bytes; UnicodeEncodeError if the set lacks one of the characters."""
    return text.encode(charset or "utf-8", _C1)


def _c1_bytes(error: UnicodeError) -> Tuple[Union[str, bytes], int]:
    """Windows code pages as the web has them: the bytes they leave free are C1 controls."""
    if isinstance(error, UnicodeDecodeError) and error.encoding in ("cp1252", "charmap"):
        return "".join(map(chr, error.object[error.start : error.end])), error.end
    if isinstance(error, UnicodeEncodeError) and error.encoding in ("cp1252", "charmap"):
        wrong = error.object[error.start : error.end]
        if all(char in "\x81\x8d\x8f\x90\x9d" for char in wrong):
            return bytes(map(ord, wrong)), error.end
    raise error


_C1 = "hie-c1"
codecs.register_error(_C1, _c1_bytes)
