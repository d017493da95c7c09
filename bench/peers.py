"""Other people's programs, out of the environment that runs the benchmarks (dependency groups `test` and `bench`)."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from importlib import metadata
from pathlib import Path

from measure import BenchError


def program(name: str) -> Path:
    """A program that a wheel of this environment installed. Raises BenchError."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise BenchError(f"{name} is not installed (pip install --group test --group bench)")
    return Path(found)


def nvidia_program(name: str) -> Path:
    """A program out of one of NVIDIA's wheels, else from PATH. Raises BenchError."""
    spec = importlib.util.find_spec("nvidia")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(path for root in roots for path in Path(root).glob(f"*/bin/{name}"))
    return found[-1] if found else program(name)


def version(distribution: str) -> str:
    """Name and version of an installed distribution, for the table's heading."""
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return f"{distribution} (not installed)"
