"""Do the x86-64 and the aarch64 ptxas of one release write the same machine code? The second runs under qemu-user."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from shim.applying.images import ImageFile
from shim.applying.ptxas_options import replayed
from shim.devicecode import ImageKind, read_path
from shim.toolchain.pins import Pin, own_pins
from tests.builders import aarch64

PLATFORMS = {
    "x86_64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux2010_x86_64", "manylinux_2_12_x86_64"),
    "aarch64": ("manylinux2014_aarch64", "manylinux_2_17_aarch64"),
}
_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One PTX text with the options stored beside it."""

    label: str
    ptx: bytes
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One unit, compiled twice. `differs`: names of sections with other bytes; seconds of each."""

    unit: Unit
    equal: bool
    size: int
    differs: tuple[str, ...]
    seconds: tuple[float, float]


def pin_of(version: str) -> Pin:
    """The pinned compiler wheel of one release."""
    return next(pin for pin in own_pins() if ".".join(map(str, pin.version)) == version)


def fetch_ptxas(pin: Pin, machine: str, folder: Path) -> Path:
    """Download NVIDIA's compiler wheel for a machine, check its hash, and unpack its ptxas."""
    platforms = [word for tag in PLATFORMS[machine] for word in ("--platform", tag)]
    options = ["--quiet", "--only-binary=:all:", "--no-deps", *platforms, "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, pin.requirement], check=True)
    wheel = folder / pin.wheels[machine].file
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() == pin.wheels[machine].sha256
    target = folder / f"{machine}-{pin.name}" / "ptxas"  # ptxas notes its own file name in what it writes
    target.parent.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        target.write_bytes(archive.read(next(name for name in pin.programs if name.endswith("/ptxas"))))
    target.chmod(0o755)
    wheel.unlink()
    return target


def units_of(library: Path) -> Iterator[Unit]:
    """Every PTX text of a library."""
    code = read_path(library)
    with ImageFile(library, library.name) as file:
        for container in code.containers:
            for image in container.images:
                if image.kind is ImageKind.PTX:
                    options = replayed(image.options)
                    label = f"{library.name} container {container.index}"
                    yield Unit(label=label, ptx=file.plain(image), options=options)


def compare(units: Iterable[Unit], ptxas: tuple[Path, Path], arch: str = "sm_121") -> Iterator[Compared]:
    """Compile each unit with both programs (x86-64, aarch64)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for unit in units:
            (folder / "unit.ptx").write_bytes(unit.ptx)
            made, seconds = [], []
            for number, program in enumerate(ptxas):
                out = folder / f"{number}.cubin"
                words = [str(program)] if number == 0 else aarch64.command(program)
                started = time.monotonic()
                subprocess.run(
                    [*words, f"-arch={arch}", *unit.options, "-o", out.name, "unit.ptx"],
                    cwd=folder,
                    check=True,
                    capture_output=True,
                    timeout=_SECONDS,
                )
                seconds.append(time.monotonic() - started)
                made.append(out.read_bytes())
            yield Compared(
                unit=unit,
                equal=made[0] == made[1],
                size=len(made[0]),
                differs=_differing(folder / "0.cubin", folder / "1.cubin"),
                seconds=(seconds[0], seconds[1]),
            )


def _differing(first: Path, second: Path) -> tuple[str, ...]:
    from elftools.elf.elffile import ELFFile

    with first.open("rb") as a, second.open("rb") as b:
        found = [{s.name: s.data() for s in ELFFile(file).iter_sections()} for file in (a, b)]
    return tuple(sorted(name for name in found[0].keys() | found[1].keys() if found[0].get(name) != found[1].get(name)))
