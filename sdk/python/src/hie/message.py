"""What hosts get and give: messages, sends, results, and the errors of requests.

Owns these types only. How they travel is the worker's.
"""

from __future__ import annotations

import enum
from typing import Any, Iterable, List, NamedTuple, Optional, Tuple, Union

from hie.hl7 import HL7Message

HL7V2 = "hl7v2"
PLAIN = "plain"

Data = Union[bytes, bytearray, memoryview, str, HL7Message]
"""What can be sent: a message, or bytes; text is sent as UTF-8."""


class Priority(enum.IntEnum):
    """How urgent a message is; matters where the target's queue is a priority queue."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BULK = 4


class Pattern(str, enum.Enum):
    """The messaging pattern of one request, where it is not the item's own."""

    ASYNC_RELIABLE = "async_reliable"
    SYNC_RELIABLE = "sync_reliable"
    CONCURRENT_ASYNC = "concurrent_async"
    CONCURRENT_SYNC = "concurrent_sync"


class Message(HL7Message):
    """A message in the hands of a host: its bytes, and what the engine knows about it.

    HL7 is read and changed by path (``msg["PID-5.1"]``); other content is in ``raw`` and ``text``.
    Changing a message changes this copy only, never what was received.
    """

    __slots__ = (
        "_received", "id", "job", "attempt", "deadline", "source", "content", "priority",
        "session", "created_ms", "possible_duplicate",
    )  # fmt: skip

    def __init__(
        self,
        raw: Data,
        *,
        id: int = 0,
        job: int = 0,
        attempt: int = 1,
        deadline: Optional[float] = None,
        source: str = "",
        content: Optional[str] = None,
        priority: int = Priority.NORMAL,
        session: Union[str, int, None] = "",
        created_ms: int = 0,
        possible_duplicate: bool = False,
    ) -> None:
        super().__init__(as_bytes(raw))
        self._received = self._raw
        self.id = id
        """The engine's id of this message; the correlation id of ``send_response``."""
        self.job = job
        self.attempt = attempt
        """Which try this is, from 1."""
        self.deadline = deadline
        """Seconds that this try may take; None for no limit. Past it the worker is killed."""
        self.source = source
        """The item that sent it."""
        self.content = content_of(self._raw) if content is None else content
        """``hl7v2`` or ``plain``."""
        self.priority = priority
        self.session = session
        """The session, one for everything that came of one received message."""
        self.created_ms = created_ms
        """When it was made: milliseconds since 1970 (UTC)."""
        self.possible_duplicate = possible_duplicate
        """Whether a crash may have let it be handled before."""

    @property
    def is_hl7(self) -> bool:
        """Whether it is an HL7 v2 message."""
        return self.content == HL7V2

    @property
    def text(self) -> str:
        """All of it as UTF-8 text; bytes that are none become U+FFFD."""
        return self._raw.decode("utf-8", "replace")

    @property
    def changed(self) -> bool:
        """Whether its bytes differ from those that were received."""
        return self._raw is not self._received and self._raw != self._received

    def copy(self) -> Message:
        """A copy that can be changed on its own."""
        twin: Message = Message.__new__(type(self))
        for slot in HL7Message.__slots__ + Message.__slots__:
            if hasattr(self, slot):
                setattr(twin, slot, getattr(self, slot))
        return twin


class Reply(Message):
    """The response to a synchronous request: a message, with the state of the request."""

    __slots__ = ("state",)

    def __init__(self, raw: Data, *, state: str = "", id: int = 0) -> None:
        super().__init__(raw, id=id)
        self.state = state
        """The state in which the request ended, such as ``Completed``."""


class Accepted(NamedTuple):
    """What a service took in: it is on the disk, and a sender may be told so."""

    session: Union[str, int, None]
    id: int
    """The id of the first message made of it."""


class Send(NamedTuple):
    """A message for a target, sent when the host is done: all that a result sends, or nothing."""

    target: str
    message: Optional[Data] = None
    """What to send; None sends the handled message on, as it was received."""
    priority: Optional[int] = None
    """None keeps the priority of the handled message."""


class Result:
    """What became of a message, said explicitly. Made by its class methods.

    ``reason`` is shown to operators and must never hold content of a message.
    """

    __slots__ = ("verdict", "reason", "note", "reply", "sends", "response_from")

    def __init__(
        self,
        verdict: str,
        reason: str = "",
        *,
        reply: Optional[Data] = None,
        sends: Iterable[Send] = (),
        note: str = "",
        response_from: Iterable[str] = (),
    ) -> None:
        if verdict not in VERDICTS:
            raise ValueError("no verdict is called %r; there are %s" % (verdict, ", ".join(VERDICTS)))
        self.verdict = verdict
        self.reason = reason
        self.reply = reply
        self.sends: List[Send] = [send if isinstance(send, Send) else Send(*send) for send in sends]
        self.note = note
        self.response_from = list(response_from)

    @classmethod
    def completed(
        cls,
        reply: Optional[Data] = None,
        sends: Iterable[Send] = (),
        note: str = "",
        response_from: Iterable[str] = (),
    ) -> Result:
        """Done. ``reply`` goes to who waits; with ``response_from`` the response of those targets."""
        return cls("completed", reply=reply, sends=sends, note=note, response_from=response_from)

    @classmethod
    def failed(cls, reason: str, reply: Optional[Data] = None, note: str = "") -> Result:
        """Failed for good: an error state, no further try."""
        return cls("failed", reason, reply=reply, note=note)

    @classmethod
    def suspended(cls, reason: str, note: str = "") -> Result:
        """Set aside for a person, who can resend it."""
        return cls("suspended", reason, note=note)

    @classmethod
    def discarded(cls, reason: str, note: str = "") -> Result:
        """Dropped on purpose."""
        return cls("discarded", reason, note=note)

    @classmethod
    def retry(cls, reason: str, note: str = "") -> Result:
        """Not now: again after RetryInterval, until FailureTimeout."""
        return cls("retry", reason, note=note)

    @classmethod
    def disable(cls, reason: str, note: str = "") -> Result:
        """The item cannot work at all: the message waits, the item is disabled."""
        return cls("disable", reason, note=note)

    def __repr__(self) -> str:
        return "Result(%s, %r, %d sends)" % (self.verdict, self.reason, len(self.sends))


VERDICTS: Tuple[str, ...] = (
    "completed", "discarded", "failed", "suspended", "retry", "disable", "crashed",
)  # fmt: skip


class Reject(Exception):
    """Raised in a hook: this message is refused. Its state is failed, and a waiting sender gets a
    negative acknowledgement with the reason, which must not hold content of the message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(Exception):
    """Raised in a hook: the message is tried again later, as with :meth:`Result.retry`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RequestError(Exception):
    """A request or an intake did not succeed. ``code`` is stable, the text is for people."""

    def __init__(self, code: str, reason: str, message_id: int = 0) -> None:
        super().__init__("%s: %s" % (code, reason) if reason else code)
        self.code = code
        self.reason = reason
        self.message_id = message_id


class UnknownTarget(RequestError, ValueError):
    """No item of the production has this name."""


class RequestTimeout(RequestError, TimeoutError):
    """No response in time. One that comes late is kept in the trace and never delivered."""


class Deadlock(RequestError):
    """The request would wait for itself; the reason names the cycle."""


class QueueFull(RequestError):
    """The queue of the target is full and refuses."""


class Stopping(RequestError):
    """The item stops and takes nothing more in. A service's ``run`` may let it pass."""

    def __init__(self) -> None:
        super().__init__("stopping", "the item stops and takes nothing more in")


_ERRORS = {
    "unknown-target": UnknownTarget,
    "timeout": RequestTimeout,
    "deadlock": Deadlock,
    "queue-full": QueueFull,
}


def request_error(code: str, reason: str, message_id: int = 0) -> RequestError:
    """The exception for an error code of the engine."""
    return _ERRORS.get(code, RequestError)(code, reason, message_id)


def check_target(target: Any) -> str:
    """A target's name; TypeError for anything else."""
    if not isinstance(target, str):
        raise TypeError("a target is the name of an item, not %s" % type(target).__name__)
    return target


def check_priority(priority: Any) -> int:
    """A priority as its number; ValueError if there is none like it."""
    number = int(priority)
    if not Priority.CRITICAL <= number <= Priority.BULK:
        raise ValueError("a priority is 0 (critical) to 4 (bulk), not %d" % number)
    return number


def as_bytes(data: Any) -> bytes:
    """What a host gave, as bytes. TypeError with a sentence for anything else."""
    if type(data) is bytes:
        return data
    if isinstance(data, HL7Message):
        return data._raw
    if isinstance(data, str):
        return data.encode("utf-8")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError("a message is bytes, str or Message, not %s" % type(data).__name__)


def content_of(raw: bytes) -> str:
    """``hl7v2`` if the bytes begin as such a message does, else ``plain``."""
    head = raw[:64]
    if not head.startswith(b"MSH"):
        head = head[3:] if head.startswith(b"\xef\xbb\xbf") else head
        head = head.lstrip(b" \t\r\n\x0c")
        if not head.startswith(b"MSH"):
            return PLAIN
    field = head[3:4]
    return HL7V2 if field and not field.isalnum() and field not in b" \r\n" else PLAIN
