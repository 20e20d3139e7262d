"""The base classes of hosts: what users derive from and what they may call.

Owns the names and their meaning. The engine's side of each call stands behind :class:`Context`,
which the worker and the test double fill.

Every hook may be plain or ``async def``. A host is *async* when its main method (``on_message``,
``run``) is: then all its hooks run on the event loop, and everything below that waits must be
awaited (``await self.send_request_sync(...)``). In a plain host the same call simply returns.
"""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Any, Dict, List, Mapping, Optional, Type

from hie.message import (
    Accepted,
    Data,
    Message,
    Priority,
    Reply,
    Send,
    as_bytes,
    check_priority,
    check_target,
)
from hie.settings import TARGETS, values_for

__all__ = ["BusinessOperation", "BusinessProcess", "BusinessService", "Context", "Host"]

Response = Optional[Reply]

KEPT = ("Discarded", "Error", "Suspended", "Completed", "Aborted")
"""The states in which a service may keep a message that goes nowhere."""


class Context:
    """What stands behind a host: the engine, or a test double of it."""

    item: str = ""
    job: int = 0
    targets: List[str] = []
    settings: Mapping[str, Any] = {}
    config_file: str = ""
    log: logging.Logger
    stopping: threading.Event

    def request(
        self,
        host: Host,
        target: str,
        data: Optional[bytes],
        timeout: Optional[float],
        priority: int,
        pattern: Optional[str],
    ) -> Any:
        """Sends a request. ``timeout`` None: gives the id. Else: gives the reply or None."""
        raise NotImplementedError

    def accept(self, data: bytes, **how: Any) -> Any:
        """Takes a message in: gives Accepted, or with ``wait`` the reply or None."""
        raise NotImplementedError

    def stat(self, address: Optional[str], connections: Optional[int], counters: Dict[str, int]) -> None:
        """Reports figures of a service."""
        raise NotImplementedError

    def wait(self, seconds: Optional[float]) -> Any:
        """Waits; gives whether the item stops."""
        raise NotImplementedError


class Host:
    """What all hosts have. Derive from one of the three business classes, not from this."""

    kind = ""
    _context: Context
    _message: Optional[Message] = None
    _reply: Optional[Data] = None
    _sends: Optional[List[Send]] = None
    # Facts about the class, found once by `prepare`.
    _is_async = False
    _main = "on_message"
    _before = _after = _on_error = False

    # --- hooks, to be overridden ------------------------------------------------------------------

    def on_init(self) -> Any:
        """Called once, before on_start."""

    def on_start(self) -> Any:
        """Called before the first message; an exception keeps the item from starting."""

    def on_stop(self) -> Any:
        """Called when the item stops, after the last message."""

    def on_teardown(self) -> Any:
        """Called last of all."""

    def on_before_process(self, message: Message) -> Any:
        """Called before on_message. May return a changed message; ``Reject`` refuses it."""

    def on_after_process(self, message: Message, result: Any) -> Any:
        """Called with what on_message returned. May return something else instead of it."""

    def on_process_error(self, message: Message, exception: Exception) -> Any:
        """Called when a hook raised. What it returns is used as result; None lets it fail."""

    # --- what every host may use ------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the item in the configuration."""
        return self._context.item

    @property
    def job(self) -> int:
        """Which of the item's jobs of this process it is, from 0."""
        return self._context.job

    @property
    def target_config_names(self) -> List[str]:
        """The items that TargetConfigNames names."""
        return list(self._context.targets)

    @property
    def log(self) -> logging.Logger:
        """Goes into the engine's log under the item's name. Never log content of messages."""
        return self._context.log

    @property
    def config_file(self) -> str:
        """The path of the production's configuration file."""
        return self._context.config_file

    def get_setting(self, target: str, name: str, default: Any = None) -> Any:
        """A setting by its name in the configuration, declared by the class or not.

        ``target`` is ``Host`` or ``Adapter``, as in the configuration.
        """
        if target not in TARGETS:
            raise ValueError("target is Host or Adapter, not %r" % (target,))
        value = self._context.settings.get(name)
        return default if value is None else value

    def _bind(self, context: Context) -> None:
        self._context = context
        self.__dict__.update(values_for(type(self), context.settings))


class _Handler(Host):
    """What processes and operations have in common: they are handed messages."""

    def on_message(self, message: Message) -> Any:
        """Handles one message. What it may return is described in the README."""
        raise NotImplementedError("%s has no on_message" % type(self).__name__)

    def on_process_input(self, message: Message) -> Any:
        """The other name of on_message; override one of the two."""
        return self.on_message(message)

    def send_request_sync(
        self,
        target: str,
        message: Optional[Data] = None,
        timeout: float = 30.0,
        priority: int = Priority.NORMAL,
        pattern: Optional[str] = None,
    ) -> Any:
        """Asks another item and waits for its response, a Reply or None; in an async host, await it.

        ``message`` None sends the handled message on. ``timeout`` in seconds. Raises UnknownTarget,
        RequestTimeout, Deadlock, QueueFull, or RequestError with the engine's code.
        """
        if timeout is None or not timeout > 0:
            raise ValueError("timeout is a number of seconds above 0, not %r" % (timeout,))
        return self._request(target, message, timeout, priority, pattern)

    def send_request_async(
        self,
        target: str,
        message: Optional[Data] = None,
        priority: int = Priority.NORMAL,
        pattern: Optional[str] = None,
    ) -> Any:
        """Sends to another item; gives the id of the request once it is recorded.

        It is sent at once, whatever becomes of the handled message. To send only when that is
        done, return ``Send`` or use :meth:`send_to_targets`. In an async host, await it.
        """
        return self._request(target, message, None, priority, pattern)

    def send_response(self, correlation_id: int, response: Data) -> None:
        """Answers the message in hand, whose ``id`` is the correlation id: ``response`` goes to who
        waits for it, when the message is done."""
        if self._message is None or correlation_id != self._message.id:
            raise ValueError("message %r is not in hand: only that one can be answered" % (correlation_id,))
        as_bytes(response)
        self._reply = response

    def send_to_targets(self, message: Optional[Data] = None, priority: Optional[int] = None) -> None:
        """Sends to all TargetConfigNames, when the message in hand is completed (and only then)."""
        if self._message is None:
            raise RuntimeError("no message is in hand: send_to_targets is for hooks that handle one")
        if not self._context.targets:
            raise ValueError("the item has no TargetConfigNames")
        if message is not None:
            as_bytes(message)
        if self._sends is None:
            self._sends = []
        self._sends += [Send(target, message, priority) for target in self._context.targets]

    def _request(
        self, target: str, message: Optional[Data], timeout: Optional[float], priority: int, pattern: Optional[str]
    ) -> Any:
        if self._message is None:
            raise RuntimeError("no message is in hand: requests are for hooks that handle one")
        data: Optional[bytes] = None
        if message is not None and not (message is self._message and not self._message.changed):
            data = as_bytes(message)
        word = None if pattern is None else str(getattr(pattern, "value", pattern))
        number = check_priority(priority)
        return self._context.request(self, check_target(target), data, timeout, number, word)


class BusinessProcess(_Handler):
    """Handles messages inside the production: checks, changes, looks up, routes."""

    kind = "Process"


class BusinessOperation(_Handler):
    """Takes messages out of the production: to a system, a file, a service."""

    kind = "Operation"


class BusinessService(Host):
    """Lets messages into the production. ``run`` polls or listens and calls ``accept``."""

    kind = "Service"
    _main = "run"

    def run(self) -> Any:
        """Takes messages in until ``self.stopping`` is set. Called once for each job."""
        raise NotImplementedError("%s has no run" % type(self).__name__)

    @property
    def stopping(self) -> threading.Event:
        """Set when the item is to stop; ``run`` then returns."""
        return self._context.stopping

    def wait(self, seconds: Optional[float] = None) -> Any:
        """Waits, at most so long, until the item is to stop; gives whether it is. In an async
        host, await it."""
        return self._context.wait(seconds)

    def accept(
        self,
        data: Data,
        origin: str = "",
        wait: bool = False,
        timeout: Optional[float] = None,
        content: Optional[str] = None,
    ) -> Any:
        """Takes a message in for all targets. When it returns, the message is on the disk, and
        only then may a sender be told so. In an async host, await it.

        Gives Accepted; with ``wait`` the response of the first target that answers, a Reply, or
        None when nobody is left who could. ``origin`` says where it came from (an address, a file
        name). While the item is paused it waits. Raises RequestError: nothing was taken in;
        with ``wait``, RequestTimeout: it was taken in, but there was no response within
        ``timeout`` seconds.
        """
        return self._accept("accept", data, origin, content, wait=wait, timeout=timeout)

    def keep(self, data: Data, state: str, reason: str, origin: str = "", content: Optional[str] = None) -> Any:
        """Records a message that goes nowhere: ``state`` (one of KEPT) and ``reason`` say why.
        Gives Accepted."""
        if state not in KEPT:
            raise ValueError("a message is kept as %s, not %r" % (", ".join(KEPT), state))
        return self._accept("keep", data, origin, content, state=state, reason=reason)

    def accept_bad(
        self,
        data: Data,
        reason: str,
        handler: Optional[str] = None,
        origin: str = "",
        content: Optional[str] = None,
    ) -> Any:
        """Takes in what cannot be read: it goes to the item ``handler``, or stays as an error with
        its reason. Gives Accepted."""
        return self._accept("bad", data, origin, content, reason=reason, handler=handler)

    def send_to_targets(self, message: Data) -> Any:
        """As :meth:`accept`."""
        return self.accept(message)

    def stat(self, address: Optional[str] = None, connections: Optional[int] = None, **counters: int) -> None:
        """Reports where the service listens, how many are connected, and counts to be added
        (``self.stat(rejected=1)``)."""
        for name, count in counters.items():
            if count < 0:
                raise ValueError("%s: a count is added, and cannot be negative" % name)
        self._context.stat(address, None if connections is None else max(0, int(connections)), counters)

    def _accept(self, kind: str, data: Data, origin: str, content: Optional[str], **how: Any) -> Any:
        return self._context.accept(as_bytes(data), kind=kind, origin=origin, content=content, **how)


BASES = (BusinessService, BusinessProcess, BusinessOperation)


def kind_of(cls: Type[Any]) -> str:
    """Service, Process or Operation; ``""`` if the class is none of them."""
    for base in BASES:
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base:
            return base.kind
    return ""


def prepare(cls: Type[Host]) -> None:
    """Finds out once what a class overrides. TypeError if its main method is missing."""
    if issubclass(cls, _Handler):
        alias = cls.on_process_input is not _Handler.on_process_input
        if not alias and cls.on_message is _Handler.on_message:
            raise TypeError("%s has neither on_message nor on_process_input" % cls.__name__)
        cls._main = "on_process_input" if alias else "on_message"
    elif cls.run is BusinessService.run:  # type: ignore[attr-defined]
        raise TypeError("%s has no run" % cls.__name__)
    cls._is_async = inspect.iscoroutinefunction(getattr(cls, cls._main))
    cls._before = cls.on_before_process is not Host.on_before_process
    cls._after = cls.on_after_process is not Host.on_after_process
    cls._on_error = cls.on_process_error is not Host.on_process_error


def create(cls: Type[Any], context: Context) -> Any:
    """Makes a host. Its settings, name and log are there already in its constructor."""
    make: Any = cls
    host = make.__new__(make)
    host._bind(context)
    host.__init__()
    return host


__all__ += ["Accepted", "kind_of", "prepare", "create"]
