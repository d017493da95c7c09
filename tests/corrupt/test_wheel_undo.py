"""Reverse data that is absent, damaged, hostile or of another wheel."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from builders.wheels import data_span, library, make_wheel, poke

from shim.errors import InputError, ShimError, VerifyError
from shim.wheels.archive import WheelArchive
from shim.wheels.delta import MAGIC, plan_undo
from shim.wheels.layout import Layout
from shim.wheels.limits import Limits
from shim.wheels.undo import apply_undo, side_car
from shim.wheels.writer import write_wheel

OLD = library(51, 1_000_000)
NEW = OLD[:500] + b"changed!" + OLD[508:] + b"appended"


@pytest.fixture
def patched(tmp_path: Path) -> Path:
    """A patched wheel with a side-car."""
    source = make_wheel(tmp_path, {"demo/lib.so": OLD, "demo/a.py": b"a"})
    out = tmp_path / "demo-1.0-1sm121-py3-none-any.whl"

    def late(layout: Layout) -> dict[str, bytes]:
        plan_undo(layout).write(side_car(out))
        return {}

    with WheelArchive.open(source) as archive:
        write_wheel(archive, out, replaced={"demo/lib.so": NEW}, late=late)
    source.unlink()
    return out


def refused(patched: Path, kind: type[ShimError], limits: Limits | None = None) -> str:
    folder = patched.parent / "back"
    folder.mkdir()
    with WheelArchive.open(patched) as wheel, pytest.raises(kind) as caught:
        apply_undo(wheel, folder, limits=limits)
    assert caught.value.hint
    assert list(folder.iterdir()) == [], "nothing half-written"
    return str(caught.value)


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()[len(MAGIC) :])
    size = int.from_bytes(data[:4], "little")
    return json.loads(data[4 : 4 + size]), data[4 + size :]


def store(path: Path, header: bytes, literals: bytes, size: int | None = None) -> None:
    body = struct.pack("<I", len(header) if size is None else size) + header + literals
    path.write_bytes(MAGIC + zstandard.ZstdCompressor().compress(body))


def test_the_good_one_is_good(patched: Path, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    with WheelArchive.open(patched) as wheel:
        assert apply_undo(wheel, tmp_path / "back").name == "demo-1.0-py3-none-any.whl"


def test_no_undo_data(patched: Path) -> None:
    side_car(patched).unlink()
    text = refused(patched, InputError)
    assert re.search(r"no undo data: neither a member 'demo-1.0.dist-info/shim/undo' nor a file .*\.whl\.undo", text)


def test_side_car_that_is_named_must_be_there(patched: Path, tmp_path: Path) -> None:
    with WheelArchive.open(patched) as wheel, pytest.raises(InputError, match=r"x.undo: cannot be opened"):
        apply_undo(wheel, tmp_path, undo=(tmp_path / "x.undo",))


HEADERS: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda h: h.pop("name"), r"header is malformed \(KeyError: 'name'\)"),
    (lambda h: h.update(name="../evil.whl"), r"the name '../evil.whl' is not one of a file"),
    (lambda h: h.update(name="/etc/passwd"), r"is not one of a file"),
    (lambda h: h.update(name=".."), r"is not one of a file"),
    (lambda h: h.update(name=""), r"is not one of a file"),
    (lambda h: h.update(name=7), r"is not one of a file"),
    (lambda h: h.update(size=-1), r"-1 is not a size or an offset"),
    (lambda h: h.update(size="1"), r"'1' is not a size"),
    (lambda h: h.update(size=True), r"True is not a size"),
    (lambda h: h.update(size=h["size"] + 1), r"its operations give \d+ bytes, expected \d+"),
    (lambda h: h.update(prefix=[1 << 40, 0]), r"refers to 1099511627776 bytes, the wheel has \d+"),
    (lambda h: h.update(prefix=[1]), r"header is malformed \(ValueError"),
    (lambda h: h.update(operations=7), r"header is malformed \(TypeError"),
    (lambda h: h["operations"].insert(0, ["move", 1]), r"\['move', 1\] is not an operation"),
    (lambda h: h["operations"].insert(0, ["copy", 0]), r"is not an operation"),
    (lambda h: h["operations"].insert(0, ["copy", 0, -5]), r"-5 is not a size"),
    (lambda h: h["operations"].insert(0, ["deflate", "x", 11, 1, 1, 1, []]), r"11 is not a zlib level"),
    (lambda h: h["operations"].insert(0, ["deflate", "x", 6, 1, 1, 1, [[1]]]), r"malformed \(ValueError"),
]


@pytest.mark.parametrize(("harm", "message"), HEADERS)
def test_header(patched: Path, harm: Callable[[dict[str, Any]], object], message: str) -> None:
    header, literals = header_of(side_car(patched))
    harm(header)
    store(side_car(patched), json.dumps(header).encode(), literals)
    text = refused(patched, InputError)
    assert "the undo data is damaged" in text
    assert re.search(message, text), text


def with_operations(patched: Path, *operations: list[object]) -> None:
    """Reverse data of nothing but these operations."""
    header, literals = header_of(side_car(patched))
    header["operations"] = list(operations)
    header["size"] = sum(int(str(o[{"copy": 2, "literal": 1}.get(str(o[0]), 3)])) for o in operations)
    store(side_car(patched), json.dumps(header).encode(), literals)


def test_copy_from_behind_the_prefix(patched: Path) -> None:
    size = patched.stat().st_size
    with_operations(patched, ["copy", size - 10, 10])
    assert f"it copies up to byte {size} of the wheel" in refused(patched, InputError)


def test_more_literals_than_there_are(patched: Path) -> None:
    with_operations(patched, ["literal", 50_000_000])
    assert re.search(r"it ends \d+ bytes too early", refused(patched, InputError))


def test_wrong_result(patched: Path) -> None:
    with_operations(patched, ["copy", 0, 100])
    assert "the result is not the original: expected SHA-256" in refused(patched, VerifyError)


def test_repeated_copies_are_bounded(patched: Path) -> None:
    with_operations(patched, *[["copy", 0, 100_000]] * 1000)
    text = refused(patched, InputError, Limits(max_total_size=10_000_000))
    assert "the original would have 100000000 bytes, expected at most 10000000" in text


def test_member_that_is_not_there(patched: Path) -> None:
    with_operations(patched, ["deflate", "demo/none", 6, 10, 0, 10, []])
    assert "there is no member 'demo/none'" in refused_without_hint(patched)


def refused_without_hint(patched: Path) -> str:
    folder = patched.parent / "back"
    folder.mkdir()
    with WheelArchive.open(patched) as wheel, pytest.raises(InputError) as caught:
        apply_undo(wheel, folder)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_changes_without_end(patched: Path) -> None:
    with_operations(patched, ["deflate", "demo/a.py", 6, 10, 0, 10, [[0, 1 << 50]]])
    assert "'demo/a.py' has more changes than shim would record" in refused(patched, InputError)


def test_contents_without_end(patched: Path) -> None:
    with_operations(patched, ["deflate", "demo/a.py", 6, 10, 0, 1 << 50, []])
    assert "member 'demo/a.py' would have 1125899906842624 bytes" in refused(patched, InputError)


def test_wrong_magic(patched: Path) -> None:
    poke(side_car(patched), 0, b"S")
    assert "expected it to start with b'shimundo" in refused(patched, InputError)


def test_another_version(patched: Path) -> None:
    poke(side_car(patched), len(MAGIC) - 1, b"\2")
    assert "expected it to start with b'shimundo" in refused(patched, InputError)


def test_truncated(patched: Path) -> None:
    data = side_car(patched).read_bytes()
    side_car(patched).write_bytes(data[: len(data) // 2])
    assert re.search(r"it ends \d+ bytes too early", refused(patched, InputError))


def test_flipped_bit(patched: Path) -> None:
    path = side_car(patched)
    poke(path, path.stat().st_size // 2, bytes([path.read_bytes()[path.stat().st_size // 2] ^ 4]))
    assert refused(patched, ShimError)


def test_empty_file(patched: Path) -> None:
    side_car(patched).write_bytes(b"")
    assert "expected it to start with" in refused(patched, InputError)


def test_no_zstd_frame(patched: Path) -> None:
    side_car(patched).write_bytes(MAGIC + b"\0" * 40)
    assert "the undo data is damaged" in refused(patched, InputError)


def test_header_that_claims_too_much(patched: Path) -> None:
    store(side_car(patched), b"{}", b"", size=1 << 31)
    assert "its header claims 2147483648 bytes" in refused(patched, InputError)


def test_header_that_is_not_json(patched: Path) -> None:
    store(side_car(patched), b"[" * 200_000, b"")
    assert "header is malformed (RecursionError" in refused(patched, InputError)


def test_changed_wheel(patched: Path) -> None:
    start, size = data_span(patched, "demo/lib.so")
    poke(patched, start + size // 2, b"\x00\x01\x02\x03")
    text = refused(patched, VerifyError)
    assert "changed since it was patched, or the undo data is that of another wheel" in text


def test_a_bomb_in_the_literals(patched: Path) -> None:
    """100 MB of literals behind an operation that asks for ten bytes: only ten are read."""
    header, _ = header_of(side_car(patched))
    header["operations"], header["size"] = [["literal", 10]], 10
    store(side_car(patched), json.dumps(header).encode(), bytes(100_000_000))
    assert "the result is not the original" in refused(patched, VerifyError)
