"""Edits of HL7 v2 segments: what may be changed, and a segment written anew with one place changed.

Owns the rules and the padding, the same as the engine's. Which segments are meant, and the message
around them, is ``hie.hl7``'s.
"""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

from hie._hl7_path import ALL, Path
from hie._hl7_text import Delimiters

HEADERS = (b"MSH", b"BHS", b"FHS")
"""Segments whose first field is the separator itself."""

_Levels = List[Tuple[Optional[bytes], int]]


class HL7Error(ValueError):
    """Bytes that are no message, or an edit that cannot be made. Names places, never values."""


def check_target(d: Delimiters, path: Path) -> None:
    """HL7Error if the place may not be changed, or cannot be there."""
    whole_header = path.field is None and path.segment == b"MSH"
    if whole_header or (path.field is not None and path.field <= 2 and path.segment in HEADERS):
        raise HL7Error("%s cannot be changed: it says how the message is read" % (path,))
    if (path.subcomponent or 0) > 1 and d.subcomponent is None:
        raise HL7Error("%s cannot be set: MSH-2 declares no subcomponent delimiter" % (path,))


def check_value(d: Delimiters, path: Path, value: bytes) -> None:
    """HL7Error if the value holds a line end or a delimiter that would end its place."""
    ends = {0x0D, 0x0A, d.field[0], d.repetition[0]}
    if path.component is not None:
        ends.add(d.component[0])
    if path.subcomponent is not None and d.subcomponent is not None:
        ends.add(d.subcomponent[0])
    for offset, code in enumerate(value):
        if code in ends:
            raise HL7Error(
                "%s cannot be set: byte %d of the value is a delimiter or line end that ends "
                "that place (escape it, or name a larger place)" % (path, offset)
            )


def check_segment(d: Delimiters, raw: bytes, path: Optional[Path]) -> None:
    """HL7Error unless the bytes are one segment, of the path's name if one is given."""
    name = raw.split(d.field, 1)[0]
    fits = re.fullmatch(rb"[A-Z][A-Z0-9]{2}", name) and name != b"MSH"
    if not fits or (path is not None and name != path.segment) or b"\r" in raw or b"\n" in raw:
        raise HL7Error(
            "not one segment: expected a segment name (not MSH) and fields, without line ends"
        )


def rewritten(d: Delimiters, segment: bytes, path: Path, value: Optional[bytes]) -> bytes:
    """One segment with a place changed (``value``) or emptied (None)."""
    assert path.field is not None
    before, fields, nth = b"", segment, path.field + 1
    if segment[:3] in HEADERS:
        nth = path.field - 1
        before, fields = segment[:3] + d.field, segment[4:]
        if value is None and len(segment) < 4:
            return segment
    levels: _Levels = [(d.field, nth)]
    emptied = value is None and path.component is None
    if emptied and path.repetition in (None, ALL):
        pass  # the field with all its repetitions
    elif emptied:
        levels.append((d.repetition, -(path.repetition or 1)))
    else:
        levels.append((d.repetition, 1 if path.repetition is None else path.repetition))
    if path.component is not None:
        levels.append((d.component, path.component))
    if path.subcomponent is not None:
        levels.append((d.subcomponent, path.subcomponent))
    return before + _with_piece(fields, levels, value)


def _with_piece(data: bytes, levels: _Levels, value: Optional[bytes]) -> bytes:
    """``data`` with the piece that the levels mean changed; a negative number removes its piece."""
    if not levels:
        return value or b""
    (separator, nth), inner = levels[0], levels[1:]
    pieces = [data] if separator is None else data.split(separator)
    joint = separator or b""
    if nth < 0:
        return joint.join(pieces[: -nth - 1] + pieces[-nth:])
    if nth == ALL:
        return joint.join([_with_piece(piece, inner, value) for piece in pieces])
    if nth > len(pieces):
        if value is None or separator is None:
            return data
        pieces += [b""] * (nth - len(pieces))
    pieces[nth - 1] = _with_piece(pieces[nth - 1], inner, value)
    return joint.join(pieces)
