"""Frames of the worker protocol over a connected stream socket.

Owns the cutting of a byte stream into frames, their limits, and the way out: frames are gathered
and written together. What a frame means is the worker's. The protocol itself is described in
``docs/reference/worker-protocol.md`` of the engine.
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any, List, Tuple

from hie._msgpack import CodecError, pack, unpack_from

VERSION = 1
"""The highest protocol version that this package speaks."""

HELLO, INIT, READY, FAILED = 1, 2, 3, 4
MSG, RESULT, CREDIT = 10, 11, 12
CALL, CALLED = 20, 21
ACCEPT, ACCEPTED, RESPONSE = 30, 31, 32
LOG, STAT, STATE = 40, 41, 42
PING, PONG = 50, 51
DRAIN, BYE = 60, 61

NAMES = {
    HELLO: "HELLO", INIT: "INIT", READY: "READY", FAILED: "FAILED", MSG: "MSG", RESULT: "RESULT",
    CREDIT: "CREDIT", CALL: "CALL", CALLED: "CALLED", ACCEPT: "ACCEPT", ACCEPTED: "ACCEPTED",
    RESPONSE: "RESPONSE", LOG: "LOG", STAT: "STAT", STATE: "STATE", PING: "PING", PONG: "PONG",
    DRAIN: "DRAIN", BYE: "BYE",
}  # fmt: skip

FIRST_LIMIT = 64 * 1024 * 1024
"""How long a frame may be before INIT has said ``max_frame``, in bytes."""

READ_SIZE = 256 * 1024
"""How much is asked of the socket at once, in bytes."""

_HEAD = struct.Struct(">IBI")

Frame = Tuple[int, List[Any], bytes]
"""Type, header, body."""


class ProtocolError(Exception):
    """The other side broke the protocol; the text says how."""


def frame(kind: int, header: Any, body: bytes = b"") -> bytes:
    """One frame as bytes."""
    return frame_of(kind, pack(header), body)


def frame_of(kind: int, packed: bytes, body: bytes = b"") -> bytes:
    """One frame whose header is packed already."""
    return _HEAD.pack(5 + len(packed) + len(body), kind, len(packed)) + packed + body


class FrameReader:
    """Cuts what comes in into frames. Give it bytes, get all frames that are whole."""

    def __init__(self, limit: int = FIRST_LIMIT) -> None:
        self.limit = limit
        self._held = bytearray()
        self._wanted = 0

    def feed(self, data: bytes) -> List[Frame]:
        """All frames that are complete with ``data``.

        Raises ProtocolError for a frame that is too long, contradicts itself or has no array for
        a header. Bytes of an incomplete frame are kept for the next call.
        """
        held = self._held
        if held:
            held += data
            if len(held) < self._wanted:  # a long frame is gathered, not looked at each time
                return []
            data = bytes(held)
            held.clear()
        frames: List[Frame] = []
        at, size = 0, len(data)
        self._wanted = 9
        while size - at >= 9:
            length, kind, header_len = _HEAD.unpack_from(data, at)
            if length > self.limit:
                raise ProtocolError(
                    "a frame of %d bytes is longer than the limit of %d" % (length, self.limit)
                )
            if length < 5 or header_len > length - 5:
                raise ProtocolError("a frame of %d bytes claims a longer header" % length)
            end = at + 4 + length
            if end > size:
                self._wanted = end - at
                break
            frames.append(_read(data, at + 9, at + 9 + header_len, end, kind))
            at = end
        if at < size:
            held += data[at:] if at else data
        return frames


def _read(data: bytes, start: int, header_end: int, end: int, kind: int) -> Frame:
    header_bytes = data[start:header_end]
    try:
        header, stop = unpack_from(header_bytes, 0)
    except CodecError as error:
        raise ProtocolError("the header of a %s frame: %s" % (NAMES.get(kind, kind), error)) from None
    if kind == INIT and type(header) is dict:
        header = [header]  # INIT's header is its map, with or without an array around it
    if stop != len(header_bytes) or type(header) is not list:
        raise ProtocolError("the header of a %s frame is not one array" % NAMES.get(kind, kind))
    return kind, header, data[header_end:end]


class Channel:
    """The way out: frames of many threads, gathered and written together.

    ``post`` only gathers. ``flush`` writes, and waits while the engine does not read: that is the
    back-pressure on hosts. ``try_flush`` never waits: it is for the thread that reads, which must
    go on reading whatever happens (PING is answered from there).
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._frames: List[bytes] = []
        self._writing = threading.Lock()
        self.post = self._frames.append
        self.closed = False

    def pending(self) -> bool:
        """Whether something is gathered and not yet written."""
        return bool(self._frames)

    def flush(self) -> None:
        """Writes all that is gathered; OSError when the engine is gone."""
        with self._writing:
            data = self._take()
            while data:
                self.sock.sendall(data)
                data = self._take()

    def try_flush(self) -> None:
        """Writes what can be written without waiting; the rest stays gathered."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            data = self._take()
            while data:
                try:
                    sent = self.sock.send(data, socket.MSG_DONTWAIT)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                if sent < len(data):
                    self._frames.insert(0, data[sent:])
                    return
                data = self._take()
        finally:
            self._writing.release()

    def send(self, kind: int, header: List[Any], body: bytes = b"") -> None:
        """Gathers one frame and writes all."""
        self._frames.append(frame(kind, header, body))
        self.flush()

    def _take(self) -> bytes:
        frames = self._frames
        count = len(frames)
        if count == 0:
            return b""
        taken = frames[:count]
        del frames[:count]
        return taken[0] if count == 1 else b"".join(taken)
