"""What the documents and the packaging promise: the README's code runs, the syntax is that of 3.9."""

import ast
import os
import re
import subprocess
import sys
import tempfile
import unittest

from tests.fake_engine import PATIENCE_S, SOURCE

SDK = os.path.dirname(SOURCE)
ROOT = os.path.dirname(os.path.dirname(SDK))


def python_files(*folders):
    for folder in folders:
        for place, _, names in os.walk(folder):
            yield from (os.path.join(place, name) for name in names if name.endswith(".py"))


class Readme(unittest.TestCase):
    def test_the_first_host_passes_its_test(self):
        with open(os.path.join(SDK, "README.md"), encoding="utf-8") as file:
            blocks = re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("custom/local/capitals.py", blocks[0]), ("tests/test_capitals.py", blocks[1])):
                path = os.path.join(folder, name)
                os.makedirs(os.path.dirname(path))
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            done = subprocess.run(
                [sys.executable, "-m", "unittest", "discover", "-s", "tests"],
                cwd=folder, env=dict(os.environ, PYTHONPATH=SOURCE), timeout=PATIENCE_S, capture_output=True, text=True,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("Ran 1 test", done.stderr)

    def test_all_blocks_are_python(self):
        with open(os.path.join(SDK, "README.md"), encoding="utf-8") as file:
            for block in re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL):
                compile(block, "README.md", "exec")


class Syntax(unittest.TestCase):
    def test_the_syntax_is_that_of_python_3_9(self):
        count = 0
        for path in python_files(SDK, os.path.join(ROOT, "examples"), os.path.join(ROOT, "crates", "hie", "src")):
            if os.path.basename(path) == "broken_syntax.py":
                continue
            with open(path, encoding="utf-8") as file:
                ast.parse(file.read(), path, feature_version=(3, 9))
            count += 1
        self.assertGreater(count, 20)

    def test_nothing_but_the_standard_library_is_imported(self):
        if not hasattr(sys, "stdlib_module_names"):
            self.skipTest("Python 3.10 or newer knows the names of its library")
        for path in python_files(os.path.join(SOURCE, "hie")):
            with open(path, encoding="utf-8") as file:
                tree = ast.parse(file.read(), path)
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                for name in names:
                    self.assertIn(name.split(".")[0], {*sys.stdlib_module_names, "hie"}, path)


if __name__ == "__main__":
    unittest.main()
