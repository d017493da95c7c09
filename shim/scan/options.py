"""How a scan is to be done, apart from what it is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from shim.arch import Target
from shim.source.gates.model import Gate


def _default_jobs() -> int:
    # Each thread holds the windows of one member (up to 64 MiB); past four, disks and inflate gain little.
    return min(len(os.sched_getaffinity(0)), 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """Settings of a scan.

    Attributes:
        target: the device and driver to judge for.
        machine: host processor to judge for ("aarch64"), None when nothing says which.
        kernels: read the names and sizes of all kernels, too.
        gates: look for gates in source, build files and compiled code; None: in sdists and folders of sources only.
        advise: given name and version of the package and a gate, names the recipe for it, or "".
        jobs: files read at once.
        progress: told what is being read, how many bytes are done and how many there are; from any thread.
    """

    target: Target = field(default_factory=Target)
    machine: str | None = None
    kernels: bool = False
    gates: bool | None = None
    advise: Callable[[str, str, Gate], str] | None = None
    jobs: int = field(default_factory=_default_jobs)
    progress: Callable[[str, int, int], None] | None = None
