"""Changing a few bytes of a member without deflating all of it again.

The compressed data of a member is cut at block boundaries around each change. What lies between is kept bit
for bit, the rest is deflated anew. Kept data may refer 32 KiB back, so that much behind a change is deflated
anew as well. Where kept data goes on, empty blocks (module `joints`) bring it to the bit of the byte where it
was: then kept data is a plain copy of bytes, for the writer and for undo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shim.wheels.blocks import WINDOW, BlockFinder, Boundary
from shim.wheels.compare import Comparison

__all__ = ["Kept", "Rewritten", "plan_splice"]

_MIN_KEPT = 4096
"""Kept compressed bytes below which a cut is not worth its joints."""

_MERGE = 128 << 10
"""Contents between two changes below which they share one cut: about what one more cut deflates anew."""

_MIN_SHARE = 0.5
"""Share of the compressed data that must be kept; below, deflating the whole member anew is simpler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Compressed data that stays as it is."""

    bit: int
    """First bit, counted from the start of the member's compressed data."""

    end_bit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A range of the new contents that is deflated anew."""

    start: int
    stop: int
    final: bool
    """Does the stream end here?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    before: Boundary
    after: Boundary | None
    """None: the rest of the stream is replaced."""


def plan_splice(
    comparison: Comparison,
    compressed: Callable[[int, int], bytes],
    original: Callable[[int, int], bytes],
) -> tuple[Kept | Rewritten, ...] | None:
    """Decide what of a deflated member to keep.

    Args:
        comparison: what changed.
        compressed: returns old compressed bytes of a range (offset, size).
        original: returns old contents of a range (offset, size).

    Returns:
        Pieces in the order of the stream, kept and rewritten ones in turn; None when too little can be kept.
    """
    if comparison.changes is None or not comparison.marks:
        return None
    end = Boundary(comparison.member.size, comparison.member.compressed_size * 8)
    finder = BlockFinder(compressed, original, comparison.marks)
    cuts = _apart(_cuts(comparison, finder), end)
    pieces: list[Kept | Rewritten] = []
    resume: Boundary | None = Boundary(0, 0)
    kept_bits = 0
    for cut in cuts:
        if resume is not None and cut.before.bit > resume.bit:
            pieces.append(Kept(bit=resume.bit, end_bit=cut.before.bit))
            kept_bits += cut.before.bit - resume.bit
        stop = comparison.size if cut.after is None else cut.after.position
        pieces.append(Rewritten(start=cut.before.position, stop=stop, final=cut.after is None))
        resume = cut.after
    if resume is not None:
        pieces.append(Kept(bit=resume.bit, end_bit=end.bit))
        kept_bits += end.bit - resume.bit
    return tuple(pieces) if kept_bits >= _MIN_SHARE * end.bit else None


def _cuts(comparison: Comparison, finder: BlockFinder) -> list[_Cut]:
    old_size = comparison.member.size
    ranges = [(change.offset, change.end) for change in comparison.changes or ()]
    if comparison.size != old_size:
        # The last block is marked as such, and nothing may follow it: it is always replaced then.
        ranges.append((min(comparison.size, old_size), old_size))
    cuts: list[_Cut] = []
    index = 0
    while index < len(ranges):
        start, end = ranges[index]
        after: Boundary | None = Boundary(0, 0)
        while after is not None:
            reach = max(end + WINDOW, after.position) + _MERGE
            while index < len(ranges) and ranges[index][0] <= reach:
                end = max(end, ranges[index][1])
                reach = max(end + WINDOW, after.position) + _MERGE
                index += 1
            if after.position >= end + WINDOW:
                break
            after = finder.after(end + WINDOW) if end + WINDOW < old_size else None
        if after is None:
            index = len(ranges)
        cuts.append(_Cut(before=finder.before(start), after=after))
    return cuts


def _apart(cuts: list[_Cut], end: Boundary) -> list[_Cut]:
    """The same cuts, those with too little kept data before, between or behind them made larger."""
    result: list[_Cut] = []
    for cut in cuts:
        if not result:
            before = cut.before if cut.before.bit >= _MIN_KEPT * 8 else Boundary(0, 0)
            result.append(_Cut(before=before, after=cut.after))
            continue
        last = result[-1]
        if last.after is not None and cut.before.bit - last.after.bit >= _MIN_KEPT * 8:
            result.append(cut)
        else:
            result[-1] = _Cut(before=last.before, after=cut.after)
    if result and (after := result[-1].after) is not None and end.bit - after.bit < _MIN_KEPT * 8:
        result[-1] = _Cut(before=result[-1].before, after=None)
    return result
