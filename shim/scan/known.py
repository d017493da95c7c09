"""The table of projects known to use the GPU (`known_gpu.toml`)."""

from __future__ import annotations

import re
import tomllib
from enum import StrEnum
from functools import cache


class GpuUse(StrEnum):
    """How a project's GPU builds use the GPU."""

    BINARY = "binary"
    RUNTIME = "runtime"


def gpu_use(distribution: str) -> GpuUse | None:
    """How the project uses the GPU, None when the table does not have it. Any spelling of the name."""
    name = re.sub(r"[-_.]+", "-", distribution).lower()
    table = _table()
    bare = re.sub(r"-cu(?:da)?1\d\d?x?$", "", name)
    return table.get(name) or table.get(bare)


@cache
def _table() -> dict[str, GpuUse]:
    from importlib import resources  # a third of the start-up time of a scan that does not need it

    text = resources.files("shim.scan").joinpath("known_gpu.toml").read_text("utf-8")
    return {name: GpuUse(use) for name, use in tomllib.loads(text).items()}
