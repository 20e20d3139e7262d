"""The audit trail, without an engine."""

import json
import os
import tempfile
import unittest

from custom.nhs.audit_operation import AuditTrail
from hie.testing import TestEngine

ADT = b"MSH|^~\\&|PAS|TRUST|HIE|TRUST|20260301||ADT^A01|77|P|2.4\rPID|1||9990000026||SECRET^NAME\r"


class Audit(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "audit.jsonl")

    def lines(self):
        with open(self.path, encoding="ascii") as file:
            return [json.loads(line) for line in file]

    def test_each_message_is_a_line_without_the_patient(self):
        with TestEngine() as engine:
            engine.start(AuditTrail, path=self.path)
            self.assertEqual(engine.send(ADT, source="PAS", session=9).verdict, "completed")
            self.assertEqual(engine.send(b"no HL7", attempt=2).verdict, "completed")
        first, second = self.lines()
        self.assertEqual((first["type"], first["control_id"], first["source"], first["session"]), ("ADT_A01", "77", "PAS", 9))
        self.assertEqual((first["bytes"], first.get("possible_duplicate")), (len(ADT), None))
        self.assertEqual((second.get("type"), second["possible_duplicate"]), (None, True))
        with open(self.path) as file:
            self.assertNotIn("SECRET", file.read())

    def test_it_appends_to_what_is_there(self):
        for _ in range(2):
            with TestEngine() as engine:
                engine.start(AuditTrail, FilePath=self.path, SyncToDisk=False)
                engine.send(ADT)
        self.assertEqual(len(self.lines()), 2)

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_a_full_disk_is_tried_again(self):
        engine = TestEngine()
        engine.start(AuditTrail, path="/dev/full")
        outcome = engine.send(ADT)
        self.assertEqual(outcome.verdict, "retry")
        self.assertIn("No space left", outcome.reason)
        engine.stop()

    def test_a_folder_that_is_not_there_keeps_it_from_starting(self):
        with self.assertRaises(FileNotFoundError):
            TestEngine().start(AuditTrail, path=os.path.join(self.path, "nowhere", "audit"))


if __name__ == "__main__":
    unittest.main()
