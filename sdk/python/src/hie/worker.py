"""``python3 -m hie.worker --item NAME --worker K``: hosts in a process of their own.

Owns the life of the process: start, reading what the engine sends, the answer to PING, the end.
It is started by the engine with a socket on descriptor 0; the protocol is described in
``docs/reference/worker-protocol.md`` of the engine. The thread that reads never runs code of hosts.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import socket
import stat
import sys
import threading
import time
from typing import Any, Dict, List, NoReturn, Optional

from hie import _protocol as p
from hie import __version__
from hie._calling import trace
from hie._engine import LEVELS, Engine, LogForwarder
from hie._jobs import Delivery, Jobs, LoopJobs, StartFailed, ThreadJobs
from hie._loading import LoadError, add_paths, load
from hie.host import kind_of
from hie.settings import SettingError

BY_HAND = (
    "hie.worker runs the Python hosts of one item and is started by the engine, with its socket on "
    "descriptor 0, where an item says ExecutionMode: multiprocess. To try a host by hand, test it "
    "with hie.testing (see the README of the SDK)."
)
TICK_MS = 1
"""How long a result may be held back for others to join it, while hosts have work to begin."""


def main(arguments: Optional[List[str]] = None) -> int:
    """The command; gives its exit code: 0 after BYE, 1 failed, 2 started by hand."""
    parser = argparse.ArgumentParser(prog="python3 -m hie.worker", description=BY_HAND)
    parser.add_argument("--item", default="", help="the item, so that ps shows it")
    parser.add_argument("--worker", default="0", help="this worker's number")
    options = parser.parse_args(arguments)
    if not _is_socket(0):
        print(BY_HAND, file=sys.stderr)
        return 2
    parent = os.getppid()
    _die_with(parent)
    worker = Worker(_take_descriptor(), options.item)
    try:
        return worker.run()
    except p.ProtocolError as error:
        print("the engine broke the worker protocol: %s" % error, file=sys.stderr)
    except OSError as error:
        print("the engine is gone: %s" % error.strerror, file=sys.stderr)
    _exit(1)


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _take_descriptor() -> socket.socket:
    """The protocol channel, moved away from where code of hosts would find it."""
    channel = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return channel


def _die_with(parent: int) -> None:
    """Asks the kernel to be killed when the engine dies; where it cannot be asked, the end of the
    channel tells."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the engine decides when to stop
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:  # it died before it was asked
        _exit(1)


def _exit(code: int) -> NoReturn:
    """Ends at once, whatever hosts are doing."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(code)


class Worker:
    """One worker over its channel."""

    def __init__(self, channel: socket.socket, item: str) -> None:
        self.sock = channel
        self.item = item
        self.channel = p.Channel(channel)
        self.engine = Engine(self.channel)
        self.reader = p.FrameReader()
        self.log = LogForwarder(self.engine)
        self.jobs: Optional[Jobs] = None
        self.starting = False
        self.code: Optional[int] = None
        self._wake_in, self._wake_out = os.pipe()

    def run(self) -> int:
        """Lives until BYE or the end of the channel; gives the exit code."""
        self.channel.send(p.HELLO, [p.VERSION, "python " + __version__])
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self._wake_in, select.POLLIN)
        jobs: Optional[Jobs]
        tick = 0.0
        while self.code is None:
            jobs = self.jobs
            hurry = self.channel.pending() or (jobs is not None and jobs.unbegun())
            ready = poll.poll(TICK_MS if hurry else None)
            if hurry and jobs is not None and time.monotonic() >= tick:
                jobs.tick()
                tick = time.monotonic() + TICK_MS / 1000
            if self.channel.pending():
                self.channel.try_flush()
            for descriptor, _ in ready:
                if descriptor == self._wake_in:
                    os.read(self._wake_in, 64)
                    continue
                data = self.sock.recv(p.READ_SIZE)
                if not data:
                    _exit(1)  # the engine is gone, and what is in hand goes back to the queue
                self._take(self.reader.feed(data))
        return self.code

    def _take(self, frames: List[p.Frame]) -> None:
        messages: List[Delivery] = []
        for found in frames:
            kind, header, _ = found
            try:
                if kind == p.MSG:
                    messages.append(self._checked(found))
                elif kind in (p.CALLED, p.ACCEPTED, p.RESPONSE):
                    self.engine.answered(found)
                elif kind == p.PING:
                    self.channel.post(p.frame(p.PONG, header[:1]))
                    self.channel.try_flush()
                elif kind == p.STATE:
                    (self.engine.resumed.clear if header[0] else self.engine.resumed.set)()
                elif kind == p.DRAIN:
                    self._deliver(messages)
                    messages = []
                    self._beside(self._drain)
                elif kind == p.INIT:
                    self._init(header)
                # a type of a later version says nothing to this one
            except (IndexError, TypeError, ValueError):
                raise p.ProtocolError("a %s frame with a wrong header" % p.NAMES.get(kind, kind)) from None
        self._deliver(messages)

    def _checked(self, found: p.Frame) -> Delivery:
        header = found[1]
        if self.jobs is None:
            raise p.ProtocolError("MSG before READY")
        if len(header) < 10 or not 0 <= header[1] < self.jobs.count:
            raise p.ProtocolError("MSG for a job that there is not, or with too short a header")
        if header[0] in self.jobs.in_hand:
            raise p.ProtocolError("MSG with the id of a message that is in hand")
        self.jobs.in_hand[header[0]] = header[1]
        return found

    def _deliver(self, messages: List[Delivery]) -> None:
        if messages and self.jobs is not None:
            self.jobs.deliver(messages)

    def _beside(self, work: Any) -> None:
        """Runs something that may wait in a thread of its own, so that PING is answered."""
        threading.Thread(target=self._guarded, args=(work,), name=work.__name__, daemon=True).start()

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except OSError:
            _exit(1)  # the engine is gone
        except BaseException as error:
            print("the worker failed\n%s" % trace(error), file=sys.stderr)
            _exit(1)

    def _end(self, code: int) -> None:
        self.code = code
        os.write(self._wake_out, b"x")

    # --- start ------------------------------------------------------------------------------------

    def _init(self, header: List[Any]) -> None:
        init: Dict[str, Any] = header[0]
        if not isinstance(init, dict) or self.starting:
            raise p.ProtocolError("INIT twice, or without its map")
        self.starting = True
        limit = init.get("max_frame")
        if limit:
            self.reader.limit = self.engine.max_frame = int(limit)
        self._logging(str(init.get("log_level") or "info"))

        def start() -> None:
            try:
                jobs = self._start(init)
            except (LoadError, StartFailed, SettingError) as error:
                code = getattr(error, "code", "start-failed" if isinstance(error, StartFailed) else "setting")
                self.channel.send(p.FAILED, [code, str(error)])
                self._end(1)
                return
            self.jobs = jobs
            self.channel.send(p.READY, [jobs.count])
            if init.get("kind") == "Service":
                jobs.run_services()

        self._beside(start)

    def _start(self, init: Dict[str, Any]) -> Jobs:
        if int(init.get("protocol") or 0) != p.VERSION:
            raise LoadError("protocol", "the engine speaks version %s of the worker protocol, this SDK %d" % (init.get("protocol"), p.VERSION))
        add_paths(init.get("python_path") or [])
        cls = load(str(init.get("class") or ""))
        if init.get("kind") and kind_of(cls) != init["kind"]:
            raise LoadError("wrong-kind", "%s is a Business%s, not a Business%s" % (init["class"], kind_of(cls), init["kind"]))
        jobs = (LoopJobs if cls._is_async else ThreadJobs)(self.engine, cls, init)
        jobs.fatal = self._fatal
        jobs.start()
        if kind_of(cls) == "Service":
            jobs.in_hand.update({-1 - job: job for job in range(jobs.count)})
        return jobs

    def _logging(self, level: str) -> None:
        root = logging.getLogger()
        root.handlers[:] = [self.log]
        root.setLevel(LEVELS.get(level.lower(), logging.INFO))
        logging.getLogger("asyncio").setLevel(max(root.level, logging.WARNING))
        logging.captureWarnings(True)
        threading.excepthook = lambda args: logging.getLogger("hie.host").error(
            "a thread of the host ended\n%s", trace(args.exc_value) if args.exc_value else "?"
        )

    # --- end --------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Finishes what is in hand, stops the hosts, says BYE."""
        self.engine.stopping.set()
        self.engine.resumed.set()  # who waits for the end of a pause is told that it stops
        if self.jobs is not None:
            self.jobs.wait_idle()
            self.jobs.stop()
        self.channel.send(p.BYE, [])
        self._end(0)

    def _fatal(self, text: str) -> None:
        """A service cannot go on: the process ends, and the engine restarts it by its policy."""

        def end() -> None:
            try:
                self.log.send("error", text + "; the worker ends")
                self.engine.stopping.set()
                if self.jobs is not None:
                    self.jobs.stop()
            finally:
                _exit(1)

        self._beside(end)


if __name__ == "__main__":
    sys.exit(main())
