"""The jobs of a worker: one host each, in a thread of its own or as a task on one event loop.

Owns who runs what and when results are written. A plain host lives in the thread of its job from
constructor to on_teardown, so that what it opens there (a database connection) may be used there.

Threads that all want the interpreter's lock at once cost more than what trivial hosts do. So of a
batch of messages only a few threads are woken, and each that is done wakes the next (*narrow*).
Where hosts block that would hold others up: the reader looks every millisecond, and when too few
were begun twice in a row, all are woken at once, and for some time all that follow (*wide*).

Results are gathered and written when no message is left that a thread has not begun; a result that
is left behind because the others block is written by the reader, within a millisecond, too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from functools import lru_cache
from queue import SimpleQueue
from typing import Any, Awaitable, Callable, Deque, Dict, List, Mapping, Optional, Set, Tuple, Type

from hie import _protocol as p
from hie._calling import MAX_REASON, crashed, drive, drive_async, steps, trace, where
from hie._engine import Engine, WorkerContext
from hie._msgpack import pack, pack_array_head
from hie.host import Host, create
from hie.message import VERDICTS, Message, Result, Stopping, as_bytes, check_priority, check_target
from hie.settings import SettingError

Delivery = Tuple[int, List[Any], bytes]
LOG = logging.getLogger("hie.host")
NARROW = 2
"""How many threads are awake while hosts are quick: one runs, the others are on their way."""
QUICK = 4
"""How many messages must be begun between two ticks for hosts to count as quick."""
SLOW_TICKS = 2
"""How many ticks in a row must be slow for hosts to count as blocking: one may be the machine's."""
WIDE_FOR = 2000
"""After how many messages it is tried again whether hosts have become quick."""
STACK = 4 * 1024 * 1024
"""Stack of a job's thread, in bytes. The usual 8 MiB each would count against WorkerMemoryMax."""


_WORDS = {verdict: pack(verdict) for verdict in VERDICTS}
_NOTHING = pack("") + pack("") + pack(None) + pack([]) + pack([])


class StartFailed(Exception):
    """A host cannot start; the text says which hook, where and why."""


def message_of(header: List[Any], body: bytes) -> Message:
    """A MSG frame as the message that hosts see."""
    id_, job, attempt, deadline_ms, source, content, priority, session, created, duplicate = header[:10]
    return Message(
        body, id=id_, job=job, attempt=attempt,
        deadline=None if deadline_ms is None else deadline_ms / 1000,
        source=source, content=content, priority=priority, session=session, created_ms=created,
        possible_duplicate=duplicate,
    )  # fmt: skip


def result_frame(message: Message, result: Result) -> bytes:
    """The RESULT of a message. TypeError for a reply or a send that is no message."""
    if result.reply is None and not result.sends and not (result.reason or result.note or result.response_from):
        return p.frame_of(p.RESULT, b"\x97" + pack(message.id) + _WORDS[result.verdict] + _NOTHING)
    bodies: List[bytes] = []
    reply_len: Optional[int] = None
    if result.reply is not None:
        bodies.append(as_bytes(result.reply))
        reply_len = len(bodies[0])
    sends: List[bytes] = []
    for send in result.sends:
        priority = message.priority if send.priority is None else check_priority(send.priority)
        length: Optional[int] = None
        if send.message is not None and (send.message is not message or message.changed):
            bodies.append(as_bytes(send.message))
            length = len(bodies[-1])
        sends.append(_packed_send(check_target(send.target), length, priority))
    header = [
        b"\x97", pack(message.id), _WORDS[result.verdict], pack(_words(result.reason)),
        pack(_words(result.note)), pack(reply_len), pack_array_head(len(sends)), *sends,
        pack([check_target(target) for target in result.response_from]),
    ]  # fmt: skip
    return p.frame_of(p.RESULT, b"".join(header), b"".join(bodies))


@lru_cache(maxsize=4096)
def _packed_send(target: str, length: Optional[int], priority: int) -> bytes:
    return pack([target, length, priority])


def _words(text: Any) -> str:
    """A reason or a note: text of bounded length that can be written as UTF-8."""
    return str(text or "")[:MAX_REASON].encode("utf-8", "backslashreplace").decode("utf-8")


class TooLong(ValueError):
    """A result that the engine does not take at once."""


class Jobs:
    """All jobs of the worker. The children decide where the hosts run."""

    def __init__(self, engine: Engine, cls: Type[Host], init: Mapping[str, Any]) -> None:
        self.engine = engine
        self.cls = cls
        self.init = init
        self.count = max(1, int(init.get("jobs") or 1))
        self.hosts: List[Any] = [None] * self.count
        self.in_hand: Dict[int, int] = {}
        self.idle = threading.Condition()
        self.draining = False
        self.fatal: Callable[[str], None] = lambda text: None

    def finished(self, message: Message, result: Result) -> None:
        """Gathers the result of a message."""
        try:
            frame = result_frame(message, result)
            if len(frame) - 4 > self.engine.max_frame:
                raise TooLong
        except Exception as error:  # what the host gave cannot be written
            reason = "the result is longer than the engine takes" if isinstance(error, TooLong) else where(error)
            LOG.error("message %s: its result cannot be sent: %s", message.id, type(error).__name__)
            frame = result_frame(message, Result.failed("the result of the host cannot be sent: " + reason))
        self.engine.channel.post(frame)
        self.in_hand.pop(message.id, None)
        if self.draining:
            with self.idle:
                self.idle.notify_all()

    def _make(self, job: int) -> Host:
        host: Host = create(self.cls, WorkerContext(self.engine, self.init.get("item") or "", job, self.init))
        self.hosts[job] = host
        return host

    def wait_idle(self) -> None:
        """Waits until no message is in hand."""
        with self.idle:
            self.draining = True
            self.idle.wait_for(lambda: not self.in_hand)

    # What the children do:

    def start(self) -> None:
        """Makes and starts all hosts. StartFailed if one cannot."""
        raise NotImplementedError

    def deliver(self, frames: List[Delivery]) -> None:
        """Hands messages to their jobs; never waits."""
        raise NotImplementedError

    def unbegun(self) -> bool:
        """Whether a thread has yet to begin what it was handed."""
        return False

    def tick(self) -> None:
        """Called about every millisecond while something is unbegun."""

    def stop(self) -> None:
        """Lets services end, then calls on_stop and on_teardown of all hosts."""
        raise NotImplementedError

    def run_services(self) -> None:
        """Begins ``run`` of all hosts (services)."""
        raise NotImplementedError


def _start_failed(hook: str, cls: Type[Any], error: BaseException) -> Exception:
    if isinstance(error, SettingError):
        return error
    text = " ".join(str(error).split())[:300]  # no message is in play yet: its text may be told
    return StartFailed("%s of %s: %s%s" % (hook, cls.__name__, where(error), ": " + text if text else ""))


STARTING = ("on_init", "on_start")
STOPPING = ("on_stop", "on_teardown")


class ThreadJobs(Jobs):
    """Plain hosts: one thread for each job."""

    def __init__(self, engine: Engine, cls: Type[Host], init: Mapping[str, Any]) -> None:
        super().__init__(engine, cls, init)
        self.queues: List[SimpleQueue[Any]] = [SimpleQueue() for _ in range(self.count)]
        self._waiting: Deque[Delivery] = deque()  # whose threads are not woken yet
        self._unbegun: List[None] = []  # one for each message that no thread has begun
        self._baton = threading.Lock()
        self._awake = 0
        self._begun = self._begun_before = 0
        self._wide_for = self._slow_ticks = 0
        engine.before_waiting = self._widen
        self._loop_lock = threading.Lock()

    def start(self) -> None:
        threading.stack_size(STACK)
        for job in range(self.count):
            threading.Thread(target=self._live, args=(job,), name="job-%d" % job, daemon=True).start()
        self._everywhere(self._start_one)

    def run_services(self) -> None:
        for job in range(self.count):
            self.queues[job].put(self._run_one)

    def deliver(self, frames: List[Delivery]) -> None:
        self._unbegun.extend([None] * len(frames))
        with self._baton:
            self._waiting.extend(frames)
            if self._wide_for > 0:
                self._wide_for -= len(frames)
                count = len(self._waiting)
            else:
                count = min(len(self._waiting), NARROW - self._awake)
            woken = self._take(count)
        self._wake(woken)

    def unbegun(self) -> bool:
        return bool(self._unbegun)

    def tick(self) -> None:
        slow = self._begun - self._begun_before < QUICK
        self._begun_before = self._begun
        self._slow_ticks = self._slow_ticks + 1 if slow and self._waiting else 0
        if self._slow_ticks >= SLOW_TICKS:
            self._slow_ticks = 0
            self._widen()

    def _widen(self) -> None:
        """Hosts block: wakes the threads of all messages, and of those that follow."""
        with self._baton:
            self._wide_for = WIDE_FOR
            woken = self._take(len(self._waiting))
        self._wake(woken)

    def _take(self, count: int) -> List[Delivery]:
        self._awake += max(0, count)
        return [self._waiting.popleft() for _ in range(count)]

    def _wake(self, deliveries: List[Delivery]) -> None:
        for delivery in deliveries:
            self.queues[delivery[1][1]].put(delivery)

    def _pass_on(self) -> None:
        """A thread is done: it wakes the next in its place."""
        with self._baton:
            if not self._waiting or self._awake > NARROW:
                self._awake -= 1
                return
            delivery = self._waiting.popleft()
        self.queues[delivery[1][1]].put(delivery)

    def stop(self) -> None:
        self._everywhere(self._stop_one)

    def _live(self, job: int) -> None:
        get, handle = self.queues[job].get, self._handle
        while True:
            task = get()
            if type(task) is tuple:
                handle(job, task)
            else:
                task(job)

    def _handle(self, job: int, delivery: Delivery) -> None:
        message = message_of(delivery[1], delivery[2])
        self._unbegun.pop()
        self._begun += 1
        try:
            result = drive(steps(self.hosts[job], message), self._await)
        except BaseException as error:
            LOG.error("message %s crashed its host\n%s", message.id, trace(error))
            result = crashed(error)
        self.finished(message, result)
        self._pass_on()
        if not self._unbegun:
            try:
                self.engine.channel.flush()
            except OSError:
                pass  # the engine is gone; the reader ends the process

    def _everywhere(self, what: Callable[[int], None]) -> None:
        """Runs something in the thread of each job; raises what the first that failed raised."""
        done: SimpleQueue[Optional[BaseException]] = SimpleQueue()

        def run(job: int) -> None:
            try:
                what(job)
                done.put(None)
            except BaseException as error:
                done.put(error)

        for queue in self.queues:
            queue.put(run)
        errors = [error for error in (done.get() for _ in self.queues) if error is not None]
        if errors:
            raise errors[0]

    def _start_one(self, job: int) -> None:
        hook = "the constructor"
        try:
            host = self._make(job)
            for hook in STARTING:
                self._call(getattr(host, hook))
        except BaseException as error:
            raise _start_failed(hook, self.cls, error) from error

    def _run_one(self, job: int) -> None:
        try:
            self._call(self.hosts[job].run)
            ended = None
        except BaseException as error:
            ended = error
        _service_ended(self, job, ended)

    def _stop_one(self, job: int) -> None:
        for hook in STOPPING:
            try:
                if self.hosts[job] is not None:
                    self._call(getattr(self.hosts[job], hook))
            except BaseException as error:
                LOG.error("%s raised\n%s", hook, trace(error))

    def _call(self, hook: Callable[[], Any]) -> None:
        value = hook()
        if value is not None and hasattr(value, "__await__"):
            self._await(value)

    def _await(self, value: Awaitable[Any]) -> Any:
        """A hook of a plain host that is ``async def``: run to its end on a loop beside."""
        with self._loop_lock:
            loop = self.engine.loop or start_loop(self.engine)
        return asyncio.run_coroutine_threadsafe(_settle(value), loop).result()


class LoopJobs(Jobs):
    """Async hosts: tasks on one event loop."""

    def __init__(self, engine: Engine, cls: Type[Host], init: Mapping[str, Any]) -> None:
        super().__init__(engine, cls, init)
        self.loop = start_loop(engine)
        self._tasks: Set[Any] = set()
        self._flush_soon = False

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start_all(), self.loop).result()

    def run_services(self) -> None:
        def begin() -> None:
            for job in range(self.count):
                self._task(self._run_one(job))

        self.loop.call_soon_threadsafe(begin)

    def deliver(self, frames: List[Delivery]) -> None:
        self.loop.call_soon_threadsafe(self._begin, frames)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop_all(), self.loop).result()

    def _begin(self, frames: List[Delivery]) -> None:
        for delivery in frames:
            self._task(self._handle(delivery))

    def _task(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, delivery: Delivery) -> None:
        message = message_of(delivery[1], delivery[2])
        try:
            result = await drive_async(steps(self.hosts[delivery[1][1]], message))
        except BaseException as error:
            LOG.error("message %s crashed its host\n%s", message.id, trace(error))
            result = crashed(error)
        self.finished(message, result)
        if not self._flush_soon:  # once, behind all that are done in this round
            self._flush_soon = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_soon = False
        try:
            self.engine.channel.flush()
        except OSError:
            pass  # the engine is gone; the reader ends the process

    async def _start_all(self) -> None:
        for job in range(self.count):
            hook = "the constructor"
            try:
                host = self._make(job)
                for hook in STARTING:
                    await _settle(getattr(host, hook)())
            except BaseException as error:
                raise _start_failed(hook, self.cls, error) from error

    async def _run_one(self, job: int) -> None:
        try:
            await _settle(self.hosts[job].run())
            ended = None
        except BaseException as error:
            ended = error
        _service_ended(self, job, ended)

    async def _stop_all(self) -> None:
        for host in self.hosts:
            for hook in STOPPING:
                try:
                    if host is not None:
                        await _settle(getattr(host, hook)())
                except BaseException as error:
                    LOG.error("%s raised\n%s", hook, trace(error))


async def _settle(value: Any) -> Any:
    return await value if value is not None and hasattr(value, "__await__") else value


def _service_ended(jobs: Jobs, job: int, error: Optional[BaseException]) -> None:
    """``run`` returned or raised. A service that no longer takes anything in must not look alive."""
    jobs.in_hand.pop(-1 - job, None)
    if error is not None and not isinstance(error, Stopping):
        LOG.error("run raised\n%s", trace(error))
    if jobs.engine.stopping.is_set():
        with jobs.idle:
            jobs.idle.notify_all()
    elif error is not None:
        jobs.fatal("run of %s: %s" % (jobs.cls.__name__, where(error)))
    else:
        jobs.fatal("run of %s returned before it was to stop" % jobs.cls.__name__)


def start_loop(engine: Engine) -> asyncio.AbstractEventLoop:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()

    def live() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()

    thread = threading.Thread(target=live, name="event-loop", daemon=True)
    thread.start()
    engine.loop, engine.loop_thread = loop, thread.ident or 0
    return loop
