""".cubin files: what only the whole file tells, from disk and from a stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.devicecode import DeviceCode, StreamReader, read_path
from tests.builders.cubin import cubin
from tests.builders.fatbin import compat

PROVEN = compat((0x0B, (0x50).to_bytes(8, "little")))


def streamed(name: str, data: bytes) -> DeviceCode:
    reader = StreamReader(name, len(data))
    for at in range(0, len(data), 100):
        reader.feed(data[at : at + 100])
    return reader.finish(lambda ranges: (data[at : at + size] for at, size in ranges))


def both(tmp_path: Path, data: bytes) -> DeviceCode:
    path = tmp_path / "k.cubin"
    path.write_bytes(data)
    code = read_path(path, member="k.cubin")
    assert streamed("k.cubin", data).loose == code.loose
    return code


@pytest.mark.parametrize("abi", [8])
def test_compat_and_kernels(tmp_path: Path, abi: int) -> None:
    (image,) = both(tmp_path, cubin(120, abi=abi, compat=PROVEN)).loose
    assert (str(image.arch), image.compat, image.has_code) == ("120", PROVEN, True)


def test_none_of_either(tmp_path: Path) -> None:
    (image,) = both(tmp_path, cubin(120, symbols=())).loose
    assert (image.compat, image.has_code) == (b"", False)


def test_older_code_is_not_looked_into(tmp_path: Path) -> None:
    (image,) = both(tmp_path, cubin(90, abi=7)).loose
    assert (image.compat, image.has_code) == (b"", None)


@pytest.mark.parametrize(
    ("note", "arch"),
    [
        (b"-arch sm_100f -m 64 ", "100f"),
        (b"-arch=sm_100f ", "100f"),
        (b"-arch sm_120f ", "100"),  # of another file: not believed
        (b"-arch sm_100 ", "100"),
        (b"-march sm_100foo", "100"),
    ],
)
def test_the_suffix_f_stands_in_the_note_of_the_tool(tmp_path: Path, note: bytes, arch: str) -> None:
    (image,) = both(tmp_path, cubin(100) + note).loose
    assert str(image.arch) == arch


def test_code_for_one_architecture_stays_so(tmp_path: Path) -> None:
    (image,) = both(tmp_path, cubin(100, feature="a", compat=compat((9, 1))) + b"-arch sm_100f ").loose
    assert str(image.arch) == "100a"
