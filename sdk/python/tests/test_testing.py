"""The test double: hosts without an engine, with the real hooks."""

import asyncio
import unittest

from hie import (
    BusinessOperation,
    BusinessProcess,
    BusinessService,
    RequestTimeout,
    Result,
    Setting,
    SettingError,
    UnknownTarget,
)
from hie.testing import TestEngine

ADT = b"MSH|^~\\&|PAS|A\rPID|1||1^^^NHS||SMITH^JOHN\r"


class Upper(BusinessProcess):
    """Asks, changes, sends."""

    field: str = Setting("PID-5.1", name="Field")

    def on_message(self, message):
        self.log.info("message %d", message.id)
        reply = self.send_request_sync("PDS", b"who?", timeout=3)
        message[self.field] = (message[self.field] or "").upper() + (reply.text if reply else "")
        self.send_request_async("Audit", b"seen")
        return message


class AsyncUpper(BusinessProcess):
    """The same on a loop."""

    async def on_message(self, message):
        first, second = await asyncio.gather(
            self.send_request_sync("PDS", b"1"), self.send_request_sync("PDS", b"2")
        )
        await self.send_request_async("Audit", b"seen")
        return Result.completed(reply=first.raw + second.raw)


class Poll(BusinessService):
    """Counts."""

    every: float = Setting(0.001)

    def run(self):
        n = 0
        while not self.wait(self.every):
            n += 1
            self.accept(b"%d" % n, origin="counter")
            self.stat(polled=1)


class AsyncPoll(BusinessService):
    """Counts on a loop."""

    async def run(self):
        reply = await self.accept(ADT, wait=True)
        while not await self.wait(0.001):
            await self.accept(reply)


class Double(unittest.TestCase):
    def test_a_process_is_tested_without_an_engine(self):
        engine = TestEngine(targets=["Ward", "Lab"], responses={"PDS": b"!"}, items=["Audit"])
        engine.start(Upper)
        outcome = engine.send(ADT, source="PAS")
        self.assertEqual(outcome.verdict, "completed")
        self.assertEqual([(s.target, s.message["PID-5.1"]) for s in outcome.sends], [("Ward", "smith!".upper()), ("Lab", "SMITH!")])
        self.assertEqual([(r.target, r.timeout, r.message.raw) for r in engine.requests], [("PDS", 3, b"who?"), ("Audit", None, b"seen")])
        self.assertEqual(engine.logs, ["info: message 1"])

    def test_scripts(self):
        engine = TestEngine(
            targets=["Ward"], responses={"PDS": [None, lambda m: m.raw[:1], RequestTimeout("timeout", "late")]}, items=["Audit"]
        )
        engine.start(Upper, field="PID-5.2")
        self.assertEqual(engine.send(ADT).sends[0].message["PID-5.2"], "JOHN")
        self.assertEqual(engine.send(ADT).sends[0].message["PID-5.2"], "JOHNw")
        outcome = engine.send(ADT)
        self.assertEqual((outcome.verdict, outcome.sends), ("failed", []))
        self.assertRegex(outcome.reason, "^RequestTimeout in test_testing.py")

    def test_an_async_host(self):
        with TestEngine(responses={"PDS": lambda m: m.raw * 2}, items=["Audit"]) as engine:
            engine.start(AsyncUpper)
            self.assertEqual(engine.send(ADT).reply.raw, b"1122")

    def test_unknown_targets_and_settings_are_errors(self):
        engine = TestEngine(targets=["Ward"], responses={"PDX": b""})
        engine.start(Upper)
        self.assertRegex(engine.send(ADT).reason, "^UnknownTarget")
        with self.assertRaisesRegex(SettingError, "did you mean"):
            TestEngine().start(Upper, feild="PID-5")

        class Wild(BusinessOperation):
            """Answers nothing that can be sent."""

            def on_message(self, message):
                from hie import Send

                return [Send("Nowhere", b"")]

        engine = TestEngine()
        engine.start(Wild)
        with self.assertRaises(UnknownTarget):
            engine.send(b"x")

    def test_services(self):
        with TestEngine(name="Poller") as engine:
            host = engine.start(Poll)
            self.assertEqual(host.name, "Poller")
            engine.run()
            taken = engine.wait_accepted(3)
            self.assertEqual([(t.message.raw, t.origin) for t in taken[:3]], [(b"1", "counter"), (b"2", "counter"), (b"3", "counter")])
        self.assertGreaterEqual(engine.stats["polled"], 2)
        with TestEngine() as engine:
            engine.response = b"yes"
            engine.start(AsyncPoll)
            engine.run()
            self.assertEqual([t.message.raw for t in engine.wait_accepted(2)[:2]], [ADT, b"yes"])

    def test_a_service_that_raises_says_so(self):
        class Broken(BusinessService):
            """Raises."""

            def run(self):
                raise OSError("no port")

        engine = TestEngine()
        engine.start(Broken)
        engine.run()
        with self.assertRaisesRegex(OSError, "no port"):
            engine.wait_accepted(1)


if __name__ == "__main__":
    unittest.main()
