"""One wrong field at a time in a file that `patch` gets: one clear error with its place, exit code 3, no output.

What the fields of an unknown but possible value are (a kind of image nobody knows, a second pointer) is kept, and undo
gives them back.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import fatbin, hostfile
from tests.builders.command import CommandLine
from tests.builders.patchable import library
from tests.builders.wheels import make_wheel

FILE = library("first", "second", needed=["libc.so.6"])
WRAPPER, CONTAINER = FILE.wrappers[0], FILE.containers[0]
ENTRY = CONTAINER + 16
PAYLOAD = ENTRY + struct.unpack_from("<I", FILE.data, ENTRY + 4)[0]
FIRST_SEGMENT = 64
RELA = FILE.at[".rela.dyn"]
B, H, I, Q = "<B", "<H", "<I", "<Q"  # noqa: E741
FAR = 1 << 40
LEAVES = "leaves? the file"


def section(name: str, field: int) -> int:
    return FILE.header[name] + field


# name: (offset, format, wrong value, words of the error)
REFUSED: dict[str, tuple[int, str, int, str]] = {
    "EI_CLASS": (4, B, 1, r"expected 2, found 1 \(at offset 0x4\)"),
    "EI_DATA": (5, B, 2, r"expected 1, found 2 \(at offset 0x5\)"),
    "e_type": (16, H, 1, "object file has no relocations"),
    "e_machine": (18, H, 40, r"e_machine.*found 40 \(at offset 0x12\)"),
    "e_phoff": (32, Q, FAR, f"program header table.*{LEAVES}"),
    "e_shoff": (40, Q, FAR, f"section header table.*{LEAVES}"),
    "e_phentsize": (54, H, 32, "e_phentsize.*expected 56, found 32"),
    "e_phnum": (56, H, 0xFFF0, "program header count: 65520"),
    "e_shentsize": (58, H, 40, "e_shentsize.*expected 64, found 40"),
    "e_shnum": (60, H, 0xFF00, f"section header table.*{LEAVES}"),
    "e_shstrndx": (62, H, 999, "section 999 of 9 does not exist"),
    "p_offset": (FIRST_SEGMENT + 8, Q, FAR, f"segment 0.*{LEAVES}"),
    "p_vaddr": (FIRST_SEGMENT + 16, Q, 3, "lie in no loaded part"),
    "p_filesz": (FIRST_SEGMENT + 32, Q, FAR, f"segment 0.*{LEAVES}"),
    "sh_offset of containers": (section(".nv_fatbin", 24), Q, FAR, f"section 4.*{LEAVES}"),
    "sh_size of containers": (section(".nv_fatbin", 32), Q, FAR, f"section 4.*{LEAVES}"),
    "sh_offset of wrappers": (section(".nvFatBinSegment", 24), Q, FAR, f"section 7.*{LEAVES}"),
    "sh_size of wrappers": (section(".nvFatBinSegment", 32), Q, 25, "1 bytes are left, a wrapper needs 24"),
    "r_offset": (RELA, Q, FAR, "leads outside the file's segments"),
    "r_info": (RELA + 8, Q, 0x7777, "relocation type 30583"),
    "r_addend outside": (RELA + 16, Q, FAR, "leads outside the file's segments"),
    "r_addend astray": (RELA + 16, Q, hostfile.BASE + 64, "points at file offset 64, where no fatbin container"),
    "wrapper magic": (WRAPPER, I, 0x12345678, "expected a 24-byte wrapper with magic"),
    "wrapper version": (WRAPPER + 4, I, 9, "expected version 1 or 2, found 9"),
    "container magic": (CONTAINER, I, 0x12345678, "where no fatbin container"),
    "container version": (CONTAINER + 4, H, 9, "found version 9"),
    "container header_size": (CONTAINER + 6, H, 8, "found version 1 with 8 bytes"),
    "container size too large": (CONTAINER + 8, Q, FAR, f"body of {FAR} bytes {LEAVES}"),
    "container size too small": (CONTAINER + 8, Q, 8, "8 bytes left in the container"),
    "entry header_size": (ENTRY + 4, I, 7, "header size 7"),
    "entry payload_size": (ENTRY + 8, Q, FAR, "do not fit the"),
    "entry compressed_size": (ENTRY + 16, I, 1 << 30, "exceeds the stored payload"),
    "entry descriptor": (ENTRY + 20, I, 60000, "descriptor at 0xea60 leaves the entry header"),
    "entry name": (ENTRY + 32, I, 60000, "name of 0 bytes at 0xea60 leaves the entry header"),
    "entry flags": (ENTRY + 40, Q, 0xFFFF0, "unknown compression"),
    "entry uncompressed_size": (ENTRY + 56, Q, 1 << 50, "expected 1125899906842624 decoded bytes"),
    "entry payload": (PAYLOAD, Q, 0, "zstd frame does not decode"),
}
# name: (offset, format, value, exit code)
KEPT: dict[str, tuple[int, str, int, int]] = {
    "wrapper data in place": (WRAPPER + 8, Q, 5, 0),  # the relocation decides
    "wrapper second pointer": (WRAPPER + 16, Q, 77, 0),
    "entry kind": (ENTRY, H, 77, 0),
    "entry version": (ENTRY + 2, H, 0x999, 0),
    "entry PTX version": (ENTRY + 26, H, 99, 1),  # no ptxas takes it; the other container is patched
    "entry arch": (ENTRY + 28, I, 9999, 0),
    "entry unknown word": (ENTRY + 48, Q, 5, 0),
}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(cache=tmp_path_factory.mktemp("cache"))


def as_file(folder: Path, data: bytes) -> Path:
    path = folder / "lib.so"
    path.write_bytes(data)
    return path


def as_wheel(folder: Path, data: bytes) -> Path:
    return make_wheel(folder, {"demo/lib.so": data}, tag="py3-none-linux_x86_64")


def test_the_file_itself_is_good(shim: CommandLine, tmp_path: Path) -> None:
    assert shim("patch", as_file(tmp_path, FILE.data), "-o", tmp_path / "out", "--no-recipes").code == 0


@pytest.mark.parametrize("make", [as_file, as_wheel])
@pytest.mark.parametrize("field", sorted(REFUSED))
def test_refused(shim: CommandLine, tmp_path: Path, field: str, make: Callable[[Path, bytes], Path]) -> None:
    at, form, value, words = REFUSED[field]
    path = make(tmp_path, fatbin.poke(FILE.data, at, form, value))
    before = path.read_bytes()
    ran = shim("patch", path, "-o", tmp_path / "out", "--no-recipes")
    assert ran.code == 3, ran
    assert ran.err.count("error:") == 1
    assert "lib.so" in ran.err
    assert "next:" in ran.err
    assert re.search(words, ran.err), ran.err
    assert "offset" in ran.err
    assert path.read_bytes() == before
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("field", sorted(KEPT))
def test_kept(shim: CommandLine, tmp_path: Path, field: str) -> None:
    at, form, value, code = KEPT[field]
    data = fatbin.poke(FILE.data, at, form, value)
    ran = shim("patch", as_file(tmp_path, data), "-o", tmp_path / "out", "--no-recipes")
    assert ran.code == code, ran
    assert shim("undo", tmp_path / "out" / "lib.so", "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / "lib.so").read_bytes() == data


def test_segment_alignment_is_refused_by_the_writer(shim: CommandLine, tmp_path: Path) -> None:
    data = fatbin.poke(FILE.data, FIRST_SEGMENT + 48, Q, 3)
    ran = shim("patch", as_file(tmp_path, data), "-o", tmp_path / "out", "--no-recipes")
    assert ran.code == 5
    assert "[elf-refused]" in ran.err
    assert "segment alignment 3 is no power of two" in ran.err
    assert list((tmp_path / "out").iterdir()) == []
