"""How many compilers a build may run at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

BYTES_PER_JOB: Final = 3 << 30
"""What one nvcc (cicc and ptxas) with torch's headers may take; templates of CUTLASS take more."""


def job_count(*, wanted: int | None = None, cores: int | None = None, available: int | None = None) -> int:
    """Cores, or fewer where the memory would not do; at least 1.

    Args:
        wanted: the user's own number, taken as it is.
        available: bytes; what the kernel calls available when None.
    """
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    available = memory_available() if available is None else available
    return max(1, min(cores, available // BYTES_PER_JOB)) if available else max(1, cores)


def memory_available() -> int:
    """MemAvailable in bytes, 0 when it is not known."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def job_settings(jobs: int) -> dict[str, str]:
    """What torch's ninja, CMake, make and the projects' own `nvcc --threads` go by."""
    number = str(jobs)
    return {
        "MAX_JOBS": number,
        "CMAKE_BUILD_PARALLEL_LEVEL": number,
        "MAKEFLAGS": f"-j{number}",
        "NVCC_THREADS": "1",
    }
