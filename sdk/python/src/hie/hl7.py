"""HL7 v2 messages: lossless access by path.

Owns look-ups and edits over the bytes of one message, by the same rules as the engine: separators
come from MSH-1 and MSH-2, line ends (CR, LF, CR LF) and everything that no edit names stay as they
are, byte for byte. Nothing is parsed before it is asked for.

    >>> msg = HL7Message(b"MSH|^~\\\\&|LAB\\rPID|1||123^^^NHS||SMITH^JOHN\\r")
    >>> msg["PID-5.1"]
    'SMITH'
    >>> msg["PID-5.2"] = "JANE"
    >>> msg.raw
    b'MSH|^~\\\\&|LAB\\rPID|1||123^^^NHS||SMITH^JANE\\r'
"""

from __future__ import annotations

import re
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, TypeVar, Union

from hie._hl7_edit import HEADERS, HL7Error, check_segment, check_target, check_value, rewritten
from hie._hl7_path import ALL, Path, PathError, parse_path
from hie._hl7_text import (
    UNSTATED,
    CannotEscape,
    Delimiters,
    charset_of,
    decode,
    encode,
    escape,
    read_delimiters,
    unescape,
)

__all__ = ["HL7Error", "HL7Message", "Path", "PathError", "Segment", "parse_path"]

T = TypeVar("T")
_UNREAD = "?"  # MSH-18 has not been looked at yet
_LINE_END = re.compile(rb"\r\n?|\n")
_LINES_CR = re.compile(rb"\r\n*")
_LINES_LF = re.compile(rb"\r\n|\r|\n")


class _Line(NamedTuple):
    start: int
    end: int
    next: int
    name: bytes


class HL7Message:
    """One HL7 v2 message over its bytes.

    Paths: ``PID-5.1``, ``PID-3[2].1.2`` (second repetition), ``OBX(2)-5`` (second segment),
    ``OBX[*]-5`` (every one). Every number counts from 1; without an index the first is meant.
    ``msg[path]`` gives text, unescaped and decoded by MSH-18, or None where there is no such place;
    an empty place gives ``""``, HL7's explicit null the two quotes.
    """

    __slots__ = ("_raw", "_start", "_line_end", "_delimiters", "_lines", "_codec", "_plain_cr")

    def __init__(self, raw: Union[bytes, bytearray, memoryview, str]) -> None:
        self._raw: bytes = raw.encode("utf-8") if isinstance(raw, str) else bytes(raw)
        self._delimiters: Optional[Delimiters] = None
        self._lines: Optional[List[_Line]] = None
        self._codec: Optional[str] = _UNREAD

    # --- reading ----------------------------------------------------------------------------------

    @property
    def raw(self) -> bytes:
        """All bytes of the message as they stand now."""
        return self._raw

    @property
    def delimiters(self) -> Delimiters:
        """The delimiters of MSH-1 and MSH-2. HL7Error if the bytes are no message."""
        found = self._delimiters
        return self._parse() if found is None else found

    @property
    def charset(self) -> str:
        """The codec by MSH-18; ``""`` where it is not stated. HL7Error if nobody knows the name."""
        charset = self._charset()
        if charset is None:
            raise HL7Error("MSH-18 names a character set that cannot be decoded")
        return charset

    def __getitem__(self, path: str) -> Optional[str]:
        raw = self.get_raw(path)
        return None if raw is None else self._text(raw)

    def get(self, path: str, default: Union[T, None] = None) -> Union[str, T, None]:
        """The text at a place, or ``default`` where there is no such place."""
        raw = self.get_raw(path)
        return default if raw is None else self._text(raw)

    def get_raw(self, path: str) -> Optional[bytes]:
        """The bytes at a place, escapes and all; None where there is no such place."""
        return next(self._matches(parse_path(path)), None)

    def get_all(self, path: str) -> List[str]:
        """The text of every match of a path with ``[*]``, in message order."""
        return [self._text(raw) for raw in self._matches(parse_path(path))]

    def repetitions(self, path: str) -> List[str]:
        """The text of every repetition of a field: ``msg.repetitions("PID-3.1")``."""
        return [self._text(raw) for raw in self._matches(parse_path(path)._replace(repetition=ALL))]

    def __contains__(self, path: str) -> bool:
        return self.get_raw(path) is not None

    def segments(self, name: Optional[str] = None) -> List[Segment]:
        """All segments in order, or those of one name; empty lines are not among them."""
        counts: Dict[bytes, int] = {}
        found = []
        for line in self._index():
            counts[line.name] = nth = counts.get(line.name, 0) + 1
            if line.end > line.start and (name is None or line.name == name.encode("utf-8")):
                found.append(Segment(self, line.name, nth))
        return found

    def segment(self, name: str, nth: int = 1) -> Optional[Segment]:
        """The ``nth`` (from 1) segment of a name; None if there is none."""
        if self._nth_line(name.encode("utf-8"), nth) is None:
            return None
        return Segment(self, name.encode("utf-8"), nth)

    @property
    def message_type(self) -> str:
        """MSH-9 as ``ADT_A01``: code and trigger event; the code alone where there is no event."""
        parts = [self["MSH-9.1"], self["MSH-9.2"]]
        return "_".join(part for part in parts if part)

    @property
    def control_id(self) -> str:
        """MSH-10, the sender's id of the message; ``""`` if it has none."""
        return self["MSH-10"] or ""

    # The names of the design:

    def get_field(self, path: str, default: Union[T, None] = None) -> Union[str, T, None]:
        """As :meth:`get`."""
        return self.get(path, default)

    def set_field(self, path: str, value: str) -> bytes:
        """As :meth:`set`; gives the bytes of the changed message."""
        self.set(path, value)
        return self._raw

    def get_segment(self, name: str, index: int = 0) -> Optional[Segment]:
        """As :meth:`segment`, but counting from 0."""
        return self.segment(name, index + 1)

    def get_segments(self, name: Optional[str] = None) -> List[Segment]:
        """As :meth:`segments`."""
        return self.segments(name)

    def get_message_type(self) -> str:
        """As :attr:`message_type`."""
        return self.message_type

    # --- changing ---------------------------------------------------------------------------------

    def __setitem__(self, path: str, value: str) -> None:
        self.set(path, value)

    def __delitem__(self, path: str) -> None:
        self.delete(path)

    def set(self, path: str, value: str) -> None:
        """Puts text at a place: encoded by MSH-18, its delimiters and control characters escaped.

        Fields, repetitions and components that do not exist yet are made. To write structure
        (``SMITH^JOHN`` into PID-5), use :meth:`set_raw`. HL7Error if the segment is absent, the
        place is MSH-1 or MSH-2, or the text cannot be written in the message's character set.
        """
        place = parse_path(path)
        charset = self._charset()
        if charset is None:
            raise HL7Error("%s cannot be set: the character set of MSH-18 is not known" % (place,))
        try:
            encoded = escape(encode(value, charset), self.delimiters)
        except UnicodeEncodeError:
            raise HL7Error(
                "%s cannot be set: the text has a character that the set of MSH-18 lacks" % (place,)
            ) from None
        except CannotEscape as error:
            raise HL7Error("%s cannot be set: %s" % (place, error)) from None
        self._set(place, encoded)

    def set_raw(self, path: str, value: Union[bytes, str]) -> None:
        """Puts bytes at a place as they are; delimiters of smaller levels are structure.

        HL7Error as :meth:`set`, and if the value holds a line end or a delimiter that would end
        its place.
        """
        raw = encode(value, self._charset() or UNSTATED) if isinstance(value, str) else bytes(value)
        self._set(parse_path(path), raw)

    def delete(self, path: str) -> None:
        """Takes away what stands at a place; absent places are left absent.

        A segment goes with its line end. A field is emptied with all its repetitions, a component
        is emptied: what follows keeps its number. ``PID-3[2]`` goes with its delimiter.
        """
        place = parse_path(path)
        check_target(self.delimiters, place)
        if place.field is None:
            self._change(place, lambda line: None)
        else:
            self._change(place, lambda line: rewritten(self.delimiters, line, place, None))

    def append_segment(self, raw: Union[bytes, str]) -> Segment:
        """Adds a segment (without line end) behind the last one, and gives it."""
        data = encode(raw, self._charset() or UNSTATED) if isinstance(raw, str) else bytes(raw)
        check_segment(self.delimiters, data, None)
        lines = self._index()
        ended = lines[-1].next > lines[-1].end
        self._replace(self._raw + (b"" if ended else self._line_end) + data + self._line_end)
        name = data.split(self.delimiters.field, 1)[0]
        return Segment(self, name, sum(line.name == name for line in self._index()))

    def copy(self) -> HL7Message:
        """A message of its own with the same bytes."""
        return HL7Message(self._raw)

    def __bytes__(self) -> bytes:
        return self._raw

    def __len__(self) -> int:
        return len(self._raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HL7Message) and other._raw == self._raw

    def __hash__(self) -> int:
        return hash(self._raw)

    def __repr__(self) -> str:
        return "%s(%d bytes)" % (type(self).__name__, len(self._raw))  # never its content

    # --- how --------------------------------------------------------------------------------------

    def _parse(self) -> Delimiters:
        raw = self._raw
        start = 0
        if raw[:1] != b"M":
            start = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
            while raw[start : start + 1] and raw[start] in b" \t\n\x0c\r":
                start += 1
        head, field = raw[start : start + 3], raw[start + 3 : start + 4]
        if head in (b"FHS", b"BHS"):
            raise HL7Error("a batch begins at byte %d, not a message: split it first" % start)
        if head == b"MSH" and field in (b"", b"\r", b"\n"):
            raise HL7Error("the MSH segment at byte %d ends before its field separator" % start)
        if head != b"MSH" or field[0] >= 0x7F or field.isalnum() or field == b" ":
            raise HL7Error("no MSH segment at byte %d of %d" % (start, len(raw)))
        found = _LINE_END.search(raw, start)
        self._start = start
        self._line_end: bytes = found.group() if found else b"\r"
        self._plain_cr = self._line_end == b"\r" and b"\n" not in raw
        behind = raw[start + 4 : found.start() if found else len(raw)]
        self._delimiters = d = read_delimiters(field, behind.split(field, 1)[0])
        return d

    def _index(self) -> List[_Line]:
        if self._lines is None:
            d, raw, at = self.delimiters, self._raw, self._start
            ends = _LINES_LF if self._line_end == b"\n" else _LINES_CR
            lines = []
            while at < len(raw):
                found = ends.search(raw, at)
                end, following = found.span() if found else (len(raw), len(raw))
                name_end = raw.find(d.field, at, end)
                lines.append(_Line(at, end, following, raw[at : end if name_end < 0 else name_end]))
                at = following
            self._lines = lines
        return self._lines

    def _nth_line(self, name: bytes, nth: int) -> Optional[_Line]:
        d = self.delimiters
        if nth == 1 and self._lines is None and self._plain_cr:
            return self._find(name, d.field)
        left = nth
        for line in self._index():
            if line.name == name:
                left -= 1
                if left == 0:
                    return line
        return None

    def _find(self, name: bytes, separator: bytes) -> Optional[_Line]:
        """The first segment of a name, where nothing but CR ends segments: without an index."""
        raw, at = self._raw, self._start
        while True:
            after = at + len(name)
            if raw.startswith(name, at) and raw[after : after + 1] in (separator, b"\r", b""):
                end = raw.find(b"\r", after)
                return _Line(at, len(raw), len(raw), name) if end < 0 else _Line(at, end, end + 1, name)
            at = raw.find(b"\r" + name, at) + 1
            if at == 0:
                return None

    def _text(self, raw: bytes) -> str:
        return decode(unescape(raw, self.delimiters), self._charset() or UNSTATED)

    def _charset(self) -> Optional[str]:
        if self._codec is _UNREAD:
            d, raw, start = self.delimiters, self._raw, self._start
            end = _LINE_END.search(raw, start)
            fields = raw[start : end.start() if end else len(raw)].split(d.field, 18)
            self._codec = charset_of(fields[17], d.repetition) if len(fields) > 17 else UNSTATED
        return self._codec

    def _matches(self, path: Path) -> Iterator[bytes]:
        self.delimiters  # noqa: B018 - says at once if the bytes are no message
        if path.occurrence == ALL:
            lines = [line for line in self._index() if line.name == path.segment]
        else:
            line = self._nth_line(path.segment, path.occurrence or 1)
            lines = [] if line is None else [line]
        for line in lines:
            raw = self._raw[line.start : line.end]
            if path.field is None:
                yield raw
                continue
            field, fixed = self._field(raw, path.field)
            if field is not None:
                yield from self._in_field(field, fixed, path)

    def _field(self, segment: bytes, number: int) -> Tuple[Optional[bytes], bool]:
        """The raw field, and whether it does not split (MSH-1, MSH-2)."""
        separator = self.delimiters.field
        if segment[:3] in HEADERS and segment[3:4] == separator:
            if number == 1:
                return separator, True
            pieces = segment[4:].split(separator, number - 1)
            return (pieces[number - 2] if len(pieces) >= number - 1 else None), number == 2
        pieces = segment.split(separator, number + 1)
        return (pieces[number] if len(pieces) > number else None), False

    def _in_field(self, field: bytes, fixed: bool, path: Path) -> Iterator[bytes]:
        d = self.delimiters
        pieces = [field] if fixed else field.split(d.repetition)
        if path.repetition != ALL:
            nth = path.repetition or 1
            pieces = pieces[nth - 1 : nth]
        for piece in pieces:
            for separator, number in ((d.component, path.component), (d.subcomponent, path.subcomponent)):
                if number is not None:
                    parts = [piece] if fixed or separator is None else piece.split(separator, number)
                    if len(parts) < number:
                        break
                    piece = parts[number - 1]
            else:
                yield piece

    def _set(self, path: Path, value: bytes) -> None:
        check_target(self.delimiters, path)
        if path.field is None:
            check_segment(self.delimiters, value, path)
            written = self._change(path, lambda line: value)
        else:
            check_value(self.delimiters, path, value)
            written = self._change(path, lambda line: rewritten(self.delimiters, line, path, value))
        if not written:
            raise HL7Error(
                "%s cannot be set: the message has no such segment (append it first)" % (path,)
            )

    def _change(self, path: Path, write: Callable[[bytes], Optional[bytes]]) -> int:
        """Writes anew the segments that a path means; None from ``write`` removes the line."""
        out: List[bytes] = []
        copied, seen, written = 0, 0, 0
        for line in self._index():
            if line.name != path.segment:
                continue
            seen += 1
            if path.occurrence != ALL and seen != (path.occurrence or 1):
                continue
            new = write(self._raw[line.start : line.end])
            out.append(self._raw[copied : line.start])
            if new is not None:
                out.append(new)
            copied = line.next if new is None else line.end
            written += 1
        if written:
            out.append(self._raw[copied:])
            self._replace(b"".join(out))
        return written

    def _replace(self, raw: bytes) -> None:
        self._raw = raw
        self._lines = None
        self._codec = _UNREAD
        self._plain_cr = False  # an edit is rarely the last: the index pays from here on


class Segment:
    """One segment of a message: a view that reads and writes through it.

    ``segment["5.1"]`` is ``PID-5.1`` of just this segment.
    """

    __slots__ = ("_message", "_name", "_nth")

    def __init__(self, message: HL7Message, name: bytes, nth: int) -> None:
        self._message = message
        self._name = name
        self._nth = nth

    @property
    def name(self) -> str:
        """``PID``; what stands before the first separator, whatever it is."""
        return self._name.decode("latin-1")

    @property
    def raw(self) -> bytes:
        """Its bytes without the line end; empty if it is gone from the message."""
        line = self._message._nth_line(self._name, self._nth)
        return b"" if line is None else self._message._raw[line.start : line.end]

    def path(self, place: str) -> str:
        """The path of a place in this segment: ``5.1`` gives ``OBX[2]-5.1``."""
        return "%s[%d]-%s" % (self.name, self._nth, place)

    def __getitem__(self, place: Union[str, int]) -> Optional[str]:
        return self._message[self.path(str(place))]

    def __setitem__(self, place: Union[str, int], value: str) -> None:
        self._message.set(self.path(str(place)), value)

    def get(self, place: Union[str, int], default: Union[T, None] = None) -> Union[str, T, None]:
        """The text at a place of this segment, or ``default``."""
        return self._message.get(self.path(str(place)), default)

    def repetitions(self, place: Union[str, int]) -> List[str]:
        """The text of every repetition of a field of this segment."""
        return self._message.repetitions(self.path(str(place)))

    def __repr__(self) -> str:
        return "Segment(%s[%d])" % (self.name, self._nth)
