"""Paths into HL7 v2 messages: ``PID-5.1``, ``PID-3[2].1``, ``OBX(2)-5``, ``{PID:5.1}``.

Owns the grammar, the same as the engine's, and saying precisely what is wrong with a path.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, NoReturn, Optional

MAX_NUMBER = 99_999
"""The largest number a path may have: bounds what an edit can pad."""

ALL = 0
"""An index ``[*]``: every one there is."""


class PathError(ValueError):
    """A path that cannot be read: ``offset`` says where, the text what was expected there."""

    def __init__(self, path: str, offset: int, expected: str) -> None:
        super().__init__("%r, at character %d: expected %s" % (path, offset, expected))
        self.offset = offset


class Path(NamedTuple):
    """A place in a message. Every number counts from 1; an index is None, a number or ALL."""

    segment: bytes
    occurrence: Optional[int] = None
    field: Optional[int] = None
    repetition: Optional[int] = None
    component: Optional[int] = None
    subcomponent: Optional[int] = None

    def __str__(self) -> str:
        text = self.segment.decode("ascii") + _index(self.occurrence)
        if self.field is not None:
            text += "-%d%s" % (self.field, _index(self.repetition))
            for number in (self.component, self.subcomponent):
                if number is not None:
                    text += ".%d" % number
        return text


def _index(index: Optional[int]) -> str:
    if index is None:
        return ""
    return "[*]" if index == ALL else "[%d]" % index


_SEGMENT = (
    "a segment name of three capital letters or digits, such as PID (names of groups need a schema)"
)
_AFTER_SEGMENT = "`-`, `:` or `.` and a field number, `[n]`, or the end"
_FIELD = "a field number, such as 5 in PID-5 (names of fields need a schema)"
_AFTER_FIELD = "`[n]`, `[*]`, `.` and a component number, or the end"
_COMPONENT = "a component number, such as 1 in PID-5.1"
_END = "the end of the path (it goes down to segment, field, component, subcomponent)"
_NAME = re.compile("[A-Z][A-Z0-9]{2}")
_DIGITS = re.compile("[0-9]+")


class _Cursor:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, expected: str, at: Optional[int] = None) -> NoReturn:
        raise PathError(self.text, self.at if at is None else at, expected)

    def take(self, any_of: str) -> str:
        char = self.text[self.at : self.at + 1]
        if char and char in any_of:
            self.at += 1
            return char
        return ""

    def segment(self) -> bytes:
        found = _NAME.match(self.text, self.at)
        if found is None:
            self.fail(_SEGMENT)
        after = self.text[found.end() : found.end() + 1]
        if after.isascii() and after.isalnum():
            self.fail(_SEGMENT)
        self.at = found.end()
        return found.group().encode("ascii")

    def number(self, expected: str) -> int:
        found = _DIGITS.match(self.text, self.at)
        if found is None:
            self.fail(expected)
        digits = found.group().lstrip("0")
        value = int(digits) if 0 < len(digits) < 6 else 0
        if not 1 <= value <= MAX_NUMBER:
            self.fail("a number from 1 to %d" % MAX_NUMBER)
        self.at = found.end()
        return value

    def index(self) -> Optional[int]:
        opened = self.take("[(")
        if not opened:
            return None
        close = "]" if opened == "[" else ")"
        if self.take("*") or (close == ")" and self.text[self.at : self.at + 1] == ")"):
            index = ALL
        else:
            index = self.number("a number from 1 or `*`")
        if not self.take(close):
            self.fail("the closing `]` or `)` of the index")
        return index


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """Reads a written path; PathError says where and what was expected there."""
    cursor = _Cursor(text)
    braced = cursor.take("{")
    segment, occurrence = cursor.segment(), cursor.index()
    field = repetition = component = subcomponent = None
    expected = _AFTER_SEGMENT
    if cursor.take("-:."):
        field, repetition = cursor.number(_FIELD), cursor.index()
        expected = _AFTER_FIELD
        if cursor.take("."):
            component = cursor.number(_COMPONENT)
            expected = "the closing `}`" if braced else _END
            if cursor.take("."):
                subcomponent = cursor.number(_COMPONENT)
    if braced and not cursor.take("}"):
        cursor.fail(expected)
    if cursor.at < len(text):
        cursor.fail(_END if braced else expected)
    return Path(segment, occurrence, field, repetition, component, subcomponent)
