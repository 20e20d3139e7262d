"""The router that asks first, without an engine."""

import unittest

from custom.nhs.demographics_router import DemographicsRouter
from hie import RequestTimeout
from hie.testing import TestEngine

ADT = b"MSH|^~\\&|PAS|TRUST|HIE|TRUST|20260301||ADT^A08|77|P|2.4\rPID|1||9990000026^^^NHS^NH||BAKER^TOM\r"
TRACED = ADT.replace(b"TOM", b"THOMAS")


class Router(unittest.TestCase):
    def ask(self, response):
        engine = TestEngine(targets=["Ward", "Audit"], responses={"PDS": response})
        engine.start(DemographicsRouter, LookupConfigName="PDS")
        return engine.send(ADT)

    def test_what_the_look_up_answers_goes_to_every_target(self):
        outcome = self.ask(TRACED)
        self.assertEqual([send.target for send in outcome.sends], ["Ward", "Audit"])
        self.assertEqual({send.message.raw for send in outcome.sends}, {TRACED})

    def test_a_look_up_that_does_not_answer_fails_the_message(self):
        outcome = self.ask(RequestTimeout("timeout", "PDS did not answer within 5 s"))
        self.assertEqual((outcome.verdict, outcome.sends), ("failed", []))


if __name__ == "__main__":
    unittest.main()
