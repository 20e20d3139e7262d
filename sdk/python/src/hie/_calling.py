"""One message through the hooks of a host, and what comes of it.

Owns the order of the hooks and the meaning of what they return or raise; the worker and the test
double both use it. ``steps`` is a generator: it gives out what a hook returned, so that its driver
can await it where that is needed, and takes the value back.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from types import FrameType, TracebackType
from typing import Any, Generator, List, Optional, Tuple, Union

from hie.hl7 import HL7Message
from hie.host import Host
from hie.message import Message, Reject, Result, Retry, Send, as_bytes

_HERE = os.path.dirname(os.path.abspath(__file__))
_STDLIB = tuple(
    {os.path.realpath(path) for path in (sysconfig.get_paths()["stdlib"], os.path.dirname(os.__file__))}
)
REJECTED = "rejected: "
REJECTED_BEFORE = "rejected by on_before_process: "  # as the engine says it of its own hooks
MAX_REASON = 1000
"""Longest reason of a result, in characters."""

Steps = Generator[Any, Any, Result]


def steps(host: Host, message: Message) -> Steps:
    """Runs the hooks for one message. Gives the result; never raises an Exception."""
    host._message, host._reply, host._sends = message, None, None
    prefix = REJECTED
    try:
        try:
            if host._before:
                prefix = REJECTED_BEFORE
                changed = yield host.on_before_process(message)
                if changed is not None and changed is not message:
                    message = _with_bytes(message, changed)
                    host._message = message
                prefix = REJECTED
            value = yield getattr(host, host._main)(message)
            if host._after:
                other = yield host.on_after_process(message, value)
                if other is not None:
                    value = other
            return interpret(host, message, value)
        except Reject as refusal:
            return Result.failed(prefix + str(refusal.reason))
        except Retry as later:
            return Result.retry(str(later.reason))
        except MemoryError as error:  # says nothing about the message: it is tried again
            return crashed(error)
        except Exception as error:
            if host._on_error:
                try:
                    value = yield host.on_process_error(message, error)
                    if value is not None:
                        host.log.warning("recovered from %s", where(error))
                        return interpret(host, message, value)
                except (Reject, Retry) as verdict:
                    refused = isinstance(verdict, Reject)
                    return Result.failed(REJECTED + str(verdict.reason)) if refused else Result.retry(str(verdict.reason))
                except Exception as second:
                    host.log.error("on_process_error itself raised\n%s", trace(second))
            host.log.error("message %s failed\n%s", message.id, trace(error))
            return Result.failed(where(error))
    finally:
        host._message = None


def crashed(error: BaseException) -> Result:
    """For what is no ordinary exception (SystemExit, MemoryError): an attempt that does not count
    as the message's fault."""
    return Result("crashed", where(error))


def _with_bytes(message: Message, changed: Any) -> Message:
    if isinstance(changed, Message):
        return changed
    twin = message.copy()
    twin._replace(as_bytes(changed))
    twin._delimiters = None  # it may be another kind of message altogether
    return twin


def interpret(host: Host, message: Message, value: Any) -> Result:
    """What a hook returned, as a result. TypeError with a sentence for what means nothing."""
    if value is None:
        result = Result.completed()
    elif isinstance(value, Result):
        result = value
    elif isinstance(value, Send):
        result = Result.completed(sends=[value])
    elif isinstance(value, (list, tuple)):
        result = Result.completed(sends=_sends(host, value))
    elif isinstance(value, (bytes, bytearray, memoryview, str, HL7Message)):
        targets = host._context.targets if host.kind == "Process" else ()
        if targets:
            result = Result.completed(sends=[Send(target, value) for target in targets])
        else:
            result = Result.completed(reply=value)
    else:
        raise TypeError(
            "%s returned %s; it may return None, a message or bytes, a list of Send, or a Result"
            % (host._main, type(value).__name__)
        )
    if host._reply is not None and result.reply is None:
        result.reply = host._reply
    if host._sends and result.verdict == "completed":
        result.sends = host._sends + result.sends
    return result


def _sends(host: Host, values: Union[List[Any], Tuple[Any, ...]]) -> List[Send]:
    sends: List[Send] = []
    for value in values:
        if isinstance(value, Send):
            sends.append(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            sends.append(Send(*value))
        elif isinstance(value, (bytes, bytearray, memoryview, HL7Message)):
            if not host._context.targets:
                raise ValueError("a list of messages goes to TargetConfigNames, and the item has none")
            sends += [Send(target, value) for target in host._context.targets]
        else:
            raise TypeError("a list of results holds Send or messages, not %s" % type(value).__name__)
    return sends


# --- exceptions, without what they say ------------------------------------------------------------


def where(error: BaseException) -> str:
    """``ValueError in lookup.py:42 (on_message)``: never the text of the exception, which may hold
    content of a message."""
    name = type(error).__name__
    spot = _spot(error.__traceback__)
    if spot is None:
        return name
    frame, line = spot
    code = frame.f_code
    return "%s in %s:%d (%s)" % (name, os.path.basename(code.co_filename), line, code.co_name)


def _spot(tb: Optional[TracebackType]) -> Optional[Tuple[FrameType, int]]:
    """The innermost frame of the user's own code; of any code if there is none."""
    own = last = None
    for frame, line in traceback.walk_tb(tb):
        last = (frame, line)
        file = frame.f_code.co_filename
        if not file.startswith(_HERE) and not os.path.realpath(file).startswith(_STDLIB):
            own = last
    return own or last


def trace(error: BaseException) -> str:
    """The traceback with its causes: types, files, lines and functions, no texts."""
    lines: List[str] = []
    seen: List[int] = []
    current: Optional[BaseException] = error
    while current is not None and id(current) not in seen and len(seen) < 8:
        seen.append(id(current))
        lines.append("%s%s" % ("caused by " if len(seen) > 1 else "", type(current).__name__))
        frames = list(traceback.walk_tb(current.__traceback__))
        for frame, line in reversed(frames[-20:]):
            file = frame.f_code.co_filename
            if not file.startswith(_HERE):
                lines.append("  at %s (%s:%d)" % (frame.f_code.co_name, file, line))
        hidden = current.__suppress_context__
        current = current.__cause__ or (None if hidden else current.__context__)
    return "\n".join(lines)


def drive(run: Steps, wait: Any) -> Result:
    """Runs ``steps`` in a plain thread; ``wait`` runs an awaitable to its end and gives its value."""
    try:
        value = next(run)
        while True:
            if value is not None and hasattr(value, "__await__"):
                try:
                    value = wait(value)
                except Exception as error:
                    value = run.throw(error)
                    continue
            value = run.send(value)
    except StopIteration as end:
        result: Result = end.value
        return result


async def drive_async(run: Steps) -> Result:
    """Runs ``steps`` on the event loop."""
    try:
        value = next(run)
        while True:
            if value is not None and hasattr(value, "__await__"):
                try:
                    value = await value
                except Exception as error:
                    value = run.throw(error)
                    continue
            value = run.send(value)
    except StopIteration as end:
        result: Result = end.value
        return result


if sys.version_info < (3, 9):  # the package says so too; this is for a copied folder
    raise ImportError("hie needs Python 3.9 or newer")
