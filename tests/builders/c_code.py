"""C compiled for tests: by the system's compiler for this machine, else by the one of the `ziglang` wheel."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

GLIBC = "2.28"  # of what ziglang makes for another machine


def compiler(machine: str) -> list[str]:
    """The command of a C compiler for "x86_64" or "aarch64"."""
    if machine == platform.machine() and (found := shutil.which("cc")):
        return [found]
    return [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-gnu.{GLIBC}"]


def compile_c(out: Path, sources: Sequence[Path], *, machine: str, options: Sequence[str] = ()) -> Path:
    """Compiles and links `sources` to `out`. Raises RuntimeError with the compiler's words."""
    # A linker script and an archive say the order: options of the linker stand behind the sources.
    command = [*compiler(machine), "-std=gnu11", "-O1", "-g0", "-Wall", "-Wextra", "-Werror", *map(str, sources)]
    command += ["-o", str(out), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{run.stderr}")
    return out
