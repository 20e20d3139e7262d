"""The MessagePack codec and the frames: round trips, and input that lies."""

import random
import struct
import unittest

from hie import _protocol as p
from hie._msgpack import MAX_DEPTH, CodecError, pack, unpack

EDGES = [
    0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x100000000, 0xFFFFFFFFFFFFFFFF,
    -1, -32, -33, -0x80, -0x81, -0x8000, -0x8001, -0x80000000, -0x80000001, -0x8000000000000000,
]  # fmt: skip


def some_value(rng, depth):
    kind = rng.randrange(9 if depth else 6)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.choice(EDGES) if rng.random() < 0.5 else rng.randrange(-(1 << 40), 1 << 40)
    if kind == 2:
        return rng.uniform(-1e9, 1e9)
    if kind in (3, 4):
        return "".join(rng.choice("aZ|^é山😀\0") for _ in range(rng.choice([0, 1, 31, 32, 255, 300])))
    if kind == 5:
        return bytes(rng.randrange(256) for _ in range(rng.choice([0, 1, 255, 256])))
    if kind == 6:
        return {some_value(rng, 0): some_value(rng, depth - 1) for _ in range(rng.choice([0, 1, 5, 16]))}
    return [some_value(rng, depth - 1) for _ in range(rng.choice([0, 1, 15, 16, 20]))]


class Codec(unittest.TestCase):
    def test_random_values_come_back(self):
        rng = random.Random(4)
        for _ in range(400):
            value = some_value(rng, 3)
            self.assertEqual(unpack(pack(value)), value)

    def test_the_bytes_are_those_of_the_specification(self):
        table = [
            (None, "c0"), (False, "c2"), (True, "c3"), (0, "00"), (127, "7f"), (128, "cc80"),
            (256, "cd0100"), (65536, "ce00010000"), (1 << 32, "cf0000000100000000"), (-1, "ff"),
            (-32, "e0"), (-33, "d0df"), (-129, "d1ff7f"), (-32769, "d2ffff7fff"),
            (1.5, "cb3ff8000000000000"), ("a", "a161"), ("a" * 32, "d920" + "61" * 32),
            (b"\x00", "c40100"), ([], "90"), ([1, [2]], "92019102"), ({"a": 1}, "81a16101"),
        ]  # fmt: skip
        for value, want in table:
            self.assertEqual(pack(value).hex(), want, value)
            self.assertEqual(unpack(bytes.fromhex(want)), value)

    def test_large_lengths(self):
        for value in ["x" * 70000, b"y" * 70000, list(range(70000)), {n: n for n in range(70000)}]:
            self.assertEqual(unpack(pack(value)), value)

    def test_every_cut_is_an_error_not_a_crash(self):
        data = pack(["text", b"bytes", 1 << 40, -70000, 1.5, {"key": [None, "é" * 40]}])
        for size in range(len(data)):
            with self.assertRaises(CodecError):
                unpack(data[:size])

    def test_random_bytes_are_a_value_or_an_error(self):
        rng = random.Random(5)
        for _ in range(5000):
            data = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40)))
            try:
                unpack(data)
            except CodecError:
                pass

    def test_lengths_that_lie_cost_nothing(self):
        for head in ["dd7fffffff", "df7fffffff", "db7fffffff", "c67fffffff", "dcffff", "deffff"]:
            with self.assertRaises(CodecError):
                unpack(bytes.fromhex(head) + b"\xc0" * 10)

    def test_deep_nesting_is_refused_both_ways(self):
        with self.assertRaises(CodecError):
            unpack(b"\x91" * 100000)
        value = []
        for _ in range(MAX_DEPTH + 1):
            value = [value]
        with self.assertRaises(CodecError):
            pack(value)

    def test_what_the_protocol_does_not_use_is_refused(self):
        for wrong in ["c1", "c70100", "d40000", "ca00000000", "a1ff", "8190c0", "c0c0"]:
            with self.assertRaises(CodecError):
                unpack(bytes.fromhex(wrong))
        for value in [object(), {1, 2}, 1 << 64, -(1 << 63) - 1, "\ud800"]:
            with self.assertRaises(CodecError):
                pack(value)


class Frames(unittest.TestCase):
    def test_any_cut_of_the_stream_gives_the_same_frames(self):
        rng = random.Random(6)
        frames = [(rng.choice(list(p.NAMES)), [n, "x" * rng.randrange(50)], b"b" * rng.randrange(3000)) for n in range(60)]
        stream = b"".join(p.frame(*frame) for frame in frames)
        for _ in range(20):
            reader, got, at = p.FrameReader(), [], 0
            while at < len(stream):
                size = rng.choice([1, 2, 8, 9, 100, 5000])
                got += reader.feed(stream[at : at + size])
                at += size
            self.assertEqual(got, frames)

    def test_a_frame_longer_than_the_limit_is_refused_by_its_head(self):
        reader = p.FrameReader(limit=100)
        with self.assertRaisesRegex(p.ProtocolError, "limit of 100"):
            reader.feed(struct.pack(">IBI", 101, p.MSG, 5))

    def test_heads_that_contradict_themselves(self):
        for length, header in [(0, 0), (4, 0), (5, 1), (10, 6), (10, 0xFFFFFFFF)]:
            with self.assertRaises(p.ProtocolError):
                p.FrameReader().feed(struct.pack(">IBI", length, p.MSG, header) + b"\x90" * 20)

    def test_a_header_that_is_no_array(self):
        for header in [b"", b"\xc0", b"\x80", b"\x90\x90", b"\x92\x01"]:
            data = struct.pack(">IBI", 5 + len(header), p.MSG, len(header)) + header
            with self.assertRaises(p.ProtocolError):
                p.FrameReader().feed(data)


if __name__ == "__main__":
    unittest.main()
