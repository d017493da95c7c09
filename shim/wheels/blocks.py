"""Where the blocks of a deflate stream start, found near a given place without decoding the stream up to it.

A deflate block starts at any bit, and no inflater tells where. But a block header is so redundant that few
bits look like one (Huffman code lengths must form a complete code; a stored block repeats its length
inverted), and a bit from which the inflater yields exactly the known contents for tens of kilobytes is a
block start for all that shim needs: decoding may begin there. Facts: RFC 1951 section 3.2.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from isal import isal_zlib

from shim.wheels.inflate import BROKEN, Mark
from shim.wheels.joints import to_bit

__all__ = ["WINDOW", "BlockFinder", "Boundary"]

WINDOW = 32 << 10
"""Farthest that a deflate match reaches back, in bytes."""

_PROOF = 24 << 10
"""Compressed bytes that must decode to the known contents behind a boundary (fewer at the end only)."""

_REACH = 64
"""Marks searched before giving up: 1 MiB of compressed data."""

_ANCHOR_SLACK = 8 * 258
"""An inflater cut off in mid-stream may have left its last 7 bits unused: 7 symbols of at most 258 bytes."""

_SLACKS = sorted(range(-_ANCHOR_SLACK, _ANCHOR_SLACK), key=abs)

_PRECODE_SPACE = 128
_KRAFT = [sum((_PRECODE_SPACE >> (n >> shift & 7)) for shift in (0, 3, 6, 9) if n >> shift & 7) for n in range(4096)]
"""Space taken by four code lengths of 3 bits each, in units of a code of 7 bits."""

_COMPLEMENT = bytes(255 - n for n in range(256))


@dataclass(frozen=True, slots=True, order=True)
class Boundary:
    """A place from which the stream can be decoded."""

    position: int
    """Inflated offset."""

    bit: int
    """Bit offset in the compressed data; bit 0 is the lowest bit of the first byte."""


class BlockFinder:
    """Finds block starts in one deflate stream of which the contents are known."""

    def __init__(
        self,
        compressed: Callable[[int, int], bytes],
        contents: Callable[[int, int], bytes],
        marks: Sequence[Mark],
    ) -> None:
        """Prepare a search.

        Args:
            compressed: returns the compressed bytes of a range (offset, size).
            contents: returns the inflated bytes of a range (offset, size).
            marks: one for each 16 KiB of compressed data, from (0, 0) to the end of the stream. Their
                inflated offsets may be off by `_ANCHOR_SLACK` (inflaters differ there); what is found does
                not depend on that.
        """
        self._compressed = compressed
        self._contents = contents
        self._marks = marks
        self._end = marks[-1]

    def before(self, position: int) -> Boundary:
        """The last boundary at or before an inflated offset; the stream's start when none is within reach."""
        index = bisect_left(self._marks, position + _ANCHOR_SLACK, key=lambda mark: mark.inflated)
        top = min(index, len(self._marks) - 1)
        for high in range(top, max(top - _REACH, 0), -1):
            found = [b for b in self._boundaries(high - 1) if b.position <= position]
            if found:
                return found[-1]
        return Boundary(0, 0)

    def after(self, position: int) -> Boundary | None:
        """The first boundary at or after an inflated offset, None when there is none within reach."""
        index = bisect_left(self._marks, position - _ANCHOR_SLACK, key=lambda mark: mark.inflated)
        bottom = max(index - 1, 0)
        for low in range(bottom, min(bottom + _REACH, len(self._marks) - 1)):
            for boundary in self._boundaries(low):
                if boundary.position >= position:
                    return boundary
        return None

    def _boundaries(self, index: int) -> Iterator[Boundary]:
        """The boundaries with their first bit between a mark and the next, in ascending order."""
        low, high = self._marks[index].compressed, self._marks[index + 1].compressed
        proof = min(high + _PROOF, self._end.compressed)
        anchor = self._marks[bisect_left(self._marks, proof, key=lambda mark: mark.compressed)]
        data = self._compressed(low, anchor.compressed - low)
        for bit in _candidates(data, high - low):
            boundary = self._prove(data, bit, low, anchor)
            if boundary is not None:
                yield boundary

    def _prove(self, data: bytes, bit: int, low: int, anchor: Mark) -> Boundary | None:
        """Is `bit` of `data` a block start? If the stream decodes from there to the known contents."""
        stream = _resumed(data, bit)
        try:
            blind = isal_zlib.decompressobj(-15, zdict=bytes(WINDOW))
            size = len(blind.decompress(stream))
        except BROKEN:
            return None
        if size == 0 or blind.eof != (anchor == self._end):
            return None
        for slack in (0,) if blind.eof else _SLACKS:
            position = anchor.inflated - size + slack
            if position < 0:
                continue
            if self._decodes(stream[:512], position) and self._decodes(stream, position):
                return Boundary(position, low * 8 + bit)
        return None

    def _decodes(self, stream: bytes, position: int) -> bool:
        history = self._contents(max(position - WINDOW, 0), min(position, WINDOW))
        inflater = isal_zlib.decompressobj(-15, zdict=history) if history else isal_zlib.decompressobj(-15)
        try:
            out = inflater.decompress(stream)
        except BROKEN:
            return False
        if position + len(out) > self._end.inflated:
            return False
        return out == self._contents(position, len(out))


def _resumed(data: bytes, bit: int) -> bytes:
    """Empty blocks, then `data` from `bit` on, each bit at its place in its byte.

    Shifting the data instead would break stored blocks, which are aligned to bytes.
    """
    joint, pending = to_bit(bit % 8)
    first = data[bit // 8] >> bit % 8 << bit % 8 | pending
    return joint + bytes([first]) + data[bit // 8 + 1 :]


def _candidates(data: bytes, size: int) -> list[int]:
    """Bits in the first `size` bytes of `data` where a block (not the last one) may start, ascending."""
    return sorted({*_dynamic(data, size), *_stored(data, size)})


def _dynamic(data: bytes, size: int) -> Iterator[int]:
    """Starts of blocks with dynamic Huffman codes: not last, type 2, counts in range, a complete precode."""
    bits = int.from_bytes(data[: size + 16], "little")
    # All bit offsets at once: bit i of `found` says whether a header may start at bit i of the data.
    found = ~bits & ~(bits >> 1) & (bits >> 2)
    for field in (3, 8):  # more than 29 is not a count of literal or distance codes
        found &= ~((bits >> field + 1) & (bits >> field + 2) & (bits >> field + 3) & (bits >> field + 4))
    found &= (1 << size * 8) - 1
    marks = f"{found:b}"[::-1]
    start = marks.find("1")
    while start >= 0:
        head = int.from_bytes(data[start >> 3 : (start >> 3) + 11], "little") >> (start & 7) + 13
        count = (head & 15) + 4
        lengths = head >> 4 & (1 << 3 * count) - 1
        space = 0
        while lengths:
            space += _KRAFT[lengths & 4095]
            lengths >>= 12
        if space == _PRECODE_SPACE:
            yield start
        start = marks.find("1", start + 1)


def _stored(data: bytes, size: int) -> Iterator[int]:
    """Starts of stored blocks, taken as the three bits before the length (padding is the block before)."""
    window = data[: size + 5]
    number = int.from_bytes(window, "little") ^ (int.from_bytes(window.translate(_COMPLEMENT), "little") >> 16)
    equal = number.to_bytes(len(window), "little")
    at = equal.find(b"\0\0", 1)
    while 0 < at <= size:
        if data[at - 1] < 32 and any(data[at : at + 2]):
            yield at * 8 - 3
        at = equal.find(b"\0\0", at + 1)
