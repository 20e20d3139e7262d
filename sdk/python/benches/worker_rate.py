"""How many messages a second go through one worker process.

    PYTHONPATH=src:. python3 benches/worker_rate.py [SECONDS]

The other side is the fake engine of the tests, in Python too: it keeps 64 messages (one a job) in
flight and sends the next ones for each batch of results. The figure is that of the pair.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Tuple

from hie import _protocol as p
from tests.fake_engine import FakeEngine

BODY = (
    b"MSH|^~\\&|PAS|TRUST|HIE|TRUST|20260101120000||ADT^A01|MSG00001|P|2.4\r"
    b"EVN|A01|20260101120000\rPID|1||9434765919^^^NHS||SMITH^JOHN||19700101|M\r" + b"NTE|1||" + b"x" * 300 + b"\r"
)
JOBS = 64


def measure(cls: str, seconds: float) -> Tuple[float, float]:
    with FakeEngine() as engine:
        engine.start(cls, jobs=JOBS, targets=["Out"], kind="Operation" if "Blocking" in cls else "Process")
        jobs_of = {}
        out = []
        last = 0

        def give(job: int) -> None:
            nonlocal last
            last += 1
            jobs_of[last] = job
            header = [last, job, 1, None, "In", "hl7v2", 2, 77, 1700000000000, False]
            out.append(p.frame(p.MSG, header, BODY))

        for job in range(JOBS):
            give(job)
        engine.socket.sendall(b"".join(out))
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            out.clear()
            for kind, header, _ in engine.reader.feed(engine.socket.recv(1 << 18)):
                assert kind == p.RESULT and header[1] == "completed", (kind, header)
                give(jobs_of.pop(header[0]))
                done += 1
            if out:
                engine.socket.sendall(b"".join(out))
        rate = done / (time.perf_counter() - started)
        with open("/proc/%d/stat" % engine.process.pid) as file:
            ticks = sum(int(field) for field in file.read().rsplit(")", 1)[1].split()[11:13])
        return rate, ticks / os.sysconf("SC_CLK_TCK") / done * 1e6


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    for name in ("Plain", "Async", "Forward", "AsyncForward", "Blocking"):
        rate, cost = measure("custom.test.trivial." + name, seconds)
        print("%-12s %8.0f messages/s, %6.1f us of CPU each" % (name, rate, cost), flush=True)


if __name__ == "__main__":
    main()
