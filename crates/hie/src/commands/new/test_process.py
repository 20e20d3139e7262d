"""StarterClass, without an engine."""

import unittest

from STARTER_MODULE import StarterClass

from hie.testing import TestEngine

ADT = b"MSH|^~\\&|PAS|TRUST|HIE|TRUST|20260301||ADT^A01|1|P|2.4\rPID|1||123||Smith^John\r"


class StarterClassTest(unittest.TestCase):
    def test_the_field_is_sent_on_in_capitals(self):
        engine = TestEngine(targets=["Next"])
        engine.start(StarterClass)
        outcome = engine.send(ADT)
        self.assertEqual(outcome.verdict, "completed")
        self.assertEqual([send.target for send in outcome.sends], ["Next"])
        self.assertEqual(outcome.sends[0].message["PID-5"], "SMITH^John")

    def test_a_message_without_the_field_is_rejected(self):
        engine = TestEngine(targets=["Next"])
        engine.start(StarterClass, field="ZZZ-1")
        outcome = engine.send(ADT)
        self.assertEqual((outcome.verdict, outcome.sends), ("failed", []))
        self.assertIn("ZZZ-1", outcome.reason)


if __name__ == "__main__":
    unittest.main()
