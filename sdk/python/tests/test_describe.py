"""``python3 -m hie.describe``: what ``hie check`` reads."""

import json
import os
import subprocess
import sys
import unittest

from hie import BusinessProcess, Setting, SettingError
from hie.settings import settings_of, values_for
from tests.fake_engine import HERE, PATIENCE_S, SOURCE


def describe(cls):
    return subprocess.run(
        [sys.executable, "-m", "hie.describe", cls, "--path", os.path.join(HERE, "hosts")],
        capture_output=True, env=dict(os.environ, PYTHONPATH=SOURCE), timeout=PATIENCE_S, text=True,
    )  # fmt: skip


class Describe(unittest.TestCase):
    def test_a_class_with_settings_of_every_type(self):
        done = describe("custom.test.hosts.Configured")
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual((found["class"], found["kind"], found["summary"]), ("custom.test.hosts.Configured", "Process", "Says its settings."))
        rows = {row["name"]: row for row in found["settings"]}
        self.assertEqual(list(rows), ["url", "timeout", "retries", "mode", "StrictMode", "key", "copies", "folder"])
        brief = {name: (row["type"], row["default"], row["required"], row["target"]) for name, row in rows.items()}
        self.assertEqual(brief["url"], ("text", "https://example.org", False, "Host"))
        self.assertEqual(brief["timeout"], ("seconds", "5", False, "Host"))
        self.assertEqual(brief["retries"], ("int", "3", False, "Host"))
        self.assertEqual(brief["mode"], ("choice", "warn", False, "Host"))
        self.assertEqual(brief["StrictMode"], ("bool", "false", False, "Host"))
        self.assertEqual(brief["key"], ("text", None, True, "Adapter"))
        self.assertEqual(brief["copies"], ("items", "", False, "Host"))
        self.assertEqual(brief["folder"], ("path", None, False, "Host"))
        self.assertEqual((rows["timeout"]["min"], rows["timeout"]["max"], rows["mode"]["choices"]), (0.1, 60, ["warn", "fail"]))
        self.assertEqual(rows["url"]["doc"], "Where.")

    def test_what_cannot_be_described_is_one_sentence(self):
        table = [
            ("custom.test.nowhere.Class", "no module custom.test.nowhere"),
            ("custom.test.hosts.Ecko", "did you mean Echo"),
            ("custom.test.hosts.NotAHost", "not a host class"),
            ("custom.test.broken_syntax.Class", "SyntaxError"),
            ("custom.test.broken_import.Class", "no_such_library_at_all"),
            ("nothing", "not a class name"),
        ]
        for cls, said in table:
            done = describe(cls)
            self.assertEqual((done.returncode, done.stdout), (1, ""), cls)
            self.assertIn(said, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)


class Declaring(unittest.TestCase):
    def test_wrong_declarations_are_named(self):
        def declared(annotation, setting):
            return type("Host", (BusinessProcess,), {"__annotations__": {"x": annotation}, "x": setting})

        table = [
            (declared(object, Setting()), "type is not known"),
            (declared(int, Setting("many")), "a whole number expected"),
            (declared(int, Setting(5, max=3)), "at most 3"),
            (declared(str, Setting("c", choices=["a", "b"])), "one of a, b"),
            (declared(str, Setting(type="choice")), "needs choices"),
        ]
        for cls, said in table:
            with self.assertRaisesRegex(SettingError, said):
                settings_of(cls)
        for wrong in ({"type": "color"}, {"target": "Nobody"}, {"choices": []}):
            with self.assertRaises(SettingError):
                Setting("x", **wrong)

    def test_values_are_checked_and_inherited(self):
        class Base(BusinessProcess):
            size: int = Setting(10, type="bytes", min=1)
            limit: float = Setting(5.0, name="Limit", unlimited=True)

        class Child(Base):
            limit: float = Setting(7.0, name="Limit", unlimited=True)
            patience: float = Setting(unlimited=True)
            small: float = Setting(0.00001)
            fixed: bool = Setting(True)

        self.assertEqual(values_for(Child, {}), {"size": 10, "limit": 7.0, "patience": None, "small": 0.00001, "fixed": True})
        rows = {row.name: row.describe() for row in settings_of(Child)}
        self.assertEqual((rows["patience"]["default"], rows["Limit"]["min"], rows["Limit"]["default"]), ("-1", -1, "7"))
        self.assertEqual((rows["small"]["default"], rows["small"]["choices"]), ("0.00001", []))
        self.assertEqual(values_for(Child, {"Limit": -1})["limit"], None)
        self.assertEqual(values_for(Child, {"Limit": None})["limit"], None)  # a time without limit
        self.assertEqual(values_for(Child, {"Limit": 2, "size": "4"})["limit"], 2.0)
        for wrong in ({"size": 0}, {"size": 1.5}, {"fixed": "perhaps"}, {"Limit": "soon"}, {"Limit": -2}, {"small": -1}):
            with self.assertRaises(SettingError):
                values_for(Child, wrong)


if __name__ == "__main__":
    unittest.main()
