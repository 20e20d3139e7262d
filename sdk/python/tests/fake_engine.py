"""The engine's side of the worker protocol, for tests: a worker process over a socket pair.

Owns starting the worker and speaking with it frame by frame. Nothing here decides anything: a test
says each frame and looks at each answer.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from hie import _protocol as p

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(os.path.dirname(HERE), "src")
PATIENCE_S = 60.0
"""How long a test waits for what must come; generous, for a busy machine."""


class FakeEngine:
    """One worker process, started as the engine starts it."""

    def __init__(self, python_path: Optional[List[str]] = None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = dict(os.environ, PYTHONPATH=SOURCE, HIE_WORKER="1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hie.worker", "--item", "Test Item", "--worker", "0"],
            stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            start_new_session=True,
        )  # fmt: skip
        theirs.close()
        self.socket = ours
        self.reader = p.FrameReader()
        self.frames: List[p.Frame] = []
        self.logs: List[Any] = []
        self.python_path = [os.path.join(HERE, "hosts")] if python_path is None else python_path

    # --- speaking ---------------------------------------------------------------------------------

    def send(self, kind: int, header: Any, body: bytes = b"") -> None:
        self.socket.sendall(p.frame(kind, header, body))

    def init(self, cls: str, kind: str = "Process", **more: Any) -> None:
        init: Dict[str, Any] = {
            "protocol": 1, "item": "Test Item", "class": cls, "kind": kind, "worker": 0, "jobs": 1,
            "settings": {}, "targets": [], "config_file": "production.yaml",
            "python_path": self.python_path, "max_frame": 1 << 24, "log_level": "info",
        }  # fmt: skip
        init.update(more)
        self.send(p.INIT, init)  # the map itself is the header

    def start(self, cls: str, kind: str = "Process", **more: Any) -> int:
        """HELLO, INIT, READY; gives the credit."""
        hello = self.expect(p.HELLO)
        assert hello[1][0] == 1 and hello[1][1].startswith("python "), hello
        self.init(cls, kind, **more)
        credit: int = self.expect(p.READY)[1][0]
        return credit

    def message(self, id: int, body: bytes, job: int = 0, **more: Any) -> None:
        fields: Dict[str, Any] = {
            "attempt": 1, "deadline_ms": None, "source": "In", "content": "hl7v2", "priority": 2,
            "session": 77, "created_ms": 1700000000000, "possible_duplicate": False,
        }  # fmt: skip
        fields.update(more)
        self.send(p.MSG, [id, job] + list(fields.values()), body)

    # --- listening --------------------------------------------------------------------------------

    def expect(self, kind: int) -> p.Frame:
        """The next frame, which must be of this kind; LOG frames are put aside."""
        found = self.next()
        assert found[0] == kind, "expected %s, got %s %s; logs: %s" % (
            p.NAMES[kind], p.NAMES.get(found[0]), found[1], self.logs)  # fmt: skip
        return found

    def next(self) -> p.Frame:
        """The next frame that is no LOG."""
        end = time.monotonic() + PATIENCE_S
        while True:
            while self.frames:
                found = self.frames.pop(0)
                if found[0] != p.LOG:
                    return found
                self.logs.append(found[1])
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                raise AssertionError("nothing came within %d s; logs: %s" % (PATIENCE_S, self.logs))
            data = self.socket.recv(1 << 16)
            if not data:
                _, errors = self.process.communicate(timeout=PATIENCE_S)
                raise AssertionError("the worker ended: %s" % errors.decode())
            self.frames += self.reader.feed(data)

    def log_texts(self) -> str:
        """All LOG lines so far, as one text."""
        return "\n".join("%s %s" % (level, text) for level, text in self.logs)

    def ends(self) -> int:
        """Waits for the process to end; gives its code. Its output is in ``out`` and ``err``."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        self.out, self.err = out.decode(), err.decode()
        return self.process.returncode

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Polls a condition with patience."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, "never: " + what
            time.sleep(0.01)

    def drain(self) -> int:
        """A proper stop; gives the exit code."""
        self.send(p.DRAIN, [])
        self.expect(p.BYE)
        return self.ends()

    def close(self) -> None:
        """Whatever the test left behind."""
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=PATIENCE_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
