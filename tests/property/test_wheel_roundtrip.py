"""Random wheels: what is written reads back by other people's code, what is undone is the original."""

from __future__ import annotations

import io
import random
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from builders.wheels import make_wheel, record_text
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shim.errors import ShimError
from shim.wheels.archive import WheelArchive
from shim.wheels.deflate import DeflateMode
from shim.wheels.delta import plan_undo
from shim.wheels.hashing import hash_members
from shim.wheels.layout import Layout
from shim.wheels.limits import Limits
from shim.wheels.metadata import with_build
from shim.wheels.record import RecordRow, check_record, format_record, parse_record
from shim.wheels.undo import apply_undo, undo_member
from shim.wheels.writer import write_wheel

INFO = "demo-1.0.dist-info"

names = st.text("abcXYZ019_-. ,é漢", min_size=1, max_size=12).filter(lambda n: n.strip(".") and "/" not in n)


def grown(seed: int, size: int, noise: int) -> bytes:
    """Contents of which `noise` in eight parts do not compress."""
    rng = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        length = rng.randrange(1, 6000)
        out += rng.randbytes(length) if rng.randrange(8) < noise else rng.randbytes(20) * (length // 20 + 1)
    return bytes(out[:size])


contents = st.builds(
    grown,
    st.integers(0, 1 << 30),
    st.one_of(st.integers(0, 3000), st.integers(0, 400_000), st.integers(0, 1_500_000)),
    st.integers(0, 8),
)


@st.composite
def edits(draw: Any, old: bytes) -> bytes:
    """New contents: changes here and there, something appended or cut off, or all new."""
    if draw(st.integers(0, 9)) == 0:
        return bytes(draw(contents))
    new = bytearray(old)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(new)))
        new[at : at + draw(st.integers(0, 500))] = draw(st.binary(max_size=600))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(new)))
        size = min(draw(st.integers(0, 3000)), len(new) - at)
        new[at : at + size] = random.Random(at).randbytes(size)
    if draw(st.booleans()):
        new += draw(contents)[:100_000]
    if draw(st.booleans()):
        del new[draw(st.integers(0, len(new))) :]
    return bytes(new)


@st.composite
def members(draw: Any) -> dict[str, bytes]:
    found = draw(st.dictionaries(names, contents, min_size=1, max_size=5))
    folded = {name.casefold(): name for name in found}
    return {f"demo/{name}": found[name] for name in folded.values()}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), files=members(), level=st.sampled_from([None, *range(1, 10)]), streamed=st.booleans())
def test_patch_and_undo(data: st.DataObject, files: dict[str, bytes], level: int | None, streamed: bool) -> None:
    mode = data.draw(st.sampled_from(DeflateMode))
    comment = data.draw(st.binary(max_size=20).filter(lambda c: b"PK" not in c))
    chosen = data.draw(st.lists(st.sampled_from(sorted(files)), unique=True))
    replaced: dict[str, Path | bytes] = {name: data.draw(edits(files[name])) for name in chosen}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = make_wheel(folder, files, level=level, streamed=streamed, comment=comment)
        out = folder / "demo-1.0-1sm121-py3-none-any.whl"

        def late(layout: Layout) -> dict[str, bytes]:
            blob = plan_undo(layout).to_bytes(limit=1 << 30)
            assert blob is not None
            return {undo_member(INFO): blob}

        with WheelArchive.open(source) as archive:
            wheel_file = archive.read(archive.member(f"{INFO}/WHEEL"))
            replaced[f"{INFO}/WHEEL"] = with_build(wheel_file, "1sm121")
            write_wheel(archive, out, replaced=replaced, mode=mode, late=late)
        with zipfile.ZipFile(out) as oracle:
            assert oracle.testzip() is None
            assert oracle.comment == comment
            for path, old in files.items():
                assert oracle.read(path) == replaced.get(path, old)
        (folder / "back").mkdir()
        with WheelArchive.open(out) as wheel:
            check_record(wheel, hashes=hash_members(wheel))
            result = apply_undo(wheel, folder / "back")
        assert result.name == source.name
        assert result.read_bytes() == source.read_bytes()


@settings(max_examples=100, deadline=None)
@given(files=members(), level=st.sampled_from([None, 1, 6, 9]), streamed=st.booleans(), data=st.data())
def test_ranges_are_slices(files: dict[str, bytes], level: int | None, streamed: bool, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = make_wheel(Path(name), files, level=level, streamed=streamed)
        member = data.draw(st.sampled_from(sorted(files)))
        size = len(files[member])
        starts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
        ranges = [(start, data.draw(st.integers(0, size - start))) for start in starts]
        with WheelArchive.open(path) as wheel:
            found = list(wheel.read_ranges(wheel.member(member), ranges))
        assert found == [files[member][start : start + length] for start, length in ranges]


SMALL = {"demo/a.py": b"a = 1\n" * 50, "demo/b.bin": bytes(range(256)) * 3, "demo/c": b""}


def small_wheel() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        return make_wheel(Path(name), SMALL).read_bytes()


GOOD = small_wheel()
FIELDS = st.sampled_from([b"\0", b"\xff", b"PK", b"PK\1\2", b"PK\3\4", b"PK\5\6", b"\xff\xff\xff\xff", b"\1\0", b"../"])


@settings(max_examples=600, deadline=None)
@given(
    pokes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.one_of(st.binary(min_size=1, max_size=4), FIELDS))),
    cut=st.one_of(st.none(), st.integers(0, len(GOOD))),
    tail=st.binary(max_size=30),
)
@example(pokes=[(len(GOOD) - 12, b"\0")], cut=None, tail=b"")
def test_mutated_wheels_are_refused_or_read_as_zipfile_reads_them(
    pokes: list[tuple[int, bytes]], cut: int | None, tail: bytes
) -> None:
    """No crash, no other exception; and whatever is accepted means the same to Python's own reader."""
    data = bytearray(GOOD)
    for at, new in pokes:
        data[at : at + len(new)] = new
    data = data[: len(data) if cut is None else cut] + tail
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "demo-1.0-py3-none-any.whl"
        path.write_bytes(data)
        refusal: ShimError | None = None
        found: dict[str, bytes] = {}
        try:
            with WheelArchive.open(path, limits=Limits(max_members=1000)) as wheel:
                found = {member.path: wheel.read(member) for member in wheel.members}
        except ShimError as err:
            refusal = err
        if refusal is not None:
            assert str(path) in str(refusal)
            assert refusal.exit_code == 3
            return
        try:
            oracle = zipfile.ZipFile(io.BytesIO(data))
        except NotImplementedError:  # of a version of the format that zipfile does not know; the data need none
            return
        with oracle:
            assert found == {info.filename: oracle.read(info) for info in oracle.infolist()}


paths = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)


@given(rows=st.lists(st.tuples(paths, st.binary(max_size=50)), max_size=8, unique_by=lambda row: row[0]))
def test_record_round_trip(rows: list[tuple[str, bytes]]) -> None:
    made = [
        RecordRow(path=path, algorithm="sha256", digest=f"{zlib.crc32(data):064x}", size=len(data))
        for path, data in rows
    ]
    text = format_record(made)
    parsed = parse_record(text)
    assert [(r.path, r.algorithm, r.digest, r.size) for r in parsed] == [
        (r.path, r.algorithm, r.digest, r.size) for r in made
    ]
    assert format_record(parsed) == text


@given(st.dictionaries(st.text('ab,"é ', min_size=1), st.binary(), max_size=5))
def test_records_of_others_are_kept_to_the_byte(files: dict[str, bytes]) -> None:
    text = record_text({name.replace('"', "'"): data for name, data in files.items()}, "r")
    assert format_record(parse_record(text)) == text


@given(st.binary(max_size=300))
def test_any_bytes_as_record_give_rows_or_an_error(data: bytes) -> None:
    refusal: ShimError | None = None
    rows: tuple[RecordRow, ...] = ()
    try:
        rows = parse_record(data)
    except ShimError as err:
        refusal = err
    assert refusal is None or refusal.exit_code == 3
    assert parse_record(format_record(rows)) == rows


@given(st.binary(min_size=1, max_size=40), st.booleans())
def test_names_decode_as_zipfile_decodes_them(raw: bytes, utf8: bool) -> None:
    """Both readers must unpack to the same place."""
    flags = 0x800 if utf8 else 0
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, flags, 0, 0, 33, 0, 0, 0, len(raw), 0) + raw
    central = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, flags, 0, 0, 33, 0, 0, 0, len(raw), *[0] * 6) + raw
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.zip"
        path.write_bytes(local + central + end)
        try:
            with WheelArchive.open(path) as archive:
                found = archive.members[0].path
        except ShimError:
            return
        with zipfile.ZipFile(path) as oracle:
            assert [found] == oracle.namelist()
