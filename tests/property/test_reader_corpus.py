"""The kept corpus of the fuzz targets, replayed through shim without clang, and kept true by its script."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from shim.devicecode import read_cubin, read_ptx
from shim.errors import InputError
from tests.builders.reading import facts, read_file, read_stream

FUZZ = Path(__file__).parents[2] / "cpp" / "fuzz"
NAMES = ("", "a.so", "a.ptx", "a.cubin", "a.fatbin", "a.ltoir", "a.o", "a.a")  # as in cpp/fuzz/fuzz.hpp


def load_script():
    spec = importlib.util.spec_from_file_location("make_corpus", FUZZ / "make_corpus.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module


MAKE_CORPUS = load_script()
MADE = {f"{target}/{name}": data for target, make in MAKE_CORPUS.TARGETS.items() for name, data in make().items()}


def test_the_script_makes_the_corpus() -> None:
    """Files with compressed payloads may differ in them: another zstd or LZ4 packs as well."""
    kept = {str(p.relative_to(FUZZ / "corpus")): p.read_bytes() for p in (FUZZ / "corpus").glob("*/*")}
    assert kept.keys() == MADE.keys()
    assert sum(kept[name] == MADE[name] for name in kept) > len(kept) // 2
    assert all(len(data) <= MAKE_CORPUS.LIMITS.get(name.split("/")[0], 4096) for name, data in kept.items())
    assert len(kept) < 80


def outcome(read) -> object:
    try:
        return facts(read())
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("file", [n for n in MADE if n.split("/")[0] in ("scan", "fatbin", "ar", "elf")])
def test_stream_equals_mapping(file: str, tmp_path: Path) -> None:
    data, name = MADE[file], "a.so"
    if not file.startswith("elf/"):
        seed = int.from_bytes(data[-2:], "little")
        data, name = data[:-2], NAMES[seed % 8] or "none"
    if file.startswith("ar/"):
        data = b"!<arch>\n" + data
    mapped = outcome(lambda: read_file(tmp_path, data, name))
    for step in (1, 7, 100, 4096):
        assert outcome(lambda step=step: read_stream(data, name, range(step, len(data), step))) == mapped
    assert isinstance(mapped, str) == file.startswith("scan/find-"), "good files are read, finds are refused"


@pytest.mark.parametrize("file", [n for n in MADE if n.startswith("cubin/")])
def test_cubins(file: str) -> None:
    names = [k.name for k in read_cubin(MADE[file]).kernels]
    assert names == ([] if file == "cubin/no-kernel" else ["kernel"])


@pytest.mark.parametrize("file", [n for n in MADE if n.startswith("ptx/")])
def test_texts(file: str) -> None:
    expected = {"plain": ["kernel"], "two": ["one", "two"], "declaration": []}
    assert [k.name for k in read_ptx(MADE[file])] == expected.get(file.split("/")[1], ["k"])
