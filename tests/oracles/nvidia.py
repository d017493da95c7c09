"""Finds NVIDIA's own programs and libraries for the oracles: on PATH, else in the wheels of the test dependency group.

Nothing here skips: what the package registry has must be installed (see `[dependency-groups] test` in pyproject.toml).
"""

from __future__ import annotations

import importlib.util
import shutil
from functools import cache
from pathlib import Path


def _wheel_files(pattern: str) -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    return sorted(path for root in roots for path in Path(root).glob(pattern))


@cache
def library(name: str) -> Path:
    """A shared library out of an NVIDIA wheel, e.g. "libnvJitLink.so". Raises FileNotFoundError."""
    found = _wheel_files(f"*/lib/{name}.*") or _wheel_files(f"*/lib64/{name}.*")
    if not found:
        raise FileNotFoundError(f"{name}: no NVIDIA wheel that holds it is installed (pip install --group test)")
    return found[-1]


@cache
def program(name: str) -> Path:
    """A program such as "ptxas": from PATH, else out of an NVIDIA wheel. Raises FileNotFoundError."""
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    found = _wheel_files(f"*/bin/{name}")
    if not found:
        raise FileNotFoundError(f"{name}: neither on PATH nor in an installed NVIDIA wheel")
    return found[-1]
