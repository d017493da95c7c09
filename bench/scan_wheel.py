"""Scan of a wheel, against the bare inflate of its members with as many threads; and its peak memory."""

from __future__ import annotations

import statistics
import sys
from functools import partial
from pathlib import Path

import inputs
from measure import Cost, in_turns, run_program
from row import Row, within

NAME = "scan-wheel"
ROUNDS = 5
GOAL = 1.3
MOST_MEMORY = 300e6

_BARE = Path(__file__).with_name("bare_inflate.py")


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure three wheels."""
    rows = []
    for wheel in (inputs.CUFFT, inputs.VLLM, inputs.TORCH):
        rows += _measure(wheel, rounds)
    return rows


def _measure(wheel: inputs.Wheel, rounds: int) -> list[Row]:
    path = inputs.fetch(wheel)
    memory: list[int] = []
    scan = partial(_scan, path, memory)
    bare = partial(_inflate, path)
    by_scan, by_inflate = in_turns(rounds, scan, bare)
    subject = f"{wheel.label}, {path.stat().st_size / 1e6:.0f} MB"
    peak = max(memory)
    return [
        within("scan of a wheel", subject, by_scan, by_inflate, "bare ISA-L inflate", goal=GOAL),
        Row(
            what="peak memory of that scan",
            subject=subject,
            shim=f"median {statistics.median(memory) / 1e6:.0f} MB",
            peer="",
            figure=f"{peak / 1e6:.0f} MB",
            goal=f"below {MOST_MEMORY / 1e6:.0f} MB",
            reached=peak < MOST_MEMORY,
        ),
    ]


def _scan(path: Path, memory: list[int]) -> Cost:
    used = run_program([sys.executable, "-m", "shim", "scan", path, "--format", "json"])
    memory.append(used.max_rss)
    return used.cost


def _inflate(path: Path) -> Cost:
    return run_program([sys.executable, _BARE, path]).cost
