"""The ELF structures of rewritten files: what linkers' tools and the loader's rules say of them."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.builders import elf
from tests.oracles.wrapper_walk import walk
from tests.unit.core.rewriting import NEW, big, every_combination, expected, output, patched

WITH_NOTE = ("gnu-note", "lld-note", "gnu-pie-note", "gnu-exec-note", "aarch64-note")


def loads(path: Path) -> list[dict[str, int]]:
    with path.open("rb") as file:
        return [dict(s.header) for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]


def mapped(path: Path, address: int) -> tuple[int, int] | None:
    """(file offset, flags) of an address."""
    for s in loads(path):
        if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_filesz"]:
            return s["p_offset"] + address - s["p_vaddr"], s["p_flags"]
    return None


@every_combination
def test_segments_are_what_the_loader_asks_for(name: str, layout: str) -> None:
    sample = big(name)
    out, result = patched(name, layout)
    before, after = loads(sample.path), loads(out)
    with out.open("rb") as file:
        parsed = ELFFile(file)
        table = (parsed["e_phoff"], parsed["e_phnum"] * parsed["e_phentsize"])
        phdr = [s.header for s in parsed.iter_segments() if s["p_type"] == "PT_PHDR"]
    align = max(4096, *(s["p_align"] for s in before))
    for s in after:
        assert (s["p_vaddr"] - s["p_offset"]) % align == 0 or s["p_align"] < align
        assert s["p_offset"] + s["p_filesz"] <= result.size
    for one, two in itertools.pairwise(after):
        # Also when pages are as large as the file allows: no page belongs to two segments in different ways.
        assert one["p_vaddr"] + one["p_memsz"] <= two["p_vaddr"]
    if layout == "append":
        assert after[:-1] == before
    if layout != "repack":
        new = after[-1]
        assert (new["p_align"], new["p_flags"]) == (align, 4)
        assert new["p_offset"] % align == new["p_vaddr"] % align == 0
        assert new["p_vaddr"] >= max(s["p_vaddr"] + s["p_memsz"] for s in before)
        assert (new["p_offset"], new["p_vaddr"]) == (result.segment_offset, result.segment_vaddr)
    assert len(after) == len(before) + (layout != "repack") + (result.cut > 0)
    assert any(s["p_offset"] <= table[0] and sum(table) <= s["p_offset"] + s["p_filesz"] for s in after)
    for segment in phdr:
        assert (segment["p_offset"], segment["p_filesz"]) == table
        assert mapped(out, segment["p_vaddr"]) == (table[0], 4) or result.slot != "moved"


@every_combination
def test_every_section_that_stays_keeps_address_and_bytes(name: str, layout: str) -> None:
    """Addresses do not change, so code, relocations, symbols and unwind tables stay true."""
    sample = big(name)
    out, _ = patched(name, layout)
    changing = {".nv_fatbin", "_fatbin", ".symtab", ".dynsym", ".rela.dyn", ".nvFatBinSegment", ".data.rel.ro", ""}
    with sample.path.open("rb") as old, out.open("rb") as new:
        before, after = ELFFile(old), ELFFile(new)
        assert after.num_sections() == before.num_sections() + 1
        for one, two in zip(before.iter_sections(), after.iter_sections(), strict=False):
            if one.name != ".nv_fatbin":
                assert two.name == one.name
                assert (one["sh_addr"], one["sh_size"], one["sh_flags"]) == (
                    two["sh_addr"],
                    two["sh_size"],
                    two["sh_flags"],
                )
            if one.name not in changing:
                assert two.data() == one.data(), one.name
            if one["sh_flags"] & 2 and one["sh_type"] != "SHT_NOBITS" and two["sh_size"]:
                place = mapped(out, two["sh_addr"])
                assert place is not None
                assert place[0] == two["sh_offset"]
                if one["sh_flags"] & 4:
                    assert place[1] & 1, "code that cannot run"


@every_combination
def test_sections_name_the_new_place(name: str, layout: str) -> None:
    sample = big(name)
    out, result = patched(name, layout)
    with sample.path.open("rb") as file:
        old = ELFFile(file).get_section_by_name(".nv_fatbin").header
    with out.open("rb") as file:
        parsed = ELFFile(file)
        section = parsed.get_section_by_name(".nv_fatbin")
        retired = parsed.get_section_by_name("_fatbin")
        names = [s.name for s in parsed.iter_sections()]
        symtab = parsed.get_section_by_name(".symtab")
        index = names.index(".nv_fatbin")
        symbols = {
            s["st_value"]: s["st_size"] for s in symtab.iter_symbols() if s["st_shndx"] == index and s["st_size"]
        }
        start, size = section["sh_offset"], section["sh_size"]
        address = section["sh_addr"]
        marker = retired.data()
    assert names.count(".nv_fatbin") == names.count("_fatbin") == 1
    places = [*result.containers, *(now for _, now in result.moved)]
    assert start == min(places)
    last = max(places)
    data = out.read_bytes()
    assert start + size == last + 16 + int.from_bytes(data[last + 8 : last + 16], "little")
    assert (section["sh_flags"], section["sh_addralign"]) == (2, old["sh_addralign"])
    assert all(offset % old["sh_addralign"] == 0 for offset in places)
    if layout == "append":
        assert {k: v for k, v in retired.header.items() if k != "sh_name"} == {
            k: v for k, v in old.items() if k != "sh_name"
        }
        # As ever, the linker script's order or what is not edited stays where it was.
        assert symbols == {
            address + offset - start: len(data) for offset, data in zip(result.containers, NEW, strict=True)
        }
    else:
        assert (marker, retired["sh_flags"]) == (bytes(8), 0)
        sizes = [len(NEW[0]), len(NEW[1]), len(sample.containers[1])]
        assert symbols == {address + offset - start: length for offset, length in zip(places, sizes, strict=True)}


def without_numbers(lines: str) -> set[str]:
    """Complaints name segments and symbols by number, and the numbers shift."""
    return {re.sub(r"phdr\[\d+\]", "phdr[N]", line) for line in lines.splitlines()}


@every_combination
def test_readelf_finds_nothing_wrong(name: str, layout: str) -> None:
    out, before = patched(name, layout)[0], big(name).path
    lint = {path: output("readelf", "-aW", "--lint", path).replace(str(path), "") for path in (out, before)}
    warnings = {path: {line for line in text.splitlines() if "readelf:" in line} for path, text in lint.items()}
    assert warnings[out] <= warnings[before]


@pytest.mark.skipif(shutil.which("eu-elflint") is None, reason="needs elfutils (eu-elflint)")
@every_combination
def test_elflint_finds_nothing_new(name: str, layout: str) -> None:
    if (name, layout) in (("gnu-symbol", "append"), ("aarch64-gnu-symbol", "append")):
        # It adds the size of the symbol to the address that is relocated, so that a large container seems to reach
        # into the read-only segment behind it: `r_offset + sym->st_size >= loaded->from` (elfutils 0.188).
        ignored = "read-only section modified but text relocation flag not set"
    else:
        ignored = "nothing is ignored"
    before = without_numbers(output("eu-elflint", "--gnu-ld", big(name).path))
    after = without_numbers(output("eu-elflint", "--gnu-ld", patched(name, layout)[0]))
    assert {line for line in after - before if ignored not in line} <= {"No errors"}


@every_combination
def test_notes_can_still_be_read(name: str, layout: str) -> None:
    """The build-id names the code, which is unchanged; debuggers and symbol servers go by it."""
    before, after = output("readelf", "-nW", big(name).path), output("readelf", "-nW", patched(name, layout)[0])
    found = {text: re.findall(r"Build ID: \w+|Properties: .*", text) for text in (before, after)}
    assert found[after] == found[before]


@every_combination
def test_segments_of_notes_that_are_read_at_run_time_stay(name: str, layout: str) -> None:
    def notes(path: Path) -> list[tuple[str, str]]:
        with path.open("rb") as file:
            segments = [s for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_NOTE"]
            found = [(str(note["n_type"]), str(note["n_desc"])) for s in segments for note in s.iter_notes()]
        return [note for note in found if note[0] in ("NT_GNU_BUILD_ID", "NT_GNU_PROPERTY_TYPE_0")]

    assert notes(patched(name, layout)[0]) == notes(big(name).path)


@pytest.mark.parametrize("layout", ["repack", "append"])
@pytest.mark.parametrize("name", WITH_NOTE)
def test_spare_note_is_used_and_strip_stays_safe(name: str, layout: str, tmp_path: Path) -> None:
    sample = big(name)
    out, result = patched(name, layout)
    assert (result.slot, result.strip_unsafe) == ("note", False)
    if elf.LAYOUTS[name].machine != "x86_64":
        return
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, out], check=True, capture_output=True)
    if elf.LAYOUTS[name].kind == "shared":
        loaded = walk(stripped)
        assert [wrapper.size for wrapper in loaded.wrappers] == [len(data) for data in expected(sample)]
        assert all(loaded.checks.values())
    else:
        assert subprocess.run([stripped], capture_output=True, check=True).stdout == b"".join(expected(sample))


@pytest.mark.parametrize("name", ["gnu-build-id", "gnu-rela", "gnu-no-note", "lld-rela"])
@pytest.mark.parametrize("layout", ["repack", "append", "move"])
def test_table_moves_when_no_header_is_to_spare(name: str, layout: str) -> None:
    _, result = patched(name, layout)
    assert (result.slot, result.strip_unsafe) == ("moved", True)


@pytest.mark.parametrize("layout", ["repack", "move"])
@pytest.mark.parametrize("name", ["aarch64-gnu-like", "aarch64-gnu", "gnu-one-segment"])
def test_part_of_an_executable_segment_without_code_cannot_run(name: str, layout: str) -> None:
    before, after = loads(big(name).path), loads(patched(name, layout)[0])
    assert [s["p_flags"] & 1 for s in before].count(1) == 1
    assert [s["p_flags"] & 1 for s in after].count(1) == 1
