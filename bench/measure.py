"""Times of functions and of whole programs, taken in turns so that a noisy minute hits both sides of a ratio."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")


class BenchError(Exception):
    """A benchmark cannot be run, or its two sides did not do the same work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one program used. `max_rss` is in bytes, `output` is its standard output."""

    seconds: float
    cpu_seconds: float
    max_rss: int
    returncode: int
    output: bytes

    @property
    def cost(self) -> Cost:
        """Its times."""
        return Cost(wall=self.seconds, cpu=self.cpu_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one round of one side took: wall time and the CPU time of all its threads and programs, in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The rounds of one side: medians, and the range of wall times. CPU time is what a busy machine distorts least."""

    wall: float
    low: float
    high: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.3g} s ({self.low:.3g} to {self.high:.3g}), CPU {self.cpu:.3g} s"


def run_program(argv: Sequence[str | Path], *, codes: Sequence[int] = (0,), cwd: Path | None = None) -> Usage:
    """Run a program to its end. Raises BenchError when its exit code is not among `codes`."""
    reader, writer = os.pipe()
    words = [str(word) for word in argv]
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(writer)]
    try:
        done = subprocess.run([*launcher, *words], capture_output=True, check=False, pass_fds=(writer,), cwd=cwd)
    finally:
        os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    if not text:
        raise BenchError(f"{words[0]} could not be run: {done.stderr.decode(errors='replace').strip()[-300:]}")
    report = json.loads(text)
    if report["returncode"] not in codes:
        said = done.stderr.decode(errors="replace").strip()[-300:]
        raise BenchError(f"{' '.join(words[:4])} ended with {report['returncode']}: {said}")
    return Usage(output=done.stdout, **report)


class OtherLoad:
    """Core seconds that programs other than this one and its children used since it was made (Linux).

    On a shared machine the wall time of a stage that wants all cores means nothing without it.
    """

    def __init__(self) -> None:
        self._start = self._others()

    def seconds(self) -> float:
        """So far."""
        return max(self._others() - self._start, 0.0)

    @staticmethod
    def _others() -> float:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
        own = sum(os.times()[:4])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - own


def time_call(function: Callable[[], object]) -> Cost:
    """What one call takes."""
    started, used = time.perf_counter(), time.process_time()
    function()
    return Cost(wall=time.perf_counter() - started, cpu=time.process_time() - used)


def in_turns(rounds: int, *sides: Callable[[], Cost]) -> tuple[Spread, ...]:
    """Run every side once to warm up, then `rounds` times in turns.

    What one side left to be written to disk is written before the other starts, so that nobody pays for it but the one
    who calls fsync itself.
    """
    for side in sides:
        side()
    taken: list[list[Cost]] = [[] for _ in sides]
    for _ in range(rounds):
        for costs, side in zip(taken, sides, strict=True):
            os.sync()
            costs.append(side())
    return tuple(_spread(costs) for costs in taken)


def _spread(costs: Sequence[Cost]) -> Spread:
    walls = [cost.wall for cost in costs]
    cpu = statistics.median(cost.cpu for cost in costs)
    return Spread(wall=statistics.median(walls), low=min(walls), high=max(walls), cpu=cpu)
