"""Scan of one library of more than 200 MB, against cubloaty and cuobjdump, which both list its images.

Both numbers of shim are given: the whole `python -m shim scan` process, most of which is Python starting up, and the
library call. cubloaty decompresses every image to name its kernels, and cuobjdump decompresses too; shim reads headers.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import inputs
import peers
from measure import BenchError, Cost, in_turns, run_program, time_call
from row import Row, faster

from shim.arch import Target
from shim.devicecode import ImageKind, read_path
from shim.scan.library import scan_library

NAME = "scan-library"
ROUNDS = 5
GOAL = 50.0

_PREFIXES = {ImageKind.SASS: "sm_", ImageKind.PTX: "compute_", ImageKind.LTO_IR: "lto_"}
_LISTED = re.compile(r"^(?:ELF|PTX) file +\d+: .*\.((?:sm|compute)_\d+[af]?)\.\w+$", re.MULTILINE)


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure both libraries."""
    rows = []
    for wheel, member in ((inputs.CUFFT, inputs.CUFFT_LIBRARY), (inputs.VLLM, inputs.FA2_LIBRARY)):
        rows += _measure(inputs.unpacked(wheel, member), rounds)
    return rows


def _measure(library: Path, rounds: int) -> list[Row]:
    cubloaty = peers.program("cubloaty")
    cuobjdump = peers.nvidia_program("cuobjdump")
    own = _own_counts(library)
    if (theirs := _cubloaty_counts(cubloaty, library)) != own:
        raise BenchError(f"{library.name}: shim counts {own}, cubloaty {theirs}")
    listed = _cuobjdump_counts(cuobjdump, library)
    process = partial(_program, [sys.executable, "-m", "shim", "scan", library, "--format", "json"])
    call = partial(time_call, partial(_scan, library))
    sides: tuple[Callable[[], Cost], ...] = (
        process,
        call,
        partial(_program, [cubloaty, "--format", "json", library]),
        partial(_program, [cuobjdump, "-lelf", "-lptx", library], codes=(0, 255)),
    )
    by_process, by_call, by_cubloaty, by_cuobjdump = in_turns(rounds, *sides)
    images = sum(own.values())
    subject = f"{library.name}, {library.stat().st_size / 1e6:.0f} MB, {images:,} images"
    seen = "all" if listed == own else f"sees {sum(listed.values()):,}"
    note = f"cuobjdump ({seen})"
    return [
        faster("scan, library call", subject, by_call, by_cubloaty, "cubloaty", goal=GOAL),
        faster("scan, whole process", subject, by_process, by_cubloaty, "cubloaty"),
        faster("scan, whole process", subject, by_process, by_cuobjdump, note),
    ]


def _program(argv: list[str | Path], codes: tuple[int, ...] = (0,)) -> Cost:
    return run_program(argv, codes=codes).cost


def _scan(library: Path) -> None:
    scan_library(read_path(library), Target())


def _own_counts(library: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for container in read_path(library).containers:
        counts.update(f"{_PREFIXES.get(image.kind, image.kind.value)}{image.arch}" for image in container.images)
    return counts


def _cubloaty_counts(cubloaty: Path, library: Path) -> Counter[str]:
    report = json.loads(run_program([cubloaty, "--format", "json", library]).output)
    counts: Counter[str] = Counter()
    for part in report["components"]:
        counts[part["arch"]] += part["images"]
    return counts


def _cuobjdump_counts(cuobjdump: Path, library: Path) -> Counter[str]:
    argv = [str(cuobjdump), "-lelf", "-lptx", str(library)]
    text = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    return Counter(_LISTED.findall(text))
