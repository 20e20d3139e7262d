"""StarterClass, without an engine."""

import os
import tempfile
import unittest

from STARTER_MODULE import StarterClass

from hie.testing import TestEngine


class StarterClassTest(unittest.TestCase):
    def test_each_message_is_a_line(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "out")
            with TestEngine() as engine:
                engine.start(StarterClass, path=path)
                for message in (b"MSH|^~\\&|A\rPID|1\r", b"second"):
                    self.assertEqual(engine.send(message).verdict, "completed")
            with open(path, "rb") as file:
                self.assertEqual(file.read(), b"MSH|^~\\&|A\x0bPID|1\x0b\nsecond\n")


if __name__ == "__main__":
    unittest.main()
