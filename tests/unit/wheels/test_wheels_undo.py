"""Reverse data: the original archive comes back to the byte, by each of the three operations."""

from __future__ import annotations

import random
import zipfile
import zlib
from pathlib import Path

import pytest
from builders.wheels import library, make_wheel
from isal import isal_zlib

from shim.errors import InputError, VerifyError
from shim.wheels import undo as undo_module
from shim.wheels.archive import WheelArchive
from shim.wheels.delta import Copy, Deflate, Literal, UndoData, plan_undo
from shim.wheels.hashing import hash_members
from shim.wheels.layout import Layout
from shim.wheels.level import find_level
from shim.wheels.record import check_record
from shim.wheels.undo import apply_undo, side_car, undo_member
from shim.wheels.writer import write_wheel

INFO = "demo-1.0.dist-info"
OUT = "demo-1.0-1sm121-py3-none-any.whl"
LIB = library(41, 3_000_000)


def spliceable(old: bytes = LIB) -> bytes:
    new = bytearray(old)
    new[64:200] = bytes(136)
    new[len(old) // 2 : len(old) // 2 + 300] = bytes(300)
    return bytes(new) + library(5, 40_000)


def scattered(old: bytes = LIB) -> bytes:
    """A change every 20 kB: nothing worth keeping between, so that the stream is made by zlib again."""
    new = bytearray(old)
    for at in range(0, len(old), 20_000):
        new[at] ^= 0xFF
    return bytes(new[:-10_000])


def patch(
    source: Path, out: Path, replaced: dict[str, Path | bytes], *, embed: bool = True, search: bool = True
) -> UndoData:
    """Write a patched wheel with its reverse data inside, or beside it."""
    plans: list[UndoData] = []

    def late(layout: Layout) -> dict[str, bytes]:
        levels = None if search else dict.fromkeys(replaced)
        plans.append(plan_undo(layout, levels=levels))
        data = plans[0].to_bytes(limit=1 << 30)
        assert data is not None
        if embed:
            return {undo_member(INFO): data}
        plans[0].write(side_car(out))
        assert side_car(out).read_bytes() == data
        return {}

    with WheelArchive.open(source) as archive:
        write_wheel(archive, out, replaced=replaced, added={f"{INFO}/shim/p.json": b"{}"}, late=late)
    return plans[0]


def undone(out: Path, folder: Path) -> bytes:
    with WheelArchive.open(out) as wheel:
        check_record(wheel, hashes=hash_members(wheel))
        return apply_undo(wheel, folder).read_bytes()


@pytest.mark.parametrize("embed", [True, False])
@pytest.mark.parametrize("level", [None, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_the_original_comes_back(tmp_path: Path, level: int | None, embed: bool) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": LIB, "demo/t.py": "t = 1\n" * 500}, level=level, comment=b"c")
    (tmp_path / "back").mkdir()
    out = tmp_path / OUT
    patch(source, out, {"demo/lib.so": spliceable(), "demo/t.py": b"t = 2\n" * 700}, embed=embed)
    assert side_car(out).exists() != embed
    assert undone(out, tmp_path / "back") == source.read_bytes()
    assert [path.name for path in (tmp_path / "back").iterdir()] == [source.name]


def test_operations_of_a_splice(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": LIB})
    undo = patch(source, tmp_path / OUT, {"demo/lib.so": spliceable()})
    assert {type(operation) for operation in undo.operations} == {Copy, Literal}
    assert undo.literal_size < source.stat().st_size * 0.15
    assert sum(operation.size for operation in undo.operations) == source.stat().st_size == undo.size


@pytest.mark.parametrize("level", range(1, 10))
def test_operations_of_a_stream_that_zlib_makes_again(tmp_path: Path, level: int) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": LIB}, level=level)
    undo = patch(source, tmp_path / OUT, {"demo/lib.so": scattered()})
    made = [operation for operation in undo.operations if isinstance(operation, Deflate)]
    assert [(operation.path, operation.contents_size) for operation in made] == [("demo/lib.so", len(LIB))]
    # Levels may give the same stream for some contents; what counts is that the one found does.
    engine = zlib.compressobj(made[0].level, zlib.DEFLATED, -15)
    with WheelArchive.open(source) as wheel:
        member = wheel.member("demo/lib.so")
        packed = wheel.file.read(member.data_offset, member.compressed_size)
    assert engine.compress(LIB) + engine.flush() == packed
    assert undo.literal_size < 30_000
    (tmp_path / "back").mkdir()
    assert undone(tmp_path / OUT, tmp_path / "back") == source.read_bytes()


def repacked_by_isal(source: Path) -> Path:
    """The same wheel with the library deflated by another compressor."""
    out = source.with_name("demo-1.0-py3-none-linux_aarch64.whl")
    engine = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
    packed = engine.compress(LIB) + engine.flush()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info, packed if info.filename == "demo/lib.so" else old.read(info), zipfile.ZIP_STORED)
        for info in new.infolist():
            if info.filename == "demo/lib.so":
                info.compress_type, info.file_size, info.CRC = 8, len(LIB), zlib.crc32(LIB)
                offset = info.header_offset
    data = bytearray(out.read_bytes())
    data[offset + 8 : offset + 10] = b"\x08\x00"
    data[offset + 14 : offset + 18] = zlib.crc32(LIB).to_bytes(4, "little")
    data[offset + 22 : offset + 26] = len(LIB).to_bytes(4, "little")
    out.write_bytes(data)
    return out


def test_a_stream_of_another_compressor_is_kept_as_it_is(tmp_path: Path) -> None:
    source = repacked_by_isal(make_wheel(tmp_path, {"demo/lib.so": LIB}))
    with WheelArchive.open(source) as wheel:
        assert find_level(wheel, wheel.member("demo/lib.so")) is None
        packed_size = wheel.member("demo/lib.so").compressed_size
    undo = patch(source, tmp_path / OUT, {"demo/lib.so": scattered()})
    assert not any(isinstance(operation, Deflate) for operation in undo.operations)
    assert undo.literal_size > packed_size
    (tmp_path / "back").mkdir()
    assert undone(tmp_path / OUT, tmp_path / "back") == source.read_bytes()


def test_a_splice_needs_no_zlib(tmp_path: Path) -> None:
    """ISA-L's blocks are eight times as large as zlib's; a change in the middle still leaves most of them."""
    source = repacked_by_isal(make_wheel(tmp_path, {"demo/lib.so": LIB}))
    new = LIB[:1_500_000] + bytes(400) + LIB[1_500_400:]
    undo = patch(source, tmp_path / OUT, {"demo/lib.so": new})
    assert not any(isinstance(operation, Deflate) for operation in undo.operations)
    assert undo.literal_size < source.stat().st_size * 0.5
    (tmp_path / "back").mkdir()
    assert undone(tmp_path / OUT, tmp_path / "back") == source.read_bytes()


def test_known_levels_are_taken(tmp_path: Path) -> None:
    """A result of `find_level` that says "none" must not be searched again."""
    source = make_wheel(tmp_path, {"demo/lib.so": LIB})
    undo = patch(source, tmp_path / OUT, {"demo/lib.so": scattered()}, search=False)
    assert not any(isinstance(operation, Deflate) for operation in undo.operations)


@pytest.mark.parametrize("level", range(1, 10))
def test_find_level(tmp_path: Path, level: int) -> None:
    noise = random.Random(1).randbytes(100_000)
    source = make_wheel(tmp_path, {"demo/lib.so": LIB, "demo/n": noise, "demo/e": b"", "demo/s": "s"}, level=level)
    with WheelArchive.open(source) as wheel:
        for member in wheel.members:
            found = find_level(wheel, member)
            assert found is not None
            data = wheel.read(member)
            engine = zlib.compressobj(found, zlib.DEFLATED, -15)
            packed = wheel.file.read(member.data_offset, member.compressed_size)
            assert engine.compress(data) + engine.flush() == packed
        assert find_level(wheel, wheel.member("demo/lib.so")) == level


def test_a_limit_on_embedded_data(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": LIB})
    found: list[bytes | None] = []

    def late(layout: Layout) -> dict[str, bytes]:
        undo = plan_undo(layout)
        found.append(undo.to_bytes(limit=1000))
        found.append(undo.to_bytes(limit=layout.size))
        return {}

    with WheelArchive.open(source) as archive:
        write_wheel(archive, tmp_path / OUT, replaced={"demo/lib.so": spliceable()}, late=late)
    assert found[0] is None
    assert found[1] is not None
    assert len(found[1]) > 1000


def test_all_members_in_another_order(tmp_path: Path) -> None:
    """The central directory may list members in another order than the file holds them."""
    path = make_wheel(tmp_path, {f"demo/{n}.bin": library(n, 20_000) for n in range(4)})
    raw = path.read_bytes()
    with WheelArchive.open(path) as wheel:
        start, size = wheel.directory.offset, wheel.directory.size
    records = [b"PK\1\2" + part for part in raw[start : start + size].split(b"PK\1\2")[1:]]
    path.write_bytes(raw[:start] + b"".join(reversed(records)) + raw[start + size :])
    (tmp_path / "back").mkdir()
    patch(path, tmp_path / OUT, {"demo/2.bin": b"changed"})
    assert undone(tmp_path / OUT, tmp_path / "back") == path.read_bytes()


def test_undo_under_the_original_name_respects_files_there(tmp_path: Path) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": LIB})
    patch(source, tmp_path / OUT, {"demo/lib.so": spliceable()})
    back = tmp_path / "back"
    back.mkdir()
    (back / source.name).write_bytes(b"mine")
    with WheelArchive.open(tmp_path / OUT) as wheel:
        with pytest.raises(InputError, match="a different file of this name is there already"):
            apply_undo(wheel, back)
        assert (back / source.name).read_bytes() == b"mine"
        apply_undo(wheel, back, force=True)
    assert (back / source.name).read_bytes() == source.read_bytes()


def test_another_zlib_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_wheel(tmp_path, {"demo/lib.so": LIB})
    patch(source, tmp_path / OUT, {"demo/lib.so": scattered()})
    monkeypatch.setattr(undo_module, "recompressor", lambda level: zlib.compressobj(1, zlib.DEFLATED, -15))
    back = tmp_path / "back"
    back.mkdir()
    with (
        WheelArchive.open(tmp_path / OUT) as wheel,
        pytest.raises(VerifyError, match=r"zlib \S+ does not give the original compressed bytes here"),
    ):
        apply_undo(wheel, back)
    assert list(back.iterdir()) == []
