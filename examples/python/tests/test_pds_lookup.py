"""The PDS look-up, without an engine."""

import unittest

from custom.nhs.pds_lookup import REGISTER, PdsLookup, is_nhs_number
from hie.testing import TestEngine


def adt(pid_3, name="BAKER^TOM", charset="UNICODE UTF-8"):
    msh = "MSH|^~\\&|PAS|TRUST|HIE|TRUST|20260301||ADT^A08|77|P|2.4||||||%s" % charset
    return ("%s\rPID|1||%s||%s||19780114|M|||1 HIGH ST^^LEEDS^^LS1 1AA\rPV1|1|I\r" % (msh, pid_3, name)).encode()


class Numbers(unittest.TestCase):
    def test_modulus_11(self):
        for number in list(REGISTER) + ["9434765919", "9434765870"]:
            self.assertTrue(is_nhs_number(number), number)
        for number in ["9434765918", "943476591", "94347659190", "943476591X", "", "٩٤٣٤٧٦٥٩١٩"]:
            self.assertFalse(is_nhs_number(number), number)

    def test_no_single_wrong_digit_and_no_swap_passes(self):
        number = "9434765919"
        for at in range(10):
            for digit in "0123456789":
                if digit != number[at]:
                    self.assertFalse(is_nhs_number(number[:at] + digit + number[at + 1 :]))
        for at in range(9):
            swapped = number[:at] + number[at + 1] + number[at] + number[at + 2 :]
            self.assertEqual(is_nhs_number(swapped), swapped == number)


class Lookup(unittest.TestCase):
    def ask(self, raw, targets=(), **settings):
        self.engine = TestEngine(targets=targets)
        self.engine.start(PdsLookup, **settings)
        return self.engine.send(raw)

    def test_a_known_patient_is_verified_and_corrected(self):
        outcome = self.ask(adt("555^^^PAS^PI~999 000 0026^^^NHS^NH"))
        reply = outcome.reply
        self.assertEqual((outcome.verdict, outcome.note), ("completed", "verified, 2 fields corrected"))
        self.assertEqual((reply["PID-5.2"], reply["PID-11.5"], reply["PID-32"]), ("THOMAS", "M1 1AE", "01"))
        self.assertEqual(reply["PID-3[1].1"], "555")  # what is right stays
        self.assertEqual(reply.get_raw("PV1"), b"PV1|1|I")
        self.assertEqual(outcome.sends, [])

    def test_with_targets_the_traced_message_goes_on(self):
        outcome = self.ask(adt("9990000026^^^NHS^NH"), targets=["Ward"])
        self.assertEqual([send.target for send in outcome.sends], ["Ward"])
        self.assertEqual(outcome.sends[0].message.raw, outcome.reply.raw)

    def test_statuses(self):
        table = [("555^^^PAS^PI", "02"), ("9990000027^^^NHS^NH", "02"), ("9434765919^^^NHS^NH", "04"), ("^^^NHS^NH", "02")]
        for pid_3, status in table:
            outcome = self.ask(adt(pid_3))
            self.assertEqual((outcome.verdict, outcome.reply["PID-32"]), ("completed", status))

    def test_a_wrong_number_can_be_rejected_and_is_not_told(self):
        outcome = self.ask(adt("9990000027^^^NHS^NH"), on_invalid="reject")
        self.assertEqual(outcome.verdict, "failed")
        self.assertIn("wrong check digit", outcome.reason)
        self.assertNotIn("9990000027", outcome.reason)
        self.assertEqual(self.ask(b"MSH|^~\\&|A\r").reason, "rejected: the message has no PID segment")

    def test_nothing_is_corrected_unless_it_is_wanted(self):
        outcome = self.ask(adt("9990000026^^^NHS^NH"), CorrectDemographics=False)
        self.assertEqual((outcome.reply["PID-5.2"], outcome.reply["PID-32"]), ("TOM", "01"))

    def test_a_name_that_the_character_set_lacks_is_left(self):
        outcome = self.ask(adt("9990000034^^^NHS^NH", name="ONEILL^SIAN", charset="8859/5"))
        self.assertEqual((outcome.reply["PID-5.1"], outcome.reply["PID-5.2"]), ("O'NEILL", "SIAN"))
        self.assertIn("warning: not corrected: PID-5.2", self.engine.logs[-1])


if __name__ == "__main__":
    unittest.main()
