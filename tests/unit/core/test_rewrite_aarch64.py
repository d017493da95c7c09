"""Rewritten aarch64 files in a real loader: on such a host, or under qemu-user with an aarch64 libc.

Static checks of test_rewrite.py cover aarch64 everywhere; this one runs Debian's glibc for aarch64 (packages
qemu-user-static and libc6-arm64-cross, which no Python registry has; `.ci/packages` installs them).
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import elf
from tests.unit.core.rewriting import COMBINATIONS, big, expected, patched

LOADER = Path(elf.__file__).with_name("loader.c")
SYSROOT = Path("/usr/aarch64-linux-gnu")
AARCH64 = [(name, layout) for name, layout in COMBINATIONS if name in elf.AARCH64]


def launcher() -> list[str]:
    """What to put before an aarch64 program."""
    if platform.machine() == "aarch64":
        return []
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None or not (SYSROOT / "lib/ld-linux-aarch64.so.1").exists():
        pytest.skip("needs an aarch64 host, or qemu-user-static and libc6-arm64-cross")
    return [qemu, "-L", str(SYSROOT)]


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Command that loads a library given as its argument and writes out its containers."""
    before = launcher()
    program = tmp_path_factory.mktemp("loader") / "loader"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu.2.34"]
    subprocess.run([*compiler, LOADER, "-o", program], check=True, capture_output=True)
    return [*before, str(program)]


@pytest.mark.parametrize(("name", "layout"), AARCH64)
def test_loader_sees_the_new_containers(name: str, layout: str, loader: list[str]) -> None:
    sample = big(name)
    program = elf.LAYOUTS[name].kind != "shared"

    def loaded(path: Path) -> bytes:
        run = subprocess.run([*(loader[:-1] if program else loader), path], capture_output=True, check=False)
        assert run.returncode == 0, run
        return run.stdout

    assert loaded(sample.path) == b"".join(sample.containers)
    assert loaded(patched(name, layout)[0]) == b"".join(expected(sample))
