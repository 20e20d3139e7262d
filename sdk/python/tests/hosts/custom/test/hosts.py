"""Hosts that do everything a worker must bear."""

import asyncio
import logging
import os
import sqlite3
import sys
import threading
import time
from typing import List

from hie import (
    BusinessOperation,
    BusinessProcess,
    BusinessService,
    Reject,
    RequestError,
    RequestTimeout,
    Result,
    Retry,
    Send,
    Setting,
)


class Echo(BusinessOperation):
    """Answers what it got.

    And a second paragraph."""

    def on_message(self, message):
        return message.raw[::-1]


class Router(BusinessProcess):
    """Does what the message says."""

    def on_message(self, message):
        word = message.text.split()[0]
        return getattr(self, "do_" + word)(message)

    def do_nothing(self, message):
        return None

    def do_same(self, message):
        return message

    def do_bytes(self, message):
        return b"new bytes"

    def do_list(self, message):
        return [Send("A", b"one"), Send("B", None, 0), ("C", "three")]

    def do_targets(self, message):
        self.send_to_targets(b"x")
        return Result.completed(reply=b"answer", note="sent")

    def do_respond(self, message):
        self.send_response(message.id, b"response")

    def do_fail(self, message):
        raise ValueError("SECRET " + message.text)

    def do_memory(self, message):
        bytearray(1 << 60)

    def do_cause(self, message):
        try:
            {}["SECRET"]
        except KeyError as error:
            raise RuntimeError("SECRET") from error

    def do_exit(self, message):
        sys.exit(3)

    def do_reject(self, message):
        raise Reject("not for us")

    def do_retry(self, message):
        raise Retry("later")

    def do_suspend(self, message):
        return Result.suspended("look at it")

    def do_wrong(self, message):
        return 42

    def do_wrongsend(self, message):
        return [Send("A", 42)]

    def do_wrongtarget(self, message):
        return [Send(b"A", b"x")]

    def do_wrongpriority(self, message):
        return [Send("A", b"x", 9)]

    def do_surrogate(self, message):
        return Result.failed("half \ud800 a pair")

    def do_huge(self, message):
        return Result.completed(reply=b"x" * (1 << 22))

    def do_print(self, message):
        print("printed")
        print("to stderr", file=sys.stderr)
        os.write(1, b"written\n")
        return Result.completed(reply=repr(sys.stdin.read()).encode())

    def do_log(self, message):
        self.log.warning("logged %d", 7)
        self.log.debug("not at this level")
        logging.getLogger("library").error("from a library")
        try:
            int("SECRET")
        except ValueError:
            self.log.exception("caught")

    def do_call(self, message):
        reply = self.send_request_sync("PDS", b"question", timeout=2.5, priority=0)
        return Result.completed(reply=None if reply is None else b"got " + reply.raw)

    def do_same_call(self, message):
        self.send_request_sync("PDS")

    def do_async(self, message):
        return Result.completed(reply=str(self.send_request_async("Out", b"note", priority=3)).encode())

    def do_catch(self, message):
        try:
            self.send_request_sync("PDS", b"q")
        except RequestTimeout as error:
            return Result.failed("caught " + error.code)
        except ValueError as error:
            return Result.failed("value error " + error.code)
        except RequestError as error:
            return Result.failed("other " + error.code)


class AsyncRouter(Router):
    """The same on the event loop."""

    async def on_message(self, message):
        word = message.text.split()[0]
        if word == "call":
            reply = await self.send_request_sync("PDS", b"question", timeout=2.5, priority=0)
            return Result.completed(reply=None if reply is None else b"got " + reply.raw)
        if word == "async":
            return Result.completed(reply=str(await self.send_request_async("Out", b"note", priority=3)).encode())
        await asyncio.sleep(0)
        return getattr(self, "do_" + word)(message)


class Hooked(BusinessProcess):
    """Every hook, noted."""

    def on_init(self):
        self.log.warning("on_init")

    async def on_start(self):
        await asyncio.sleep(0)
        self.log.warning("on_start")

    def on_before_process(self, message):
        if b"stop" in message.raw:
            raise Reject("stopped before")
        return message.raw + b" before"

    def on_process_input(self, message):
        if b"fail" in message.raw:
            raise OSError("SECRET")
        return Result.completed(reply=message.raw)

    async def on_after_process(self, message, result):
        await asyncio.sleep(0)
        return Result.completed(reply=result.reply + b" after")

    def on_process_error(self, message, exception):
        if b"again" in message.raw:
            raise KeyError("SECRET")
        if b"recover" in message.raw:
            return Result.completed(reply=b"recovered from " + type(exception).__name__.encode())

    def on_stop(self):
        self.log.warning("on_stop")
        raise RuntimeError("a hook that raises at the end")

    def on_teardown(self):
        self.log.warning("on_teardown")


class Blocker(BusinessProcess):
    """Blocks until a file is there; its path is the message."""

    def on_message(self, message):
        while not os.path.exists(message.text):
            time.sleep(0.005)


class Tight(BusinessProcess):
    """Never lets go of the interpreter by itself."""

    def on_message(self, message):
        while True:
            pass


class Threads(BusinessOperation):
    """A database connection that may be used in the thread that opened it only."""

    def on_start(self):
        self.database = sqlite3.connect(":memory:")
        self.thread = threading.current_thread().name

    def on_message(self, message):
        assert threading.current_thread().name == self.thread
        return str(self.database.execute("select 40 + 2").fetchone()[0]).encode()

    def on_stop(self):
        self.database.close()


class Configured(BusinessProcess):
    """Says its settings."""

    url: str = Setting("https://example.org", doc="Where.")
    timeout: float = Setting(5.0, min=0.1, max=60, doc="How long, in seconds.")
    retries: int = Setting(3, min=0, max=10)
    mode: str = Setting("warn", choices=["warn", "fail"])
    strict: bool = Setting(False, name="StrictMode")
    key: str = Setting(doc="The key.", target="Adapter")
    copies: List[str] = Setting([], doc="Items that get a copy.")
    folder: str = Setting(optional=True, type="path")

    def __init__(self):
        self.seen = self.url  # settings are there in the constructor

    def on_message(self, message):
        values = [self.seen, self.timeout, self.retries, self.mode, self.strict, self.key, self.copies, self.folder]
        values += [self.name, self.target_config_names, self.job, self.get_setting("Host", "Other", "none")]
        return Result.completed(reply=repr(values).encode())


class NoStart(BusinessProcess):
    """Cannot start."""

    def on_start(self):
        raise ConnectionRefusedError("no database")

    def on_message(self, message):
        return None


class Poller(BusinessService):
    """Takes three messages in, one of them waiting."""

    def on_start(self):
        self.log.warning("service starts")

    def run(self):
        first = self.accept(b"MSH|^~\\&|one\r", origin="a file")
        assert (first.session, first.id) == (9, 100), first
        reply = self.accept(b"two", wait=True, timeout=20)
        self.accept(b"answer " + (reply.raw if reply else b"none"))
        try:
            self.accept_bad(b"bad", "cannot be read", handler="Bad")
        except RequestError as error:
            self.keep(b"kept", "Discarded", error.code)
        self.stat(address="127.0.0.1:1", connections=2, rejected=3)
        self.stopping.wait()
        try:
            self.accept(b"too late")
        except RequestError as error:
            self.log.warning("refused: %s", error.code)

    def on_stop(self):
        self.log.warning("service stops")


class AsyncPoller(BusinessService):
    """The same on the event loop, two at once."""

    async def run(self):
        await asyncio.gather(self.accept(b"one"), self.accept(b"two"))
        while not await self.wait(10):
            pass
        self.log.warning("run ends")


class Dying(BusinessService):
    """Its run raises."""

    def run(self):
        raise ConnectionResetError("SECRET")


class Quitter(BusinessService):
    """Its run returns."""

    def run(self):
        return None


class NotAHost:
    """No host at all."""


class NoMessage(BusinessProcess):
    """Handles nothing."""
