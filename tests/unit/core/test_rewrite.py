"""Containers rewritten in three layouts: what the loader, shim's own reader and undo find afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from shim.devicecode import ContainerRole, read_path
from tests.builders import elf
from tests.oracles.wrapper_walk import walk
from tests.unit.core.rewriting import LAYOUTS, NEW, big, every_combination, expected, patch, patched

every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def assert_loads(path: Path, containers: list[bytes], addresses: tuple[int, ...] = ()) -> None:
    """In a process: wrappers lead to exactly these containers, and the host code still works."""
    loaded = walk(path, addresses=addresses)
    assert [wrapper.sha256 for wrapper in loaded.wrappers] == [hashlib.sha256(data).hexdigest() for data in containers]
    assert [wrapper.version for wrapper in loaded.wrappers] == [1, 1, 2]
    assert loaded.checks == dict.fromkeys(
        (
            "shim_constructor_ran",
            "shim_thread_local",
            "shim_ifunc",
            "shim_wrappers_lead_to_containers",
            "shim_exception",
        ),
        True,
    )


def run_program(path: Path) -> bytes:
    run = subprocess.run([path], capture_output=True, check=False)
    assert run.returncode == 0, run
    return run.stdout


@every_layout
@pytest.mark.parametrize("name", elf.SHARED_X86)
def test_loader_sees_the_new_containers(name: str, layout: str) -> None:
    sample = big(name)
    assert_loads(sample.path, list(sample.containers))
    assert_loads(patched(name, layout)[0], expected(sample))


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        *((name, "repack") for name in elf.PROGRAMS if name.startswith("gnu")),
        *((name, "append") for name in ("gnu-pie-note", "gnu-exec-note")),
    ],
)
def test_programs_still_run(name: str, layout: str) -> None:
    sample = big(name)
    assert run_program(sample.path) == b"".join(sample.containers)
    assert run_program(patched(name, layout)[0]) == b"".join(expected(sample))


@pytest.mark.parametrize("name", [name for name in elf.PROGRAMS if not name.startswith("aarch64")])
def test_a_programs_header_table_never_moves_in_a_repack(name: str) -> None:
    _, result = patched(name, "repack")
    assert result.slot == ("note" if name.endswith("-note") else "none")
    assert (result.cut > 0) == name.endswith("-note")


@every_combination
def test_old_ranges_are_where_they_are_said_to_be(name: str, layout: str) -> None:
    sample = big(name)
    out, result = patched(name, layout)
    new = out.read_bytes()
    assert (result.layout, result.original_size, result.size) == (layout, len(sample.data), len(new))
    at = 0
    for offset, size, now in result.old:
        assert offset == at
        assert size > 0
        if now >= 0:
            assert new[now : now + size] == sample.data[offset : offset + size]
        at += size
    assert at == len(sample.data)
    gone = sum(size for _, size, now in result.old if now < 0)
    replaced = 0 if layout == "append" else len(sample.containers[0]) + len(sample.containers[2])
    assert replaced <= gone < replaced + 8192


@every_combination
def test_append_changes_nothing_but_what_is_listed(name: str, layout: str) -> None:
    sample = big(name)
    out, result = patched(name, layout)
    if layout != "append":
        assert dict(result.moved).keys() == {sample.offsets[1]}
        return
    new = out.read_bytes()
    assert [offset for offset, _, now in result.old if now not in (-1, offset)] == []
    for offset, size, now in result.old:
        if now < 0:
            assert new[offset : offset + size] != sample.data[offset : offset + size]


@every_combination
def test_own_reader_sees_the_new_containers(name: str, layout: str) -> None:
    sample = big(name)
    out, result = patched(name, layout)
    code = read_path(out)
    data = out.read_bytes()
    pointed = [code.containers[wrapper.container] for wrapper in code.wrappers]
    assert [data[c.offset : c.offset + c.size] for c in pointed] == expected(sample)
    assert [c.offset for c in pointed[::2]] == result.containers
    others = [c for c in code.containers if c not in pointed]
    if layout == "append":
        assert [c.section for c in pointed] == [".nv_fatbin", "_fatbin", ".nv_fatbin"]
        assert [c.role for c in others] == [ContainerRole.UNREFERENCED] * 2
    else:
        assert {c.section for c in pointed} == {".nv_fatbin"}
        assert others == []
        assert result.moved == [(sample.offsets[1], pointed[1].offset)]
    assert code.unknown == ()


@every_combination
def test_the_file_shrinks_by_what_is_freed(name: str, layout: str) -> None:
    sample = big(name)
    _, result = patched(name, layout)
    page = 65_536 if sample.path.name.startswith("libaarch64") and "4k" not in name else 4096
    freed = len(sample.containers[0]) + len(sample.containers[2]) - len(NEW[0]) - len(NEW[1])
    if layout == "append" or result.slot == "none":
        assert result.cut == 0
        assert result.size > len(sample.data)
    else:
        assert result.cut % page == 0
        assert len(sample.data) - result.size > freed - 3 * max(page, 65_536 if "aarch64" in name else 0) > 0


@pytest.mark.parametrize("name", ["gnu-rela", "gnu-relr", "lld-rela", "lld-relr", "lld-note"])
def test_file_without_section_headers(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    bare = tmp_path / "bare.so"
    bare.write_bytes(elf.without_section_headers(sample.data))
    out = tmp_path / "out.so"
    edits = [sample.edit(0, NEW[0]), sample.edit(2, NEW[1])]
    result = _core.rewrite_containers(bare, out, edits, layout="append")
    with out.open("rb") as file:
        assert ELFFile(file).num_sections() == 0
    assert result.strip_unsafe
    assert [offset % 256 for offset in result.containers] == [0, 0]
    assert_loads(out, expected(sample), addresses=tuple(slot - 8 for slot in sample.slots))
    for layout in ("repack", "move"):
        with pytest.raises(_core.RewriteRefused, match=r"no section \.nv_fatbin"):
            _core.rewrite_containers(bare, tmp_path / "other", edits, layout=layout)


@every_layout
@pytest.mark.parametrize("name", ["gnu-rela", "gnu-relr", "gnu-symbol", "lld-rela"])
def test_stripped_library(name: str, layout: str, tmp_path: Path) -> None:
    sample = big(name)
    stripped = tmp_path / "stripped.so"
    subprocess.run(["strip", "-o", stripped, sample.path], check=True)
    edits = [sample.edit(0, NEW[0]), sample.edit(2, NEW[1])]
    _core.rewrite_containers(stripped, tmp_path / "out.so", edits, layout=layout)
    assert_loads(tmp_path / "out.so", expected(sample))


@every_layout
def test_wrappers_may_share_a_container(layout: str, tmp_path: Path) -> None:
    sample = big("gnu-rela")
    shared = bytearray(sample.data)
    (_, _, first), (_, _, second) = _core.elf_slots(sample.data, sample.slots[:2])
    shared[second + 16 : second + 24] = shared[first + 16 : first + 24]
    (tmp_path / "shared.so").write_bytes(shared)
    edit = (sample.offsets[0], list(sample.wrappers[:2]), [NEW[0]])
    result = _core.rewrite_containers(tmp_path / "shared.so", tmp_path / "out.so", [edit], layout=layout)
    assert len(result.containers) == 1
    assert_loads(tmp_path / "out.so", [NEW[0], NEW[0], sample.containers[2]])
    some = (sample.offsets[0], [sample.wrappers[0]], [NEW[0]])
    if layout == "append":
        _core.rewrite_containers(tmp_path / "shared.so", tmp_path / "out2.so", [some], layout=layout)
        assert_loads(tmp_path / "out2.so", [NEW[0], sample.containers[0], sample.containers[2]])
    else:
        with pytest.raises(ValueError, match="leaves out the wrapper at file offset"):
            _core.rewrite_containers(tmp_path / "shared.so", tmp_path / "out2.so", [some], layout=layout)


@pytest.mark.parametrize("layout", ["repack", "move"])
def test_container_that_no_wrapper_leads_to(layout: str, tmp_path: Path) -> None:
    sample = big("gnu-rela")
    pointed = bytearray(sample.data)
    (_, _, first), (_, _, second) = _core.elf_slots(sample.data, sample.slots[:2])
    pointed[second + 16 : second + 24] = pointed[first + 16 : first + 24]
    source = tmp_path / "source.so"
    source.write_bytes(pointed)
    _core.rewrite_containers(source, tmp_path / "a.so", [sample.edit(2, NEW[1])], layout=layout)
    assert_loads(tmp_path / "a.so", [sample.containers[0], sample.containers[0], NEW[1]])
    assert sample.containers[1] in (tmp_path / "a.so").read_bytes()
    empty = (sample.offsets[1], [], [_core.make_container_header(0)])
    _core.rewrite_containers(source, tmp_path / "b.so", [empty], layout=layout)
    assert_loads(tmp_path / "b.so", [sample.containers[0], sample.containers[0], sample.containers[2]])
    assert sample.containers[1] not in (tmp_path / "b.so").read_bytes()


@every_layout
def test_pieces_from_source_and_from_files(layout: str, tmp_path: Path) -> None:
    sample = big("lld-rela")
    old = sample.containers[2]
    at, entry = sample.offsets[2], (len(old) - 16) // 3
    added = NEW[1][16:]
    (tmp_path / "added").write_bytes(added)
    header = _core.make_container_header(len(added) + entry)
    pieces = [header, tmp_path / "added", (at + 16 + entry, entry)]
    result = _core.rewrite_containers(sample.path, tmp_path / "out.so", [sample.edit(2, *pieces)], layout=layout)
    assert_loads(tmp_path / "out.so", [*sample.containers[:2], header + added + old[16 + entry : 16 + 2 * entry]])
    # An entry that was kept need not stand in the reverse data.
    (now,) = [now for offset, size, now in result.old if offset <= at + 16 + entry < offset + size]
    assert now >= 0
    (tmp_path / "whole").write_bytes(NEW[1])
    edit = sample.edit(2, str(tmp_path / "whole"))
    _core.rewrite_containers(sample.path, tmp_path / "out2.so", [edit], layout=layout)
    assert_loads(tmp_path / "out2.so", [*sample.containers[:2], NEW[1]])


@every_layout
def test_mode_bits_are_kept_and_the_source_is_not_touched(layout: str, tmp_path: Path) -> None:
    sample = big("gnu-rela")
    source = tmp_path / "source.so"
    source.write_bytes(sample.data)
    os.link(source, tmp_path / "linked.so")
    source.chmod(0o751)
    out = tmp_path / "out.so"
    _core.rewrite_containers(source, out, [sample.edit(0, NEW[0])], layout=layout)
    assert stat.S_IMODE(out.stat().st_mode) == 0o751
    assert source.read_bytes() == sample.data


@every_layout
def test_equal_input_gives_equal_bytes(layout: str, tmp_path: Path) -> None:
    again, _ = patch(big("gnu-rela"), tmp_path, layout)
    assert again.read_bytes() == patched("gnu-rela", layout)[0].read_bytes()
