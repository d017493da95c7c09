"""`patch` of a wheel with one changed library of 307 MB, against `wheel unpack` and `wheel pack`, which change nothing.

The whole command is timed: reading and checking every member, planning, injecting, writing, verification. ptxas is not:
the warm-up leaves its results in the cache.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from statistics import median

import inputs
import peers
from measure import BenchError, Cost, in_turns, run_program
from row import Row, faster

NAME = "patch-wheel"
ROUNDS = 3
GOAL = 6.0

# Four of the 76 containers: the smallest ones, so that the warm-up does not take the night.
ONLY = "flash_fwd_sparse_kernel"
CONTAINERS = 4


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure."""
    path = inputs.fetch(inputs.VLLM)
    os.environ["SHIM_CACHE_DIR"] = str(inputs.cache() / "shim")
    phases: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=inputs.cache()) as folder:
        patch = partial(_patch, path, Path(folder) / "shim", phases)
        repack = partial(_repack, path, Path(folder) / "wheel")
        by_patch, by_wheel = in_turns(rounds, patch, repack)
    subject = f"{inputs.VLLM.label}, {path.stat().st_size / 1e6:.0f} MB, {CONTAINERS} containers of _vllm_fa2_C"
    row = faster("patch of a wheel", subject, by_patch, by_wheel, "wheel unpack + wheel pack", goal=GOAL)
    print("  " + ", ".join(f"{name} {median(times):.2f} s" for name, times in phases.items()), file=sys.stderr)
    return [row]


def _patch(path: Path, out: Path, phases: dict[str, list[float]]) -> Cost:
    shutil.rmtree(out, ignore_errors=True)
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "shim",
        "patch",
        path,
        "-o",
        out,
        "--only",
        ONLY,
        "--format",
        "json",
    ]
    used = run_program(argv)
    result = json.loads(used.output)
    images = sum(library["images"] for library in result["libraries"])
    if images != CONTAINERS:
        raise BenchError(f"patch added {images} images, expected {CONTAINERS}")
    if result["work"]["compiled"] == 0:
        for name, seconds in result["timings"].items():
            phases[name].append(seconds)
    return used.cost


def _repack(path: Path, out: Path) -> Cost:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    wheel = peers.program("wheel")
    unpacked = run_program([wheel, "unpack", path, "--dest", out])
    (folder,) = out.iterdir()
    packed = run_program([wheel, "pack", folder, "--dest-dir", out])
    return Cost(wall=unpacked.seconds + packed.seconds, cpu=unpacked.cpu_seconds + packed.cpu_seconds)
