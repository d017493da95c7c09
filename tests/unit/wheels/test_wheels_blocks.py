"""Block boundaries, compared with those that an inflater of its own (below) sees."""

from __future__ import annotations

import random
import zlib

import pytest
from builders.wheels import library
from isal import igzip_lib, isal_zlib

from shim.wheels.blocks import BlockFinder, Boundary
from shim.wheels.inflate import Mark
from shim.wheels.joints import to_bit, to_byte

LENGTHS = [(3 + n, 0) for n in range(8)]
for extra in range(1, 6):
    base = 3 + (4 << extra)
    LENGTHS += [(base + (n << extra), extra) for n in range(4)]
LENGTHS += [(258, 0)]
DISTANCES = [(1 + n, 0) for n in range(4)]
for extra in range(1, 14):
    DISTANCES += [(1 + (2 << extra) + (n << extra), extra) for n in range(2)]


class Inflater:
    """A plain inflater after RFC 1951 that lists where blocks start: (inflated offset, bit, type)."""

    def __init__(self, data: bytes) -> None:
        self.number = int.from_bytes(data, "little")
        self.bits = f"{self.number:0{len(data) * 8}b}"[::-1]
        self.at = 0
        self.size = 0
        self.blocks: list[tuple[int, int, int]] = []
        last = 0
        while not last:
            start = self.at
            last, kind = self.take(1), self.take(2)
            self.blocks.append((self.size, start, kind))
            if kind == 0:
                self.at = (self.at + 7) // 8 * 8
                length = self.take(16)
                assert self.take(16) == length ^ 0xFFFF
                self.size += length
                self.at += 8 * length
            else:
                self.compressed(*(self.fixed() if kind == 1 else self.dynamic()))

    def take(self, count: int) -> int:
        value = int(self.bits[self.at : self.at + count][::-1] or "0", 2)
        self.at += count
        return value

    @staticmethod
    def codes(lengths: list[int]) -> dict[str, int]:
        table, code = {}, 0
        for length in range(1, 16):
            for symbol, size in enumerate(lengths):
                if size == length:
                    table[f"{code:0{length}b}"] = symbol
                    code += 1
            code <<= 1
        return table

    def symbol(self, table: dict[str, int]) -> int:
        for size in range(1, 16):
            if (code := self.bits[self.at : self.at + size]) in table:
                self.at += size
                return table[code]
        raise AssertionError("no such code")

    def fixed(self) -> tuple[dict[str, int], dict[str, int]]:
        lengths = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8
        return self.codes(lengths), self.codes([5] * 30)

    def dynamic(self) -> tuple[dict[str, int], dict[str, int]]:
        literals, distances, count = self.take(5) + 257, self.take(5) + 1, self.take(4) + 4
        lengths = [0] * 19
        for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)[:count]:
            lengths[symbol] = self.take(3)
        table = self.codes(lengths)
        found: list[int] = []
        while len(found) < literals + distances:
            match self.symbol(table):
                case 16:
                    found += [found[-1]] * (3 + self.take(2))
                case 17:
                    found += [0] * (3 + self.take(3))
                case 18:
                    found += [0] * (11 + self.take(7))
                case size:
                    found.append(size)
        return self.codes(found[:literals]), self.codes(found[literals:])

    def compressed(self, literals: dict[str, int], distances: dict[str, int]) -> None:
        while (symbol := self.symbol(literals)) != 256:
            if symbol < 256:
                self.size += 1
                continue
            base, extra = LENGTHS[symbol - 257]
            self.size += base + self.take(extra)
            self.take(DISTANCES[self.symbol(distances)][1])


def marks_of(packed: bytes, step: int = 16_384) -> list[Mark]:
    engine = isal_zlib.decompressobj(-15)
    marks, size = [Mark(0, 0)], 0
    for start in range(0, len(packed), step):
        size += len(engine.decompress(packed[start : start + step]))
        marks.append(Mark(min(start + step, len(packed)), size))
    return marks


def finder_of(packed: bytes, data: bytes) -> BlockFinder:
    return BlockFinder(
        lambda offset, size: packed[offset : offset + size],
        lambda offset, size: data[offset : offset + size],
        marks_of(packed),
    )


def contents(kind: str) -> bytes:
    if kind == "library":
        return library(5, 400_000)
    if kind == "noise":  # zlib stores it
        return random.Random(2).randbytes(200_000)
    return b"".join(library(n, 60_000) + random.Random(n).randbytes(90_000) for n in range(3))


def deflated(data: bytes, maker: str) -> bytes:
    if maker == "isal":
        fast = isal_zlib.compressobj(3, isal_zlib.DEFLATED, -15)
        return fast.compress(data) + fast.flush()
    slow = zlib.compressobj(int(maker), zlib.DEFLATED, -15)
    return slow.compress(data) + slow.flush()


@pytest.mark.parametrize("maker", ["1", "6", "9", "isal"])
@pytest.mark.parametrize("kind", ["library", "noise", "mixed"])
def test_boundaries_are_block_starts(kind: str, maker: str) -> None:
    data = contents(kind)
    packed = deflated(data, maker)
    oracle = Inflater(packed)
    assert oracle.size == len(data)
    dynamic = {(position, bit) for position, bit, block in oracle.blocks if block == 2}
    # Of a stored block the three bits before its length count; padding may stand before them.
    stored = {(position, (bit + 10) // 8 * 8 - 3) for position, bit, block in oracle.blocks if block == 0}
    known = {0, *(position for position, _, block in oracle.blocks[:-1] if block != 1)}
    finder = finder_of(packed, data)
    rng = random.Random(7)
    hits = 0
    for position in [0, 1, len(data) - 1, *(rng.randrange(len(data)) for _ in range(12))]:
        before, after = finder.before(position), finder.after(position)
        assert before.position == max(start for start in known if start <= position), "a block was skipped"
        assert before == Boundary(0, 0) or (before.position, before.bit) in dynamic | stored
        if after is not None:
            assert after.position >= position
            assert (after.position, after.bit) in dynamic | stored
            assert after.position == min(start for start in known if start >= position), "a block was skipped"
            hits += 1
    assert hits >= 3 or len(oracle.blocks) < 6, "the finder found nothing in a stream of many blocks"


@pytest.mark.parametrize("bit", range(8))
def test_joints_yield_nothing_and_end_at_the_wanted_bit(bit: int) -> None:
    head = zlib.compressobj(6, zlib.DEFLATED, -15)
    tail = zlib.compressobj(6, zlib.DEFLATED, -15)
    whole, pending = to_bit(bit)
    assert pending < 1 << bit
    stream = head.compress(b"head") + head.flush(zlib.Z_SYNC_FLUSH) + whole + to_byte(pending, bit)
    stream += tail.compress(b"tail") + tail.flush()
    assert zlib.decompress(stream, -15) == b"headtail"
    assert isal_zlib.decompress(stream, -15) == b"headtail"
    assert igzip_lib.decompress(stream) == b"headtail"
    assert Inflater(stream).size == 8


@pytest.mark.parametrize("slack", [-300, -1, 1, 300])
def test_what_is_found_does_not_depend_on_how_an_inflater_is_cut_off(slack: int) -> None:
    """Canonical output must be the same on every CPU, and ISA-L's code differs between them."""
    data = contents("mixed")
    packed = deflated(data, "6")
    marks = marks_of(packed)
    inner = [Mark(mark.compressed, mark.inflated + slack) for mark in marks[1:-1]]
    plain = finder_of(packed, data)
    other = BlockFinder(
        lambda offset, size: packed[offset : offset + size],
        lambda offset, size: data[offset : offset + size],
        [marks[0], *inner, marks[-1]],
    )
    for position in range(0, len(data), 37_003):
        assert plain.before(position) == other.before(position)
        assert plain.after(position) == other.after(position)
