"""What changed in a member, and the old contents back from the new."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from builders.wheels import library, make_wheel

from shim.wheels.archive import WheelArchive
from shim.wheels.compare import MAX_CHANGED, Comparison, Original, compare
from shim.wheels.content import Content

OLD = library(31, 900_000)


def compared(folder: Path, new: bytes, level: int | None = 6, old: bytes = OLD) -> tuple[Comparison, Content]:
    path = make_wheel(folder, {"demo/lib.so": old}, level=level)
    content = Content(new)
    with WheelArchive.open(path) as wheel:
        return compare(wheel, wheel.member("demo/lib.so"), content), content


def edited(*edits: tuple[int, bytes], size: int = len(OLD)) -> bytes:
    new = bytearray(OLD[:size] + bytes(max(size - len(OLD), 0)))
    for offset, data in edits:
        new[offset : offset + len(data)] = data
    return bytes(new)


@pytest.mark.parametrize("level", [None, 6])
def test_changes_cover_what_differs_and_little_else(tmp_path: Path, level: int | None) -> None:
    new = edited((3, b"\xaa\xbb"), (500_000, b"\xcc" * 10_000), (len(OLD) - 1, bytes([OLD[-1] ^ 1])))
    comparison, _ = compared(tmp_path, new, level)
    assert comparison.changes is not None
    spans = [(change.offset, change.end) for change in comparison.changes]
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    assert sum(end - start for start, end in spans) <= 10_002 + 64 * 4
    differing = {at for at in range(len(OLD)) if OLD[at] != new[at]}
    assert all(any(start <= at < end for start, end in spans) for at in differing)


@pytest.mark.parametrize("size", [0, 1, 500_000, len(OLD), len(OLD) + 7, len(OLD) + 200_000])
def test_old_contents_come_back(tmp_path: Path, size: int) -> None:
    new = edited((3, b"\xaa\xbb"), (400_000, b"\xcc" * 10_000), size=size) if size > 410_000 else edited(size=size)
    comparison, content = compared(tmp_path, new)
    original = Original(content, comparison)
    assert comparison.size == len(new)
    assert not comparison.same
    assert original.read(0, len(OLD)) == OLD
    rng = random.Random(size)
    for _ in range(50):
        start = rng.randrange(len(OLD))
        length = rng.randrange(len(OLD) - start)
        assert original.read(start, length) == OLD[start : start + length]


def test_equal_contents(tmp_path: Path) -> None:
    assert compared(tmp_path, OLD)[0].same
    assert not compared(tmp_path, OLD + b"x")[0].same


def test_too_much_to_list(tmp_path: Path) -> None:
    old = bytes(MAX_CHANGED + 200)
    assert compared(tmp_path, b"\1" * len(old), old=old)[0].changes is None
    assert compared(tmp_path, b"\1" * (MAX_CHANGED - 100) + bytes(300), old=old)[0].changes is not None


def test_marks_reach_from_end_to_end(tmp_path: Path) -> None:
    comparison, _ = compared(tmp_path, OLD)
    member = comparison.member
    assert comparison.marks[0] == (0, 0)
    assert comparison.marks[-1] == (member.compressed_size, member.size)
    assert list(comparison.marks) == sorted(comparison.marks)
    assert len(comparison.marks) > 3
