"""Small linked ELF files with fatbin wrappers, made without a CUDA toolkit.

The containers and wrappers are assembled with `.incbin`; around them stands host code whose exceptions, thread-local
variables, indirect functions and constructors must survive a rewrite. GNU ld comes with the system's gcc, lld (for both
machines) and a compiler for aarch64 with the `ziglang` wheel, GNU ld for aarch64 with Debian's g++-aarch64-linux-gnu.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from elftools.elf.elffile import ELFFile

HOST_CODE = Path(__file__).with_name("host_code.cpp")
SEGMENT = ".nvFatBinSegment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container with its wrapper. Version 2 is the result of a device link."""

    data: bytes
    section: str = ".nv_fatbin"
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a file is linked. `symbol` makes the wrapper's pointer name an exported symbol instead of a section."""

    machine: str = "x86_64"
    linker: str = "gnu"
    kind: str = "shared"
    flags: tuple[str, ...] = ()
    symbol: bool = False
    bare: bool = False  # no start files: no note but `note`
    note: bool = False  # a note that nothing reads at run time
    align: int = 8


_CROSS = "aarch64-linux-gnu-g++"
_BARE = ("-nostartfiles", "-Wl,--build-id=none")
LAYOUTS = {
    "gnu-rela": Layout(),
    "gnu-build-id": Layout(flags=("-Wl,--build-id=sha1",)),
    "gnu-relr": Layout(flags=("-Wl,-z,pack-relative-relocs",)),
    "gnu-symbol": Layout(symbol=True),
    "gnu-note": Layout(bare=True, note=True, flags=_BARE),
    "gnu-no-note": Layout(bare=True, flags=_BARE),
    "gnu-one-segment": Layout(flags=("-Wl,-z,noseparate-code",)),
    "gnu-pie": Layout(kind="pie"),
    "gnu-pie-bss": Layout(kind="pie", flags=(f"-DSHIM_BSS={1 << 20}",)),
    "gnu-pie-big-bss": Layout(kind="pie", flags=(f"-DSHIM_BSS={100 << 20}",)),
    "gnu-pie-note": Layout(kind="pie", note=True),
    "gnu-exec": Layout(kind="exec"),
    "gnu-exec-note": Layout(kind="exec", note=True),
    "lld-rela": Layout(linker="lld"),
    "lld-relr": Layout(linker="lld", flags=("-Wl,--pack-dyn-relocs=relr",)),
    "lld-note": Layout(linker="lld", bare=True, note=True, flags=_BARE),
    "lld-android": Layout(linker="lld", flags=("-Wl,--pack-dyn-relocs=android",)),
    "aarch64-gnu-like": Layout(
        machine="aarch64", linker="lld", flags=("--no-rosegment", "--apply-dynamic-relocs"), align=256
    ),
    "aarch64-rela": Layout(machine="aarch64", linker="lld", align=256),
    "aarch64-relr": Layout(machine="aarch64", linker="lld", flags=("--pack-dyn-relocs=relr",), align=256),
    "aarch64-note": Layout(machine="aarch64", linker="lld", note=True, align=256),
    "aarch64-4k-pages": Layout(machine="aarch64", linker="lld", flags=("-z", "max-page-size=4096"), align=8),
    "aarch64-gnu": Layout(machine="aarch64", align=256),
    "aarch64-gnu-separate": Layout(machine="aarch64", flags=("-Wl,-z,separate-code",), align=256),
    "aarch64-gnu-symbol": Layout(machine="aarch64", symbol=True, align=256),
    "aarch64-gnu-pie": Layout(machine="aarch64", kind="pie", align=256),
    "aarch64-gnu-pie-note": Layout(machine="aarch64", kind="pie", note=True, align=256),
    "aarch64-gnu-static": Layout(machine="aarch64", kind="exec", flags=("-static",), align=256),
    "aarch64-gnu-static-note": Layout(machine="aarch64", kind="exec", flags=("-static",), note=True, align=256),
}
SHARED_X86 = tuple(n for n, v in LAYOUTS.items() if v.kind == "shared" and v.machine == "x86_64" and n != "lld-android")
PROGRAMS = tuple(n for n, v in LAYOUTS.items() if v.kind != "shared")
AARCH64 = tuple(n for n, v in LAYOUTS.items() if v.machine == "aarch64")


def assembly(containers: Sequence[Container], layout: Layout, files: Sequence[Path]) -> str:
    """Wrappers, containers and, on request, a note; the names are those nvcc uses."""
    lines = [".globl shim_wrappers", ".hidden shim_wrappers", ".globl shim_wrapper_count", ".hidden shim_wrapper_count"]
    for number, (container, path) in enumerate(zip(containers, files, strict=True)):
        label = f"shim_container_{number}" if layout.symbol else f"fatbinData_{number}"
        lines += [f'.section {container.section},"a"', f".balign {layout.align}"]
        lines += [f".globl {label}"] if layout.symbol else []
        lines += [f".type {label}, %object", f'{label}: .incbin "{path}"', f".size {label}, .-{label}"]
        lines += [f'.section {SEGMENT},"aw"', ".balign 8"]
        lines += ["shim_wrappers:"] if number == 0 else []
        array = f"prelinked_{number}" if container.version == 2 else "0"
        lines += [f".long 0x466243B1, {container.version}", f".quad {label}", f".quad {array}"]
        lines += [".bss", f"{array}: .zero 64"] if container.version == 2 else []
    lines += ['.section .rodata,"a"', ".balign 4", f"shim_wrapper_count: .long {len(containers)}"]
    if layout.note:
        lines += [
            '.section .note.shim,"a",%note',
            ".balign 4",
            ".long 5, 4, 77",
            '.asciz "test"',
            ".balign 4",
            ".long 1",
        ]
    lines += ['.section .note.GNU-stack,"",%progbits']
    return "\n".join(lines) + "\n"


def _run(command: Sequence[str | Path], folder: Path) -> None:
    run = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{run.stderr}")


def _zig(*words: str) -> list[str]:
    return [sys.executable, "-m", "ziglang", *words]


def _lld_folder(folder: Path) -> Path:
    """A folder for gcc's -B in which `ld.lld` is the one of the ziglang wheel."""
    script = folder / "ld.lld"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang ld.lld "$@"\n')
    script.chmod(0o755)
    return folder


def missing_tool(name: str) -> str | None:
    """The Debian package without which the layout called `name` cannot be linked here, if it is not there."""
    layout = LAYOUTS[name]
    cross = layout.machine == "aarch64" and layout.linker == "gnu"
    return "g++-aarch64-linux-gnu" if cross and shutil.which(_CROSS) is None else None


def _link_gnu(folder: Path, layout: Layout, source: Path, out: Path) -> None:
    mode = {"shared": ["-shared", "-fPIC"], "pie": ["-pie", "-fPIE"], "exec": ["-no-pie", "-fno-pie"]}[layout.kind]
    linker = ["-fuse-ld=lld", f"-B{_lld_folder(folder)}"] if layout.linker == "lld" else []
    define = [] if layout.kind == "shared" else ["-DSHIM_MAIN"]
    compiler = _CROSS if layout.machine == "aarch64" else "g++"
    # Without start files nothing may bring a GNU property note, or it would be in the one PT_NOTE there is.
    flags = [*mode, *linker, *define, *layout.flags, *(["-fcf-protection=none"] if layout.bare else [])]
    strip_notes = ["-Wl,--build-id=none"] if layout.note and not layout.bare else []
    _run([compiler, "-O1", *flags, *strip_notes, source, HOST_CODE, "-o", out], folder)


def _link_aarch64(folder: Path, layout: Layout, source: Path, out: Path) -> None:
    objects = []
    for path in (source, HOST_CODE):
        objects.append(folder / f"{path.stem}.o")
        target = ["cc" if path.suffix == ".S" else "c++", "-target", "aarch64-linux-gnu", "-fPIC", "-O1", "-g0"]
        freestanding = ["-DSHIM_FREESTANDING", "-fno-exceptions", "-fno-sanitize=all", "-fno-stack-protector"]
        _run([*_zig(*target), *freestanding, "-c", path, "-o", objects[-1]], folder)
    command = _zig("ld.lld", "-m", "aarch64linux", "-shared", "-soname", out.name, *layout.flags)
    _run([*command, *objects, "-o", out], folder)


def build(folder: Path, name: str, containers: Sequence[Container]) -> Path:
    """Links the layout called `name` (a key of LAYOUTS) with these containers; returns the file."""
    layout = LAYOUTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"container_{number}.bin" for number in range(len(containers))]
    for path, container in zip(files, containers, strict=True):
        path.write_bytes(container.data)
    source = folder / "containers.S"
    source.write_text(assembly(containers, layout, files))
    out = folder / (f"lib{name}.so" if layout.kind == "shared" else name)
    freestanding = layout.machine == "aarch64" and layout.linker == "lld"
    (_link_aarch64 if freestanding else _link_gnu)(folder, layout, source, out)
    return out


def build_object(folder: Path, containers: Sequence[Container]) -> Path:
    """An unlinked x86-64 object with the same contents."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"container_{number}.bin" for number in range(len(containers))]
    for path, container in zip(files, containers, strict=True):
        path.write_bytes(container.data)
    source = folder / "containers.S"
    source.write_text(assembly(containers, Layout(), files))
    _run(["gcc", "-c", source, "-o", folder / "containers.o"], folder)
    return folder / "containers.o"


def without_section_headers(data: bytes) -> bytes:
    """The file as `sstrip` leaves it: the loader needs no section headers."""
    out = bytearray(data)
    struct.pack_into("<Q", out, 0x28, 0)
    struct.pack_into("<HHH", out, 0x3A, 0, 0, 0)
    return bytes(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A built file. `offsets`: of the containers; `wrappers`: file offset of each container's wrapper; `slots`: address
    of its pointer."""

    path: Path
    data: bytes
    containers: tuple[bytes, ...]
    offsets: tuple[int, ...]
    wrappers: tuple[int, ...]
    slots: tuple[int, ...]

    def edit(self, number: int, *pieces: object) -> tuple[int, list[int], list[object]]:
        """What `_core.rewrite_containers` takes to give container `number` other contents."""
        return self.offsets[number], [self.wrappers[number]], list(pieces)


@cache
def _workspace() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="elf-samples-")


@cache
def sample(name: str, size: int = 64) -> Sample:
    """The file of layout `name` with three containers of 1, 2 and 3 entries; the third wrapper has version 2.

    size: of the text of an entry, in bytes.
    """
    containers = tuple(filled_container(count, size) for count in (1, 2, 3))
    parts = [Container(data=data, version=2 if data is containers[2] else 1) for data in containers]
    path = build(Path(_workspace().name, f"{name}-{size}"), name, parts)
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(SEGMENT)
        offset, address = section["sh_offset"], section["sh_addr"]
    data = path.read_bytes()
    return Sample(
        path=path,
        data=data,
        containers=containers,
        offsets=tuple(data.index(container) for container in containers),
        wrappers=tuple(offset + 24 * number for number in range(3)),
        slots=tuple(address + 24 * number + 8 for number in range(3)),
    )


def filled_container(entries: int, size: int = 64) -> bytes:
    """A container of PTX entries (`size` bytes of text each) that no program needs to understand."""
    body = b""
    for number in range(entries):
        text = f".version 8.0\n.target sm_80\n// {number} of {entries}\n".encode().ljust(size - 1) + b"\0"
        text = text.ljust(-(-len(text) // 8) * 8, b"\0")
        header = struct.pack("<HHIQIIHHIIIQQQ", 1, 0x101, 80, len(text), 0, 64, 0, 8, 80, 0, 0, 0x11, 0, 0)
        body += header + struct.pack("<II8x", 72, 0) + text
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body
