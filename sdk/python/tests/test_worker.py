"""The worker process over a real socket, against a fake engine."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from hie import _protocol as p
from tests.fake_engine import PATIENCE_S, SOURCE, FakeEngine

HOSTS = "custom.test.hosts."


class Case(unittest.TestCase):
    def engine(self, cls=None, **init):
        engine = FakeEngine()
        self.addCleanup(engine.close)
        if cls is not None:
            engine.start(HOSTS + cls, **init)
        return engine

    def answer(self, engine, text, id=1, **about):
        """Sends one message, gives verdict, reason, reply, sends."""
        engine.message(id, text.encode(), content="plain", **about)
        return self.result(engine, id)

    def result(self, engine, id=1):
        _, header, body = engine.expect(p.RESULT)
        self.assertEqual(header[0], id)
        _, verdict, reason, note, reply_len, sends, response_from = header
        at = reply_len or 0
        reply = None if reply_len is None else body[:at]
        said = []
        for target, length, priority in sends:
            said.append((target, None if length is None else body[at : at + length], priority))
            at += length or 0
        self.assertEqual(at, len(body))
        return verdict, reason, reply, said


class Life(Case):
    def test_started_by_hand_it_explains_itself(self):
        done = subprocess.run(
            [sys.executable, "-m", "hie.worker"], stdin=subprocess.DEVNULL, capture_output=True,
            env=dict(os.environ, PYTHONPATH=SOURCE), timeout=PATIENCE_S,
        )  # fmt: skip
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"started by the engine", done.stderr)

    def test_hello_init_ready_message_drain_bye(self):
        engine = self.engine()
        self.assertEqual(engine.start(HOSTS + "Echo", kind="Operation", jobs=3), 3)
        self.assertEqual(self.answer(engine, "abc", job=2), ("completed", "", b"cba", []))
        self.assertEqual(engine.drain(), 0)

    def test_end_of_file_ends_it_even_when_hosts_are_busy(self):
        engine = self.engine("Tight")
        engine.message(1, b"x")
        engine.socket.close()
        self.assertNotEqual(engine.ends(), 0)

    def test_ping_is_answered_while_hosts_block_or_spin(self):
        with tempfile.TemporaryDirectory() as folder:
            gate = os.path.join(folder, "gate")
            engine = self.engine("Blocker", jobs=2)
            engine.message(1, gate.encode(), job=0)
            engine.message(2, gate.encode(), job=1)
            for n in range(3):
                engine.send(p.PING, [n])
                self.assertEqual(engine.expect(p.PONG)[1], [n])
            open(gate, "w").close()
            self.assertEqual({engine.expect(p.RESULT)[1][0] for _ in range(2)}, {1, 2})
        spinning = self.engine("Tight")
        spinning.message(1, b"x")
        spinning.send(p.PING, [7])
        self.assertEqual(spinning.expect(p.PONG)[1], [7])

    def test_a_quick_result_does_not_wait_for_a_slow_one(self):
        with tempfile.TemporaryDirectory() as folder:
            gate, open_gate = os.path.join(folder, "gate"), os.path.join(folder, "open")
            open(open_gate, "w").close()
            engine = self.engine("Blocker", jobs=4)
            header = [None, "In", "plain", 2, 77, 1700000000000, False]
            batch = [(1, 0, open_gate), (2, 1, gate), (3, 2, open_gate), (4, 3, gate)]
            engine.socket.sendall(b"".join(p.frame(p.MSG, [id, job, 1] + header, path.encode()) for id, job, path in batch))
            self.assertEqual({engine.expect(p.RESULT)[1][0] for _ in range(2)}, {1, 3})
            open(gate, "w").close()
            self.assertEqual({engine.expect(p.RESULT)[1][0] for _ in range(2)}, {2, 4})

    def test_an_init_in_an_array_is_read_as_well(self):
        engine = self.engine()
        engine.expect(p.HELLO)
        init = {"protocol": 1, "item": "I", "class": HOSTS + "Echo", "kind": "Operation", "python_path": engine.python_path}
        engine.send(p.INIT, [init])
        self.assertEqual(engine.expect(p.READY)[1], [1])

    def test_hosts_that_block_never_hold_up_the_jobs_behind_them(self):
        with tempfile.TemporaryDirectory() as folder:
            gate, open_gate = os.path.join(folder, "gate"), os.path.join(folder, "open")
            open(open_gate, "w").close()
            engine = self.engine("Blocker", jobs=16)
            header = [None, "In", "plain", 2, 77, 1700000000000, False]
            paths = [gate] * 8 + [open_gate] * 8  # the blocking ones first
            frames = [p.frame(p.MSG, [job + 1, job, 1] + header, path.encode()) for job, path in enumerate(paths)]
            engine.socket.sendall(b"".join(frames))
            self.assertEqual({engine.expect(p.RESULT)[1][0] for _ in range(8)}, set(range(9, 17)))
            for job in range(8, 16):  # and so again, one by one
                engine.message(100 + job, open_gate.encode(), job=job)
                self.assertEqual(engine.expect(p.RESULT)[1][0], 100 + job)
            open(gate, "w").close()
            self.assertEqual({engine.expect(p.RESULT)[1][0] for _ in range(8)}, set(range(1, 9)))

    def test_drain_finishes_what_is_in_hand(self):
        with tempfile.TemporaryDirectory() as folder:
            gate = os.path.join(folder, "gate")
            engine = self.engine("Blocker")
            engine.message(1, gate.encode())
            engine.send(p.DRAIN, [])
            engine.send(p.PING, [1])
            self.assertEqual(engine.expect(p.PONG)[1], [1])
            open(gate, "w").close()
            self.assertEqual(engine.expect(p.RESULT)[1][:2], [1, "completed"])
            engine.expect(p.BYE)
            self.assertEqual(engine.ends(), 0)

    @unittest.skipUnless(sys.platform == "linux", "PR_SET_PDEATHSIG is of Linux")
    def test_it_dies_with_its_parent_though_the_channel_stays_open(self):
        # A parent in between starts the worker and dies; this process holds the channel open.
        ours, theirs = socket.socketpair()
        code = (
            "import subprocess, sys, os\n"
            "child = subprocess.Popen([sys.executable, '-m', 'hie.worker'], stdin=0, stdout=2)\n"
            "print(child.pid, flush=True)\n"
            "sys.stdin.close(); os.read(int(sys.argv[1]), 1)\n"
        )
        gate_in, gate_out = os.pipe()
        parent = subprocess.Popen(
            [sys.executable, "-c", code, str(gate_in)], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=[gate_in], env=dict(os.environ, PYTHONPATH=SOURCE),
        )  # fmt: skip
        self.addCleanup(parent.stdout.close)
        self.addCleanup(ours.close)
        child = int(parent.stdout.readline())
        ours.settimeout(PATIENCE_S)
        self.assertEqual(p.FrameReader().feed(ours.recv(100))[0][0], p.HELLO)
        theirs.close()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(PATIENCE_S)
        self.assertEqual(ours.recv(100), b"", "the worker %d lives on" % child)
        for end in (gate_in, gate_out):
            os.close(end)

    def test_a_broken_engine_is_named_and_the_worker_ends(self):
        for sent, said in [
            (b"\xff" * 20, "longer than the limit"),
            (p.frame(p.MSG, [1, 0]), "MSG before READY"),
            (p.frame(p.INIT, []), "INIT"),
        ]:
            engine = self.engine()
            engine.expect(p.HELLO)
            engine.socket.sendall(sent)
            self.assertEqual(engine.ends(), 1)
            self.assertIn(said, engine.err)

    def test_a_frame_type_of_the_future_is_ignored(self):
        engine = self.engine("Echo", kind="Operation")
        engine.send(99, [1, 2, 3], b"future")
        engine.send(p.PING, [1, "more than known"])
        self.assertEqual(engine.expect(p.PONG)[1], [1])


class Starting(Case):
    def failed(self, cls, **init):
        engine = self.engine()
        engine.expect(p.HELLO)
        engine.init(cls, **init)
        code, text = engine.expect(p.FAILED)[1]
        self.assertEqual(engine.ends(), 1)
        return code, text

    def test_what_cannot_start_says_why_in_one_sentence(self):
        table = [
            ("custom.test.nowhere.Class", {}, "module-missing", "custom.test.nowhere"),
            (HOSTS + "Ecko", {"kind": "Operation"}, "class-missing", "did you mean Echo"),
            (HOSTS + "NotAHost", {}, "not-a-host", "must derive"),
            (HOSTS + "NoMessage", {}, "class-wrong", "on_message"),
            (HOSTS + "Echo", {"kind": "Service"}, "wrong-kind", "BusinessOperation"),
            (HOSTS + "NoStart", {}, "start-failed", "on_start of NoStart: ConnectionRefusedError in hosts.py"),
            (HOSTS + "Configured", {}, "setting", "key is required"),
            (HOSTS + "Configured", {"settings": {"key": "k", "retries": 99}}, "setting", "at most 10"),
            ("custom.test.broken_import.Class", {}, "import-failed", "no_such_library_at_all"),
            ("custom.test.broken_syntax.Class", {}, "import-failed", "broken_syntax"),
            ("nothing", {}, "class-name", "not a class name"),
            (HOSTS + "Echo", {"kind": "Operation", "protocol": 2}, "protocol", "version 2"),
        ]
        for cls, init, code, said in table:
            with self.subTest(cls=cls, code=code):
                got, text = self.failed(cls, **init)
                self.assertEqual(got, code, text)
                self.assertIn(said, text)

    def test_settings_reach_the_host(self):
        engine = self.engine(
            "Configured",
            settings={"url": "u", "timeout": 0.5, "mode": "FAIL", "StrictMode": True, "key": "k", "copies": ["A"], "Other": 5},
            targets=["T"],
        )
        reply = self.answer(engine, "x")[2]
        want = ["u", 0.5, 3, "fail", True, "k", ["A"], None, "Test Item", ["T"], 0, 5]
        self.assertEqual(reply.decode(), repr(want))


class Handling(Case):
    def both(self):
        for cls in ("Router", "AsyncRouter"):
            with self.subTest(cls=cls):
                yield self.engine(cls, targets=["X", "Y"])

    def test_what_on_message_may_return(self):
        table = [
            ("nothing", ("completed", "", None, [])),
            ("same", ("completed", "", None, [("X", None, 2), ("Y", None, 2)])),
            ("bytes", ("completed", "", None, [("X", b"new bytes", 2), ("Y", b"new bytes", 2)])),
            ("list", ("completed", "", None, [("A", b"one", 2), ("B", None, 0), ("C", b"three", 2)])),
            ("targets", ("completed", "", b"answer", [("X", b"x", 2), ("Y", b"x", 2)])),
            ("respond", ("completed", "", b"response", [])),
            ("reject", ("failed", "rejected: not for us", None, [])),
            ("retry", ("retry", "later", None, [])),
            ("suspend", ("suspended", "look at it", None, [])),
        ]
        for engine in self.both():
            for id, (word, want) in enumerate(table, 1):
                self.assertEqual(self.answer(engine, word, id), want, word)

    def test_an_exception_is_a_state_with_its_place_and_without_its_text(self):
        for engine in self.both():
            verdict, reason, reply, sends = self.answer(engine, "fail")
            self.assertEqual((verdict, reply, sends), ("failed", None, []))
            self.assertRegex(reason, r"^ValueError in hosts\.py:\d+ \(do_fail\)$")
            self.answer(engine, "cause", 2)
            self.assertRegex(self.answer(engine, "exit", 3)[1], r"^SystemExit in hosts\.py:\d+ \(do_exit\)$")
            verdict, reason, _, _ = self.answer(engine, "memory", 70)
            self.assertEqual(verdict, "crashed")  # no fault of the message: it is tried again
            self.assertRegex(reason, r"^MemoryError in hosts\.py:\d+ \(do_memory\)$")
            self.assertRegex(self.answer(engine, "wrong", 4)[1], "^TypeError")
            for id, word in enumerate(("wrongsend", "wrongtarget", "wrongpriority"), 50):
                self.assertRegex(self.answer(engine, word, id)[1], "cannot be sent: (Type|Value)Error")
            self.assertEqual(self.answer(engine, "surrogate", 60)[:2], ("failed", "half \\ud800 a pair"))
            self.assertEqual(self.answer(engine, "nothing", 7)[0], "completed")  # it lives on
            logs = engine.log_texts()
            self.assertNotIn("SECRET", logs)
            self.assertIn("error message 1 failed\nValueError\n  at do_fail", logs)
            self.assertIn("caused by KeyError\n  at do_cause", logs)

    def test_a_result_that_is_too_long_fails_the_message_alone(self):
        engine = self.engine("Router", max_frame=1 << 20)
        verdict, reason, _, _ = self.answer(engine, "huge")
        self.assertEqual(verdict, "failed")
        self.assertIn("longer than the engine takes", reason)
        self.assertEqual(self.answer(engine, "nothing", 2)[0], "completed")

    def test_hooks_in_their_order(self):
        engine = self.engine("Hooked")
        table = [
            ("a", ("completed", "", b"a before after", [])),
            ("stop", ("failed", "rejected by on_before_process: stopped before", None, [])),
            ("fail recover", ("completed", "", b"recovered from OSError", [])),
        ]
        for id, (text, want) in enumerate(table, 1):
            self.assertEqual(self.answer(engine, text, id), want)
        for id, text in enumerate(("fail", "fail again"), 10):
            verdict, reason, _, _ = self.answer(engine, text, id)
            self.assertEqual(verdict, "failed")
            self.assertRegex(reason, r"^OSError in hosts\.py:\d+ \(on_process_input\)$")
        self.assertEqual(engine.drain(), 0)
        logs = [text.split("\n")[0] for _, text in engine.logs]
        self.assertEqual(logs[:2], ["on_init", "on_start"])
        self.assertIn("on_process_error itself raised", logs)
        self.assertEqual(logs[-3:], ["on_stop", "on_stop raised", "on_teardown"])
        self.assertNotIn("SECRET", engine.log_texts())

    def test_print_goes_to_stdout_and_stdin_is_empty(self):
        engine = self.engine("Router")
        self.assertEqual(self.answer(engine, "print")[2], b"''")
        self.assertEqual(engine.process.stdout.readline(), b"printed\n")
        self.assertEqual(engine.process.stdout.readline(), b"written\n")
        self.assertEqual(engine.process.stderr.readline(), b"to stderr\n")

    def test_logs_are_forwarded_by_level_and_without_texts_of_exceptions(self):
        engine = self.engine("Router")
        self.answer(engine, "log")
        logs = engine.log_texts()
        self.assertIn("warn logged 7", logs)
        self.assertIn("error library: from a library", logs)
        self.assertIn("error caught\nValueError\n  at do_log", logs)
        self.assertNotIn("not at this level", logs)
        self.assertNotIn("SECRET", logs)

    def test_each_job_lives_in_its_own_thread(self):
        engine = self.engine("Threads", kind="Operation", jobs=8)
        for id in range(1, 33):
            engine.message(id, b"x", job=(id - 1) % 8)
            if id % 8 == 0:
                for _ in range(8):
                    _, header, body = engine.expect(p.RESULT)
                    self.assertEqual((header[1], body), ("completed", b"42"), header)
        self.assertEqual(engine.drain(), 0)
        self.assertEqual(engine.logs, [])

    def test_many_messages_in_any_batches(self):
        for cls, kind in (("trivial.Plain", "Process"), ("trivial.Async", "Process"), ("trivial.Forward", "Process")):
            engine = FakeEngine()
            self.addCleanup(engine.close)
            engine.start("custom.test." + cls, kind=kind, jobs=16, targets=["Out"])
            waiting = {}
            given = done = 0
            while done < 2000:
                out = []
                for job in range(16):
                    if job not in waiting.values() and given < 2000:
                        given += 1
                        waiting[given] = job
                        out.append(p.frame(p.MSG, [given, job, 1, None, "In", "hl7v2", 2, 7, 0, False], b"MSH|^~\\&|A\rPID|1\r"))
                engine.socket.sendall(b"".join(out))
                found = engine.next()
                self.assertEqual((found[0], found[1][1]), (p.RESULT, "completed"))
                del waiting[found[1][0]]
                done += 1
            self.assertEqual(engine.drain(), 0)


class Requests(Case):
    def both(self):
        for cls in ("Router", "AsyncRouter"):
            with self.subTest(cls=cls):
                yield self.engine(cls)

    def test_a_synchronous_request(self):
        for engine in self.both():
            engine.message(5, b"call")
            _, header, body = engine.expect(p.CALL)
            self.assertEqual((header[1:], body), ([5, "PDS", 2500, 0, True, None], b"question"))
            engine.send(p.PING, [1])  # the reader is free while the host waits
            self.assertEqual(engine.expect(p.PONG)[1], [1])
            engine.send(p.CALLED, [999, "", "", 1, "Completed", False])  # nobody waits: ignored
            engine.send(p.CALLED, [header[0], "", "", 6, "Completed", True], b"reply")
            self.assertEqual(self.result(engine, 5)[2], b"got reply")
            engine.message(6, b"call")
            _, header, _ = engine.expect(p.CALL)
            engine.send(p.CALLED, [header[0], "", "", 7, "Completed", False])
            self.assertEqual(self.result(engine, 6)[2], None)

    def test_an_asynchronous_request_gives_its_id(self):
        for engine in self.both():
            engine.message(5, b"async")
            _, header, body = engine.expect(p.CALL)
            self.assertEqual((header[1:], body), ([5, "Out", None, 3, True, None], b"note"))
            engine.send(p.CALLED, [header[0], "", "", 1234, "Queued", False])
            self.assertEqual(self.result(engine, 5)[2], b"1234")

    def test_all_jobs_may_wait_for_answers_at_once(self):
        for cls in ("Router", "AsyncRouter"):
            engine = self.engine(cls, jobs=12)
            header = [None, "In", "plain", 2, 77, 1700000000000, False]
            frames = [p.frame(p.MSG, [job + 1, job, 1] + header, b"call") for job in range(12)]
            engine.socket.sendall(b"".join(frames))
            calls = {found[1][1]: found[1][0] for found in (engine.expect(p.CALL) for _ in range(12))}
            self.assertEqual(set(calls), set(range(1, 13)))
            self.assertEqual(len(set(calls.values())), 12)
            for id in reversed(range(1, 13)):  # each gets its own answer
                engine.send(p.CALLED, [calls[id], "", "", 50, "Completed", True], b"%d" % id)
                self.assertEqual(self.result(engine, id)[2], b"got %d" % id)

    def test_errors_have_their_classes(self):
        engine = self.engine("Router")
        table = [
            ("timeout", "caught timeout"), ("unknown-target", "value error unknown-target"),
            ("deadlock", "other deadlock"), ("queue-full", "other queue-full"), ("new-code", "other new-code"),
        ]  # fmt: skip
        for id, (code, want) in enumerate(table, 1):
            engine.message(id, b"catch")
            call = engine.expect(p.CALL)[1][0]
            engine.send(p.CALLED, [call, code, "why", 0, "", False])
            self.assertEqual(self.result(engine, id)[:2], ("failed", want))
        engine.message(9, b"call")
        call = engine.expect(p.CALL)[1][0]
        engine.send(p.CALLED, [call, "", "no answer", 4, "Error", False])
        self.assertRegex(self.result(engine, 9)[1], "^RequestError in hosts.py")


class Services(Case):
    def test_a_service_takes_messages_in(self):
        engine = self.engine("Poller", kind="Service")
        _, header, body = engine.expect(p.ACCEPT)
        self.assertEqual(header[1:], ["accept", "a file", "hl7v2", None, None, None, False])
        self.assertEqual(body, b"MSH|^~\\&|one\r")
        engine.send(p.ACCEPTED, [header[0], "", "", 9, 100])
        _, header, body = engine.expect(p.ACCEPT)
        self.assertEqual((header[1:4], header[7], body), (["accept", "", "plain"], True, b"two"))
        engine.send(p.ACCEPTED, [header[0], "", "", 9, 101])
        engine.send(p.RESPONSE, [header[0], "Completed", "", True], b"yes")
        _, header, body = engine.expect(p.ACCEPT)
        self.assertEqual(body, b"answer yes")
        engine.send(p.ACCEPTED, [header[0], "", "", 9, 102])
        _, header, body = engine.expect(p.ACCEPT)
        self.assertEqual(header[1:], ["bad", "", "plain", None, "cannot be read", "Bad", False])
        engine.send(p.ACCEPTED, [header[0], "unknown-target", "no such item", None, None])
        _, header, body = engine.expect(p.ACCEPT)
        self.assertEqual(header[1:], ["keep", "", "plain", "Discarded", "unknown-target", None, False])
        engine.send(p.ACCEPTED, [header[0], "", "", 9, 103])
        self.assertEqual(engine.expect(p.STAT)[1], ["127.0.0.1:1", 2, {"rejected": 3}])
        self.assertEqual(engine.drain(), 0)
        self.assertEqual([text for _, text in engine.logs], ["service starts", "refused: stopping", "service stops"])

    def test_a_paused_service_takes_nothing_in(self):
        engine = self.engine()
        engine.expect(p.HELLO)
        engine.send(p.STATE, [True])
        engine.init(HOSTS + "AsyncPoller", kind="Service")
        engine.expect(p.READY)
        engine.send(p.PING, [1])
        engine.expect(p.PONG)  # and no ACCEPT before it, nor until the pause ends
        engine.send(p.STATE, [False])
        calls = [engine.expect(p.ACCEPT) for _ in range(2)]
        self.assertEqual({body for _, _, body in calls}, {b"one", b"two"})
        for _, header, _ in calls:
            engine.send(p.ACCEPTED, [header[0], "", "", 1, 2])
        self.assertEqual(engine.drain(), 0)
        self.assertIn("warn run ends", engine.log_texts())

    def test_a_service_whose_run_ends_does_not_look_alive(self):
        for cls, said in [("Dying", "ConnectionResetError in hosts.py"), ("Quitter", "returned before")]:
            engine = self.engine(cls, kind="Service")
            with self.assertRaises(AssertionError):
                engine.next()
            self.assertEqual(engine.ends() if engine.process.returncode is None else engine.process.returncode, 1)
            self.assertIn(said, engine.log_texts())
            self.assertNotIn("SECRET", engine.log_texts())


if __name__ == "__main__":
    unittest.main()
