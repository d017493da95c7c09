"""The names that NVIDIA's libcudart exports, by CUDA major: tests/oracles/cudart_exports.txt and how it is made.

    python -m tests.oracles.cudart_exports        # reads the newest wheels of the registry, writes the list

A line is `NAME MAJOR...`. The fake runtime exports exactly these names. No byte of NVIDIA's library is kept.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from elftools.elf.elffile import ELFFile

LIST = Path(__file__).with_suffix(".txt")
SONAMES = {11: "libcudart.so.11.0", 12: "libcudart.so.12", 13: "libcudart.so.13"}
WHEELS = {11: "nvidia-cuda-runtime-cu11", 12: "nvidia-cuda-runtime-cu12", 13: "nvidia-cuda-runtime>=13"}


def exports(major: int) -> tuple[str, ...]:
    """Names that the runtime of this CUDA major exports, sorted."""
    lines = (line.split() for line in LIST.read_text().splitlines())
    return tuple(name for name, *majors in lines if str(major) in majors)


def published(major: int, machine: str = "x86_64") -> frozenset[str]:
    """The same, read from the newest wheel of the registry. Raises subprocess.CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        platforms = [f"--platform=manylinux{name}_{machine}" for name in ("1", "2014", "_2_17", "_2_28")]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, *platforms, "-d", folder, WHEELS[major]], check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith(f"/{SONAMES[major]}"))
            table = ELFFile(io.BytesIO(archive.read(member))).get_section_by_name(".dynsym")
    found = {symbol.name for symbol in table.iter_symbols() if symbol["st_shndx"] not in ("SHN_UNDEF", "SHN_ABS")}
    return frozenset(name for name in found if name.startswith(("cuda", "__cuda")))


def render(names: Mapping[int, frozenset[str]]) -> str:
    """Text of the list."""
    every = sorted(frozenset[str]().union(*names.values()))
    return "".join(f"{name} {' '.join(str(m) for m in sorted(names) if name in names[m])}\n" for name in every)


if __name__ == "__main__":
    LIST.write_text(render({major: published(major) for major in SONAMES}))
