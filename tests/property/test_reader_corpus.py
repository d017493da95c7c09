"""The kept corpus of the fuzz targets, replayed through shim without clang, and kept true by its script."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from shim import _core
from shim.devicecode import read_cubin, read_path, read_ptx
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


def test_a_wrapper_in_a_container_is_not_lost(tmp_path: Path) -> None:
    data = MADE["rewrite/find-wrapper-in-section"][:-2]
    source = tmp_path / "source"
    source.write_bytes(data)
    inner, first, _ = [at for at in range(0, len(data) - 8, 4) if data[at : at + 4] == bytes.fromhex("b1436246")]
    (target,) = [c.offset for c in read_path(source).containers][:1]
    edit = (target, [inner, first], [_core.make_container_header(0)])
    for layout in ("repack", "move"):
        with pytest.raises(_core.RewriteRefused, match=r"neither a relocation nor an aligned word|program"):
            _core.rewrite_containers(source, tmp_path / "out", [edit], layout=layout)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", [n for n in MADE if n.startswith("rewrite/") and "/find-" not in n])
def test_the_writer_rewrites_its_corpus(file: str, tmp_path: Path) -> None:
    data, layout = MADE[file][:-2], file.split("/")[1].split("-")[0]
    assert ("repack", "append", "move")[int.from_bytes(MADE[file][-2:], "little") % 3] == layout
    source = tmp_path / "source"
    source.write_bytes(data)
    code = read_path(source)
    pointed = code.containers[code.wrappers[-1].container].offset
    edit = (pointed, [code.wrappers[-1].offset], [_core.make_container_header(0)])
    if file in ("rewrite/append-exec", "rewrite/move-exec"):  # good for the refusals' edges
        with pytest.raises(
            _core.RewriteRefused, match=r"program without a program header to spare|program: layout move"
        ):
            _core.rewrite_containers(source, tmp_path / "out", [edit], layout=layout)
        return
    result = _core.rewrite_containers(source, tmp_path / "out", [edit], layout=layout)
    assert (result.cut > 0) == (file in ("rewrite/repack-pages", "rewrite/move-pages"))
    assert len(read_path(tmp_path / "out").wrappers) == len(code.wrappers)
