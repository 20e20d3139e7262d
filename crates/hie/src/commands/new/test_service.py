"""StarterClass, without an engine."""

import os
import tempfile
import time
import unittest

from STARTER_MODULE import StarterClass

from hie.testing import TestEngine


class StarterClassTest(unittest.TestCase):
    def test_files_are_taken_in_and_deleted(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "one.hl7")
            with open(path, "wb") as file:
                file.write(b"MSH|^~\\&|A\r")
            with TestEngine() as engine:
                engine.start(StarterClass, folder=folder, interval=0.01)
                engine.run()
                taken = engine.wait_accepted(1)
                self.assertEqual((taken[0].message.raw, taken[0].origin), (b"MSH|^~\\&|A\r", "one.hl7"))
                end = time.monotonic() + 10
                while os.path.exists(path) and time.monotonic() < end:
                    time.sleep(0.01)
                self.assertFalse(os.path.exists(path))


if __name__ == "__main__":
    unittest.main()
