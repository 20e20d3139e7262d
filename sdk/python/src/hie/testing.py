"""Tests of hosts without an engine.

    from hie.testing import TestEngine

    engine = TestEngine(targets=["Ward"], responses={"PDS": b"MSH|..."})
    engine.start(Lookup, timeout=2.0)          # settings, by attribute or by name
    outcome = engine.send(b"MSH|...")          # through all hooks, as in the engine
    assert outcome.verdict == "completed"
    assert outcome.sends[0].message["PID-5.1"] == "SMITH"
    assert engine.requests[0].target == "PDS"

Owns a double of what stands behind a host: scripted responses, and records of all it did. The
order of hooks and the meaning of what they return are the SDK's own code, not a copy.
"""

from __future__ import annotations

import asyncio
import difflib
import itertools
import logging
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Type, TypeVar, Union

from hie._calling import crashed, drive, drive_async, steps
from hie.host import Context, Host, create, kind_of, prepare
from hie.message import (
    Accepted,
    Data,
    Message,
    Reply,
    RequestTimeout,
    Stopping,
    UnknownTarget,
    as_bytes,
    content_of,
)
from hie.settings import SettingError, settings_of

__all__ = ["Intake", "Outcome", "Request", "Sent", "TestEngine"]

H = TypeVar("H", bound=Host)
Scripted = Union[Data, None, Exception, Callable[[Message], Any], List[Any]]
_PATIENCE_S = 10.0


class Sent(NamedTuple):
    """A message that a result sends."""

    target: str
    message: Message
    priority: int


class Request(NamedTuple):
    """A request that a host made."""

    target: str
    message: Message
    timeout: Optional[float]
    """None: asynchronous."""
    priority: int
    pattern: Optional[str]


class Intake(NamedTuple):
    """A message that a service took in, or kept, or called bad."""

    kind: str
    message: Message
    origin: str
    state: Optional[str]
    reason: Optional[str]
    handler: Optional[str]
    wait: bool


class Outcome(NamedTuple):
    """What became of a message."""

    verdict: str
    reason: str
    note: str
    reply: Optional[Message]
    sends: List[Sent]
    response_from: List[str]


class TestEngine:
    """A double of the engine for one host.

    ``targets``: TargetConfigNames. ``responses``: what each item answers to a synchronous request:
    a message, None, an exception to raise, a function of the request's message, or a list of
    these, one for each request. ``items``: names of further items that can be sent to. Any other
    target is unknown, as it would be in the engine.
    """

    __test__ = False  # not a test case, whatever its name suggests to pytest

    def __init__(
        self,
        targets: Sequence[str] = (),
        responses: Optional[Mapping[str, Scripted]] = None,
        items: Sequence[str] = (),
        name: str = "Host under test",
    ) -> None:
        self.name = name
        self.targets = list(targets)
        self.responses: Dict[str, Scripted] = dict(responses or {})
        self.items = {*targets, *items, *self.responses}
        self.requests: List[Request] = []
        self.accepted: List[Intake] = []
        self.logs: List[str] = []
        """Lines such as ``warning: text``."""
        self.stats: Dict[str, int] = {}
        self.response: Scripted = None
        """What ``accept(..., wait=True)`` gives."""
        self.host: Any = None
        self._ids = itertools.count(1)
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._context: Optional[_Context] = None
        self._service: Optional[threading.Thread] = None
        self._service_error: Optional[BaseException] = None
        self._changed = threading.Condition()

    # --- life -------------------------------------------------------------------------------------

    def start(self, cls: Type[H], **settings: Any) -> H:
        """Makes the host and calls on_init and on_start, whose exceptions come out as they are."""
        if not kind_of(cls):
            raise TypeError("%s is not a host class" % cls.__name__)
        by_name = _by_name(cls, settings)
        prepare(cls)
        self._context = _Context(self, by_name)
        host = create(cls, self._context)
        self.host = host
        self._hook(host.on_init)
        self._hook(host.on_start)
        return host  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Lets a service end, then calls on_stop and on_teardown."""
        assert self._context is not None, "start a host first"
        self._context.stopping.set()
        if self._service is not None:
            self._service.join(_PATIENCE_S)
            if self._service.is_alive():
                raise AssertionError("run did not return within %d s of stopping" % _PATIENCE_S)
            self._service = None
        self._hook(self.host.on_stop)
        self._hook(self.host.on_teardown)
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        if self._service_error is not None:
            raise self._service_error

    def __enter__(self) -> TestEngine:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self.host is not None:
            self.stop()

    # --- messages ---------------------------------------------------------------------------------

    def send(self, message: Data, **about: Any) -> Outcome:
        """One message through all hooks of the host. ``about``: ``source``, ``priority``,
        ``attempt`` and the other facts of a Message."""
        assert self.host is not None, "start a host first"
        if not isinstance(message, Message):
            about.setdefault("id", next(self._ids))
            message = Message(message, **about)
        elif not message.id:
            message.id = next(self._ids)
        run = steps(self.host, message)
        try:
            if self.host._is_async:
                result = self._run(drive_async(run))
            else:
                result = drive(run, self._run)
        except (KeyboardInterrupt, AssertionError):
            raise
        except BaseException as error:
            result = crashed(error)
        sends = []
        for send in result.sends:
            self.known(send.target)
            data = message._received if send.message is None else as_bytes(send.message)
            priority = message.priority if send.priority is None else int(send.priority)
            sends.append(Sent(send.target, Message(data, source=self.name), priority))
        reply = None if result.reply is None else Message(as_bytes(result.reply))
        return Outcome(result.verdict, result.reason, result.note, reply, sends, result.response_from)

    # --- services ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Begins ``run`` of a service in a thread; :meth:`stop` ends it and raises what it raised."""

        def live() -> None:
            try:
                value = self.host.run()
                if asyncio.iscoroutine(value):
                    asyncio.run(value)
            except Stopping:
                pass
            except BaseException as error:
                self._service_error = error
            with self._changed:
                self._changed.notify_all()

        self._service = threading.Thread(target=live, daemon=True)
        self._service.start()

    def wait_accepted(self, count: int, seconds: float = _PATIENCE_S) -> List[Intake]:
        """Waits until the service has taken in so many messages; gives them."""
        end = time.monotonic() + seconds
        with self._changed:
            while len(self.accepted) < count and self._service_error is None:
                if not self._changed.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                    raise AssertionError("%d of %d messages within %s s" % (len(self.accepted), count, seconds))
        if self._service_error is not None and len(self.accepted) < count:
            raise self._service_error
        return list(self.accepted)

    # --- behind the host --------------------------------------------------------------------------

    def known(self, target: str) -> None:
        """UnknownTarget unless an item has this name."""
        if target not in self.items:
            near = difflib.get_close_matches(target, sorted(self.items), 1)
            hint = "; did you mean %s?" % near[0] if near else ""
            raise UnknownTarget("unknown-target", "there is no item %s%s" % (target, hint))

    def scripted(self, script: Scripted, message: Message) -> Optional[Reply]:
        """What a script answers to a message."""
        if isinstance(script, list):
            if not script:
                raise RequestTimeout("timeout", "the scripted responses are used up")
            script = script.pop(0)
        if isinstance(script, Exception):
            raise script
        if callable(script):
            script = script(message)
        return None if script is None else Reply(as_bytes(script), state="Completed")

    def _hook(self, hook: Callable[[], Any]) -> None:
        value = hook()
        if value is not None and hasattr(value, "__await__"):
            self._run(value)

    def _run(self, value: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(_settled(value))


async def _settled(value: Any) -> Any:
    return await value


def _by_name(cls: Type[Host], given: Dict[str, Any]) -> Dict[str, Any]:
    """Settings by the names of the configuration; SettingError for one that is not declared."""
    names = {}
    for setting in settings_of(cls):
        names[setting.attribute] = names[setting.name] = setting.name
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = "; did you mean %s?" % near[0] if near else ""
            raise SettingError("%s declares no setting %s%s" % (cls.__name__, name, hint))
    return {names[name]: value for name, value in given.items()}


class _Records(logging.Handler):
    def __init__(self, lines: List[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append("%s: %s" % (record.levelname.lower(), record.getMessage()))


class _Context(Context):
    def __init__(self, engine: TestEngine, settings: Mapping[str, Any]) -> None:
        self.engine = engine
        self.item = engine.name
        self.targets = engine.targets
        self.settings = settings
        self.log = logging.Logger("hie.host")  # its own: no handlers of the process under test
        self.log.addHandler(_Records(engine.logs))
        self.stopping = threading.Event()

    def request(
        self, host: Host, target: str, data: Optional[bytes], timeout: Optional[float], priority: int, pattern: Optional[str]
    ) -> Any:
        assert host._message is not None
        sent = Message(host._message._received if data is None else data, source=self.item, priority=priority)

        def ask() -> Any:
            self.engine.known(target)
            self.engine.requests.append(Request(target, sent, timeout, priority, pattern))
            if timeout is None:
                return next(self.engine._ids)
            return self.engine.scripted(self.engine.responses.get(target), sent)

        return _later(ask) if _on_loop() else ask()

    def accept(self, data: bytes, **how: Any) -> Any:
        def take() -> Any:
            if self.stopping.is_set():
                raise Stopping()
            message = Message(data, id=next(self.engine._ids), content=how.get("content") or content_of(data))
            intake = Intake(
                how["kind"], message, how.get("origin") or "", how.get("state"), how.get("reason"),
                how.get("handler"), bool(how.get("wait")),
            )  # fmt: skip
            with self.engine._changed:
                self.engine.accepted.append(intake)
                self.engine._changed.notify_all()
            if how.get("wait"):
                return self.engine.scripted(self.engine.response, message)
            return Accepted(message.id, message.id)

        return _later(take) if _on_loop() else take()

    def stat(self, address: Optional[str], connections: Optional[int], counters: Dict[str, int]) -> None:
        for name, count in counters.items():
            self.engine.stats[name] = self.engine.stats.get(name, 0) + count

    def wait(self, seconds: Optional[float]) -> Any:
        return self._wait_async(seconds) if _on_loop() else self.stopping.wait(seconds)

    async def _wait_async(self, seconds: Optional[float]) -> bool:
        end = None if seconds is None else time.monotonic() + seconds
        while not self.stopping.is_set() and (end is None or time.monotonic() < end):
            await asyncio.sleep(0.005)
        return self.stopping.is_set()


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _later(what: Callable[[], Any]) -> Any:
    return what()
