"""The engine as a worker's hosts see it: requests, intake, log and figures over the channel.

Owns what is asked of the engine and who waits for which answer. When answers come is the reader's.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from hie import _protocol as p
from hie._calling import trace
from hie.host import Context, Host
from hie.message import Accepted, Reply, RequestError, RequestTimeout, Stopping, content_of, request_error

Answer = Tuple[int, List[Any], bytes]
_ENOUGH = 8 * 1024
LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
    "off": logging.CRITICAL + 10,
}


class Engine:
    """One connection to the engine, shared by all hosts of the worker."""

    def __init__(self, channel: p.Channel) -> None:
        self.channel = channel
        self.max_frame = p.FIRST_LIMIT
        self.stopping = threading.Event()
        self.resumed = threading.Event()
        self.resumed.set()
        self.before_waiting: Callable[[], None] = lambda: None
        """Called by a plain host's thread that is about to wait for an answer."""
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self.loop_thread = 0
        self._calls: Dict[int, Union[SimpleQueue[Answer], asyncio.Queue[Answer]]] = {}
        self._numbers = itertools.count(1)

    # --- questions --------------------------------------------------------------------------------

    def on_loop(self) -> bool:
        """Whether the caller runs on the event loop, where nothing may wait."""
        return threading.get_ident() == self.loop_thread

    def post(self, kind: int, header: List[Any], body: bytes = b"") -> None:
        """Gathers one frame. RequestError if it would be longer than the engine takes."""
        data = p.frame(kind, header, body)
        if len(data) - 4 > self.max_frame:
            raise RequestError("too-long", "%d bytes, and the engine takes %d at once" % (len(data), self.max_frame))
        self.channel.post(data)

    def ask(self, kind: int, header: List[Any], body: bytes) -> Question:
        """Sends a question; ``header`` begins with its number, which is put in here."""
        question = Question(self, next(self._numbers))
        header[0] = question.number
        self._calls[question.number] = question.answers
        try:
            self.post(kind, header, body)
        except BaseException:
            question.close()
            raise
        self.channel.flush()
        return question

    def answered(self, answer: Answer) -> None:
        """Hands an answer to who waits for it; nobody may wait any more."""
        answers = self._calls.get(answer[1][0])
        if isinstance(answers, SimpleQueue):
            answers.put(answer)
        elif answers is not None and self.loop is not None:
            self.loop.call_soon_threadsafe(answers.put_nowait, answer)

    def forget(self, number: int) -> None:
        """Nobody waits for this number any more."""
        self._calls.pop(number, None)


class Question:
    """A question that was asked; its answers are taken in a plain thread or on the loop."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        self.number = number
        self.answers: Any = asyncio.Queue() if engine.on_loop() else SimpleQueue()

    def take(self, seconds: Optional[float] = None) -> Answer:
        """The next answer; Empty if none came in time."""
        answer: Answer = self.answers.get(timeout=seconds)
        return answer

    async def take_async(self, seconds: Optional[float] = None) -> Answer:
        """As :meth:`take`, on the loop."""
        try:
            answer: Answer = await asyncio.wait_for(self.answers.get(), seconds)
            return answer
        except asyncio.TimeoutError:
            raise Empty from None

    def close(self) -> None:
        """No more answers are wanted."""
        self.engine.forget(self.number)


class WorkerContext(Context):
    """The engine behind one host of the worker."""

    def __init__(self, engine: Engine, item: str, job: int, init: Mapping[str, Any]) -> None:
        self.engine = engine
        self.item = item
        self.job = job
        self.targets = list(init.get("targets") or [])
        self.settings = init.get("settings") or {}
        self.config_file = init.get("config_file") or ""
        self.log = logging.getLogger("hie.host")
        self.stopping = engine.stopping

    def request(
        self, host: Host, target: str, data: Optional[bytes], timeout: Optional[float], priority: int, pattern: Optional[str]
    ) -> Any:
        message = host._message
        assert message is not None
        timeout_ms = None if timeout is None else max(1, int(timeout * 1000))
        header = [0, message.id, target, timeout_ms, priority, data is not None, pattern]
        if self.engine.on_loop():
            question = self.engine.ask(p.CALL, header, data or b"")
            return self._called_async(question, timeout is None)
        self.engine.before_waiting()
        question = self.engine.ask(p.CALL, header, data or b"")
        try:
            return _called(question.take(), timeout is None)
        finally:
            question.close()

    async def _called_async(self, question: Question, only_id: bool) -> Any:
        try:
            return _called(await question.take_async(), only_id)
        finally:
            question.close()

    def accept(self, data: bytes, **how: Any) -> Any:
        header = [
            0, how["kind"], how.get("origin") or "", how.get("content") or content_of(data),
            how.get("state"), how.get("reason"), how.get("handler"), bool(how.get("wait")),
        ]  # fmt: skip
        timeout = how.get("timeout")
        if self.engine.on_loop():
            return asyncio.ensure_future(self._accept_async(header, data, timeout))
        self.engine.resumed.wait()
        self._refuse_if_stopping()
        question = self.engine.ask(p.ACCEPT, header, data)
        try:
            accepted = _accepted(question.take())
            if not header[7]:
                return accepted
            try:
                return _response(question.take(timeout), accepted)
            except Empty:
                raise RequestTimeout("timeout", "no response within %s s" % timeout, accepted.id) from None
        finally:
            question.close()

    async def _accept_async(self, header: List[Any], data: bytes, timeout: Optional[float]) -> Any:
        while not self.engine.resumed.is_set():
            await asyncio.sleep(0.02)
        self._refuse_if_stopping()
        question = self.engine.ask(p.ACCEPT, header, data)
        try:
            accepted = _accepted(await question.take_async())
            if not header[7]:
                return accepted
            try:
                return _response(await question.take_async(timeout), accepted)
            except Empty:
                raise RequestTimeout("timeout", "no response within %s s" % timeout, accepted.id) from None
        finally:
            question.close()

    def _refuse_if_stopping(self) -> None:
        if self.engine.stopping.is_set():
            raise Stopping()

    def stat(self, address: Optional[str], connections: Optional[int], counters: Dict[str, int]) -> None:
        self.engine.post(p.STAT, [address, connections, {k: int(v) for k, v in counters.items()}])
        self.engine.channel.flush()

    def wait(self, seconds: Optional[float]) -> Any:
        if self.engine.on_loop():
            return self._wait_async(seconds)
        return self.engine.stopping.wait(seconds)

    async def _wait_async(self, seconds: Optional[float]) -> bool:
        end = None if seconds is None else time.monotonic() + seconds
        while not self.engine.stopping.is_set():
            left = 0.05 if end is None else min(0.05, end - time.monotonic())
            if left <= 0:
                break
            await asyncio.sleep(left)
        return self.engine.stopping.is_set()


def _called(answer: Answer, only_id: bool) -> Any:
    _, header, body = answer
    _, code, reason, message, state, has_reply = (list(header) + [None] * 6)[:6]
    if code:
        raise request_error(str(code), str(reason or ""), message or 0)
    if only_id:
        return message
    if has_reply:
        return Reply(body, state=state or "", id=message or 0)
    if state and state not in ("Completed", "Discarded"):
        raise RequestError("target-failed", "%s%s" % (state, ": " + reason if reason else ""), message or 0)
    return None


def _accepted(answer: Answer) -> Accepted:
    _, code, reason, session, first = (list(answer[1]) + [None] * 5)[:5]
    if code:
        raise request_error(str(code), str(reason or ""))
    return Accepted(session, first or 0)


def _response(answer: Answer, accepted: Accepted) -> Optional[Reply]:
    _, state, reason, has_reply = (list(answer[1]) + [None] * 4)[:4]
    if has_reply:
        return Reply(answer[2], state=state or "", id=accepted.id)
    if state and state not in ("Completed", "Discarded"):
        raise RequestError("target-failed", "%s%s" % (state, ": " + reason if reason else ""), accepted.id)
    return None


class LogForwarder(logging.Handler):
    """Sends log records to the engine. Exceptions go as their traceback without their text, which
    may hold content of a message."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.name not in ("hie.host", "root"):
                text = "%s: %s" % (record.name, text)
            if record.exc_info and record.exc_info[1] is not None:
                text += "\n" + trace(record.exc_info[1])
            self.send(_level(record.levelno), text)
        except OSError:
            pass  # the engine is gone; the reader ends the process
        except Exception:
            self.handleError(record)

    def send(self, level: str, text: str) -> None:
        """One line of log, cut to 8 KiB."""
        data = text.encode("utf-8", "backslashreplace")
        if len(data) > _ENOUGH:
            data = data[: _ENOUGH - 4] + b" ..."
        self.engine.post(p.LOG, [level, data.decode("utf-8", "ignore")])
        self.engine.channel.flush()


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    return "info" if number >= logging.INFO else "debug"
