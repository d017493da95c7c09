"""Reverse data of members whose contents moved: pieces of the new contents make up the old ones."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.errors import ShimError
from shim.wheels.archive import WheelArchive
from shim.wheels.delta import MAGIC, UndoData, plan_undo
from shim.wheels.layout import Layout
from shim.wheels.moved import Moved
from shim.wheels.undo import apply_undo, side_car, undo_member
from shim.wheels.writer import write_wheel
from tests.builders.wheels import library, make_wheel

OUT = "demo-1.0-1sm121-py3-none-any.whl"
INFO = "demo-1.0.dist-info"
OLD = library(7, 600_000)
Pieces = tuple[tuple[int, int], ...]


def moved_about(gone: int = 500) -> tuple[bytes, Pieces]:
    """The middle third at the end, `gone` bytes of it lost, and something new between."""
    third = len(OLD) // 3
    head, middle, tail = OLD[:third], OLD[third : 2 * third], OLD[2 * third :]
    new = head + tail + library(8, 4096) + middle[gone:]
    pieces = ((0, third), (-1, gone), (len(new) - third + gone, third - gone), (third, len(tail)))
    return new, tuple(piece for piece in pieces if piece[1])


def patch(source: Path, new: bytes, pieces: Pieces, out: Path) -> UndoData:
    plans: list[UndoData] = []

    def late(layout: Layout) -> dict[str, bytes]:
        plans.append(plan_undo(layout, moved={"demo/lib.so": pieces}))
        data = plans[0].to_bytes(limit=1 << 30)
        assert data is not None
        return {undo_member(INFO): data}

    with WheelArchive.open(source) as archive:
        write_wheel(archive, out, replaced={"demo/lib.so": new}, late=late)
    return plans[0]


def undone(out: Path, folder: Path) -> bytes:
    folder.mkdir()
    with WheelArchive.open(out) as wheel:
        return apply_undo(wheel, folder).read_bytes()


@pytest.mark.parametrize("gone", [0, 1, 500])
def test_the_original_comes_back(tmp_path: Path, gone: int) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": OLD})
    new, pieces = moved_about(gone)
    undo = patch(source, new, pieces, tmp_path / OUT)
    (operation,) = [o for o in undo.operations if isinstance(o, Moved)]
    assert (operation.contents_size, operation.pieces) == (len(OLD), pieces)
    assert undo.literal_size < 20_000, "directory and RECORD, and what is gone"
    assert undone(tmp_path / OUT, tmp_path / "back") == source.read_bytes()
    assert [path.name for path in (tmp_path / "back").iterdir()] == [source.name]


@settings(max_examples=20)
@given(st.lists(st.integers(1, len(OLD) - 1), max_size=6, unique=True))
def test_any_order(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder = tmp_path_factory.mktemp("moved")
    edges = [0, *sorted(cuts), len(OLD)]
    parts = list(itertools.pairwise(edges))
    placed = sorted(range(len(parts)), key=lambda i: (i * 7919) % 13)
    new, where = b"", {}
    for index in placed:
        where[index] = len(new)
        new += OLD[slice(*parts[index])]
    pieces = tuple((where[index], end - start) for index, (start, end) in enumerate(parts))
    source = make_wheel(folder, {"demo/lib.so": OLD})
    patch(source, new, pieces, folder / OUT)
    assert undone(folder / OUT, folder / "back") == source.read_bytes()


@pytest.mark.parametrize(
    "pieces",
    [
        ((0, len(OLD) - 1),),  # not all of it
        ((-1, len(OLD)),),  # nothing is left
    ],
)
def test_pieces_that_do_not_serve_are_not_used(tmp_path: Path, pieces: Pieces) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": OLD})
    undo = patch(source, library(9, 600_000), pieces, tmp_path / OUT)
    assert not any(isinstance(operation, Moved) for operation in undo.operations)
    assert undone(tmp_path / OUT, tmp_path / "back") == source.read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda item: item[6].pop(), "do not make up the contents"),
        (lambda item: item[6].__setitem__(0, [1 << 40, item[6][0][1]]), "the file ends inside"),
        (lambda item: item[6].__setitem__(0, [-2, item[6][0][1]]), "not a size or an offset"),
        (lambda item: item.__setitem__(2, 0), "not a zlib level"),
        (lambda item: item.__setitem__(2, 1), "does not give the original compressed bytes"),
        (lambda item: item.__setitem__(1, "demo/none.so"), "demo/none.so"),
    ],
)
def test_damaged_pieces(tmp_path: Path, change: object, words: str) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": OLD})
    new, pieces = moved_about()
    out = tmp_path / OUT
    patch(source, new, pieces, out)
    with WheelArchive.open(out) as wheel:
        inside = wheel.read(wheel.member(undo_member(INFO)))
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(inside[len(MAGIC) :])
    size = int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4 : 4 + size])
    change(next(item for item in header["operations"] if item[0] == "moved"))  # type: ignore[operator]
    text = json.dumps(header).encode()
    body = struct.pack("<I", len(text)) + text + raw[4 + size :]
    side_car(out).write_bytes(MAGIC + zstandard.ZstdCompressor().compress(body))
    (tmp_path / "back").mkdir()
    with WheelArchive.open(out) as wheel, pytest.raises(ShimError) as caught:
        apply_undo(wheel, tmp_path / "back", undo=[side_car(out)])
    assert words in str(caught.value)
    assert list((tmp_path / "back").iterdir()) == []
