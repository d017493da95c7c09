"""One field at a time made wrong: the writer gives one clear error or a sound file, never a crash or half a file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from tests.builders import elf

SMALL = elf.filled_container(1)
LAYOUTS = ("repack", "append", "move")
_HEADER = ((0, 4), (4, 1), (5, 1), (6, 1), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (48, 4), (52, 2))
_HEADER += ((54, 2), (56, 2), (58, 2), (60, 2), (62, 2))
_PROGRAM = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 8))
_SECTION = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
_WRAPPER = ((0, 4), (4, 4), (8, 8), (16, 8))
_RELOCATION = ((0, 8), (8, 4), (12, 4), (16, 8))
_DYNAMIC = ((0, 8), (8, 8))
_FORMS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


@cache
def structures(name: str) -> dict[str, tuple[list[int], tuple[tuple[int, int], ...]]]:
    """Where each kind of structure stands in the sample, and its fields (offset, size)."""
    sample = elf.sample(name)
    with sample.path.open("rb") as file:
        parsed = ELFFile(file)
        programs = [parsed["e_phoff"] + 56 * i for i in range(parsed["e_phnum"])]
        sections = [parsed["e_shoff"] + 64 * i for i in range(parsed["e_shnum"])]
        dynamic = parsed.get_section_by_name(".dynamic")
        tags = [dynamic["sh_offset"] + 16 * i for i in range(dynamic.num_tags())]
    records = [record for _, _, record in _core.elf_slots(sample.data, sample.slots) if record]
    return {
        "header": ([0], _HEADER),
        "program": (programs, _PROGRAM),
        "section": (sections, _SECTION),
        "dynamic": (tags, _DYNAMIC),
        "wrapper": (list(sample.wrappers), _WRAPPER),
        "relocation": (records, _RELOCATION),
        "container": (list(sample.offsets), ((0, 4), (4, 2), (6, 2), (8, 8))),
    }


def damaged(name: str, kind: str) -> Iterator[tuple[int, int, bytes]]:
    sample = elf.sample(name)
    starts, fields = structures(name)[kind]
    for start in starts:
        for offset, size in fields:
            at = start + offset
            (now,) = struct.unpack_from(_FORMS[size], sample.data, at)
            top = 1 << (8 * size)
            for value in {0, 1, top - 1, top >> 1, (now + 8) % top, (now ^ 0x1000) % top} - {now}:
                data = bytearray(sample.data)
                struct.pack_into(_FORMS[size], data, at, value)
                yield at, value, bytes(data)


@pytest.mark.parametrize("name", ["gnu-rela", "aarch64-relr"])
@pytest.mark.parametrize("kind", ["header", "program", "section", "dynamic", "wrapper", "relocation", "container"])
def test_one_wrong_field(kind: str, name: str, tmp_path: Path) -> None:
    sample = elf.sample(name)
    source, out = tmp_path / "source", tmp_path / "out"
    errors: list[tuple[str, str, bool]] = []  # what was damaged, the message, whether a file is left
    for at, value, data in damaged(name, kind):
        source.write_bytes(data)
        for layout in LAYOUTS:
            where = f"{kind}, value {value:#x} at {at:#x}, {layout}"
            try:
                result = _core.rewrite_containers(source, out, [sample.edit(0, SMALL)], layout=layout)
            except (_core.ParseError, _core.RewriteRefused, ValueError) as error:
                errors.append((where, str(error), out.exists()))
                continue
            new = out.read_bytes()
            out.unlink()
            assert len(new) == result.size, where
            assert new[result.containers[0] :].startswith(SMALL), where
            end = 0
            for offset, size, now in result.old:
                assert offset == end, where
                assert now < 0 or new[now : now + size] == data[offset : offset + size], where
                end += size
            assert end == len(data), where
    assert [error for error in errors if not error[1].strip() or error[2]] == []
    assert errors or not structures(name)[kind][0]
