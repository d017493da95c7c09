"""Appending containers: what the loader, other tools and shim's own reader see afterwards, and that undo is exact."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from shim.devicecode import ContainerRole, read_path
from tests.builders import elf
from tests.oracles.wrapper_walk import walk

NEW = (elf.filled_container(5, size=3000), elf.filled_container(7))
WRITABLE = tuple(name for name in elf.LAYOUTS if name not in ("lld-android", "gnu-exec", "gnu-pie-big-bss"))
WITH_NOTE = ("gnu-note", "lld-note", "gnu-pie-note", "gnu-exec-note", "aarch64-note")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def patch(sample: elf.Sample, folder: Path) -> tuple[Path, _core.AppendResult]:
    """Gives the first and third wrapper new containers; the third in two pieces."""
    out = folder / sample.path.name
    edits = [([sample.wrappers[0]], [NEW[0]]), ([sample.wrappers[2]], [NEW[1][:16], NEW[1][16:]])]
    return out, _core.append_containers(sample.path, out, edits)


def expected(sample: elf.Sample) -> list[bytes]:
    return [NEW[0], sample.containers[1], NEW[1]]


def strip(path: Path) -> Path:
    out = path.with_suffix(".stripped")
    subprocess.run(["strip", "-o", out, path], check=True, capture_output=True)
    return out


def assert_loads(path: Path, containers: list[bytes], addresses: tuple[int, ...] = ()) -> None:
    """In a process: wrappers lead to exactly these containers, and the host code still works."""
    loaded = walk(path, addresses=addresses)
    assert [wrapper.sha256 for wrapper in loaded.wrappers] == [digest(data) for data in containers]
    assert [wrapper.version for wrapper in loaded.wrappers] == [1, 1, 2]
    assert loaded.checks == dict.fromkeys(
        (
            "shim_constructor_ran",
            "shim_thread_local",
            "shim_wrappers_lead_to_containers",
            "shim_exception",
        ),
        True,
    )


def run_program(path: Path) -> bytes:
    run = subprocess.run([path], capture_output=True, check=False)
    assert run.returncode == 0, run
    return run.stdout


@pytest.mark.parametrize("name", elf.SHARED_X86)
def test_loader_sees_the_new_containers(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    assert_loads(sample.path, list(sample.containers))
    out, _ = patch(sample, tmp_path)
    assert_loads(out, expected(sample))


@pytest.mark.parametrize("name", ["gnu-pie", "gnu-pie-bss", "gnu-pie-note", "gnu-exec-note"])
def test_programs_still_run(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    assert run_program(sample.path) == b"".join(sample.containers)
    out, _ = patch(sample, tmp_path)
    assert run_program(out) == b"".join(expected(sample))


@pytest.mark.parametrize("name", ["gnu-pie", "gnu-pie-bss"])
def test_moved_table_of_a_program_stays_where_older_kernels_look(name: str, tmp_path: Path) -> None:
    # Before Linux 5.18 AT_PHDR was the load address plus e_phoff, whatever address the table's segment asked for.
    _, result = patch(elf.sample(name), tmp_path)
    assert result.slot == "moved"
    assert result.segment_offset == result.segment_vaddr


@pytest.mark.parametrize("name", ["gnu-rela", "gnu-relr", "lld-rela", "lld-relr", "lld-note"])
def test_file_without_section_headers(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    bare = tmp_path / "bare.so"
    bare.write_bytes(elf.without_section_headers(sample.data))
    out = tmp_path / "out.so"
    edits = [([sample.wrappers[0]], [NEW[0]]), ([sample.wrappers[2]], [NEW[1]])]
    result = _core.append_containers(bare, out, edits)
    with out.open("rb") as file:
        assert ELFFile(file).num_sections() == 0
    assert result.strip_unsafe
    assert [offset % 256 for offset in result.containers] == [0, 0]
    assert_loads(out, expected(sample), addresses=tuple(slot - 8 for slot in sample.slots))


@pytest.mark.parametrize("name", WRITABLE)
def test_undo_gives_back_every_byte(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    out, result = patch(sample, tmp_path)
    assert result.original_size == len(sample.data)
    assert result.size == out.stat().st_size > len(sample.data)
    _core.restore_file(out, tmp_path / "back", result.original_size, result.undo)
    assert (tmp_path / "back").read_bytes() == sample.data


@pytest.mark.parametrize("name", WRITABLE)
def test_undo_lists_all_that_changed_and_nothing_else(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    out, result = patch(sample, tmp_path)
    patched = bytearray(out.read_bytes()[: len(sample.data)])
    end = 0
    for offset, original in result.undo:
        assert offset >= end
        end = offset + len(original)
        assert sample.data[offset:end] == original != patched[offset:end]
        patched[offset:end] = original
    assert patched == sample.data


@pytest.mark.parametrize("name", WRITABLE)
def test_own_reader_sees_new_and_retired_containers(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    out, result = patch(sample, tmp_path)
    code = read_path(out)
    data = out.read_bytes()
    pointed = [code.containers[wrapper.container] for wrapper in code.wrappers]
    assert [data[c.offset : c.offset + c.size] for c in pointed] == expected(sample)
    assert [c.offset for c in pointed[::2]] == result.containers
    assert [c.section for c in pointed] == [".nv_fatbin", "_fatbin", ".nv_fatbin"]
    others = [c for c in code.containers if c not in pointed]
    assert [c.role for c in others] == [ContainerRole.UNREFERENCED] * 2
    assert code.unknown == ()


@pytest.mark.parametrize("name", WRITABLE)
def test_segments_are_what_the_loader_asks_for(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    out, result = patch(sample, tmp_path)
    with sample.path.open("rb") as file:
        before = [dict(s.header) for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]
    with out.open("rb") as file:
        parsed = ELFFile(file)
        loads = [dict(s.header) for s in parsed.iter_segments() if s["p_type"] == "PT_LOAD"]
        table = (parsed["e_phoff"], parsed["e_phnum"] * parsed["e_phentsize"])
        phdr = [s for s in parsed.iter_segments() if s["p_type"] == "PT_PHDR"]
    assert loads[:-1] == before
    new = loads[-1]
    assert new["p_align"] == max(s["p_align"] for s in before) or new["p_align"] == 4096
    assert new["p_flags"] == 4
    assert new["p_offset"] % new["p_align"] == new["p_vaddr"] % new["p_align"] == 0
    assert new["p_offset"] >= len(sample.data)
    assert new["p_vaddr"] >= max(s["p_vaddr"] + s["p_memsz"] for s in before)
    assert (new["p_offset"], new["p_vaddr"]) == (result.segment_offset, result.segment_vaddr)
    assert any(s["p_offset"] <= table[0] and sum(table) <= s["p_offset"] + s["p_filesz"] for s in loads)
    for segment in phdr:
        assert (segment["p_offset"], segment["p_filesz"]) == table
    assert (table[0] == new["p_offset"]) == (result.slot == "moved")


@pytest.mark.parametrize("name", WRITABLE)
def test_sections_name_the_new_place(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    out, result = patch(sample, tmp_path)
    with sample.path.open("rb") as file:
        old = ELFFile(file).get_section_by_name(".nv_fatbin").header
    with out.open("rb") as file:
        parsed = ELFFile(file)
        section = parsed.get_section_by_name(".nv_fatbin")
        retired = parsed.get_section_by_name("_fatbin")
        assert [s.name for s in parsed.iter_sections()].count(".nv_fatbin") == 1
        assert section.data() == out.read_bytes()[result.containers[0] : result.containers[1] + len(NEW[1])]
        symtab = parsed.get_section_by_name(".symtab")
        symbols = [s for s in symtab.iter_symbols() if s["st_value"] == section["sh_addr"] and s.name]
    assert (section["sh_flags"], section["sh_addralign"]) == (2, old["sh_addralign"])
    assert all(offset % old["sh_addralign"] == 0 for offset in result.containers)
    assert {k: v for k, v in retired.header.items() if k != "sh_name"} == {
        k: v for k, v in old.items() if k != "sh_name"
    }
    assert [(s["st_size"], s["st_info"]["type"]) for s in symbols] == [(len(NEW[0]), "STT_OBJECT")]


@pytest.mark.parametrize("name", WRITABLE)
def test_readelf_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    out, _ = patch(elf.sample(name), tmp_path)
    run = subprocess.run(["readelf", "-aW", "--lint", out], capture_output=True, text=True, check=True)
    before = subprocess.run(["readelf", "-aW", "--lint", elf.sample(name).path], capture_output=True, text=True)
    assert run.stderr.replace(str(out), "") == before.stderr.replace(str(elf.sample(name).path), "")


@pytest.mark.skipif(shutil.which("eu-elflint") is None, reason="needs eu-elflint (package elfutils)")
@pytest.mark.parametrize("name", WRITABLE)
def test_elflint_finds_nothing_new(name: str, tmp_path: Path) -> None:
    def complaints(path: Path) -> set[str]:
        run = subprocess.run(["eu-elflint", "--gnu-ld", path], capture_output=True, text=True, check=False)
        return set(run.stdout.splitlines())

    out, _ = patch(elf.sample(name), tmp_path)
    assert complaints(out) <= complaints(elf.sample(name).path)


@pytest.mark.parametrize("name", WITH_NOTE)
def test_spare_note_is_used_and_strip_stays_safe(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    out, result = patch(sample, tmp_path)
    assert (result.slot, result.strip_unsafe) == ("note", False)
    if elf.LAYOUTS[name].machine != "x86_64":
        return
    stripped = strip(out)
    if elf.LAYOUTS[name].kind == "shared":
        assert_loads(stripped, expected(sample))
    else:
        assert run_program(stripped) == b"".join(expected(sample))


@pytest.mark.parametrize("name", ["gnu-build-id", "gnu-rela", "gnu-no-note", "gnu-pie", "lld-rela"])
def test_build_id_and_properties_keep_their_header(name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    out, result = patch(sample, tmp_path)
    assert (result.slot, result.strip_unsafe) == ("moved", True)

    def notes(path: Path) -> list[tuple[str, object]]:
        with path.open("rb") as file:
            segments = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_NOTE"]
            return [(str(note["n_type"]), str(note["n_desc"])) for s in segments for note in s.iter_notes()]

    assert notes(out) == notes(sample.path)


def test_stripped_library(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    stripped = tmp_path / "stripped.so"
    subprocess.run(["strip", "-o", stripped, sample.path], check=True)
    edits = [([sample.wrappers[0]], [NEW[0]]), ([sample.wrappers[2]], [NEW[1]])]
    result = _core.append_containers(stripped, tmp_path / "out.so", edits)
    assert_loads(tmp_path / "out.so", expected(sample))
    assert not any(len(original) == 24 and offset > sample.wrappers[2] for offset, original in result.undo)


def test_wrappers_may_share_a_container(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    result = _core.append_containers(
        sample.path, tmp_path / "out.so", [([sample.wrappers[0], sample.wrappers[1]], [NEW[0]])]
    )
    assert len(result.containers) == 1
    assert_loads(tmp_path / "out.so", [NEW[0], NEW[0], sample.containers[2]])


def test_pieces_from_source_and_from_files(tmp_path: Path) -> None:
    sample = elf.sample("lld-rela")
    old = sample.containers[1]
    at = sample.data.index(old)
    added = NEW[0][16:]
    (tmp_path / "added").write_bytes(added)
    header = _core.make_container_header(len(added) + len(old) - 16)
    pieces = [header, tmp_path / "added", (at + 16, len(old) - 16)]
    _core.append_containers(sample.path, tmp_path / "out.so", [([sample.wrappers[1]], pieces)])
    assert_loads(tmp_path / "out.so", [sample.containers[0], header + added + old[16:], sample.containers[2]])
    (tmp_path / "whole").write_bytes(NEW[1])
    _core.append_containers(sample.path, tmp_path / "out2.so", [([sample.wrappers[1]], [str(tmp_path / "whole")])])
    assert_loads(tmp_path / "out2.so", [sample.containers[0], NEW[1], sample.containers[2]])


def test_mode_bits_are_kept_and_the_source_is_not_touched(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    source = tmp_path / "source.so"
    source.write_bytes(sample.data)
    os.link(source, tmp_path / "linked.so")
    source.chmod(0o751)
    out = tmp_path / "out.so"
    result = _core.append_containers(source, out, [([sample.wrappers[0]], [NEW[0]])])
    assert stat.S_IMODE(out.stat().st_mode) == 0o751
    assert source.read_bytes() == sample.data
    _core.restore_file(out, tmp_path / "back.so", result.original_size, result.undo)
    assert stat.S_IMODE((tmp_path / "back.so").stat().st_mode) == 0o751


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    sample = elf.sample("gnu-rela")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert patch(sample, tmp_path / "a")[0].read_bytes() == patch(sample, tmp_path / "b")[0].read_bytes()
