"""The compile stage of `patch` on CTranslate2's 34 PTX modules, against what the same ptxas runs would take at best:
their CPU time spread over all cores, or the longest of them. Then once more with everything in the cache.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import inputs
from measure import BenchError, OtherLoad
from row import Row

from shim.applying.machine_code import MachineCode, Toolbox, make_machine_code
from shim.applying.units import CompileEvent, EventKind
from shim.applying.workfile import WorkFile
from shim.devicecode import read_path
from shim.planning import Wanted, plan_library
from shim.store import ContentStore

NAME = "compile-stage"
ROUNDS = 3
GOAL = 1.15
GOAL_WARM = 0.05
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Seconds of one round: the stage, the same from the cache, and the ptxas runs' CPU time.

    others: share of all cores' time that other programs took while the stage ran.
    """

    wall: float
    warm: float
    units: tuple[float, ...]
    others: float

    @property
    def best(self) -> float:
        """What the ptxas runs of this round take when no core is ever idle, and none runs less than its longest."""
        return max(sum(self.units) / CORES, max(self.units))


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure; the first of the rounds + 1 only warms up."""
    library = inputs.unpacked(inputs.CTRANSLATE2, inputs.CTRANSLATE2_LIBRARY)
    code = read_path(library)
    file = WorkFile(code=code, path=library, plan=plan_library(code, Wanted()))
    done = [_round(file) for _ in range(rounds + 1)][1:]
    wall = statistics.median(one.wall for one in done)
    best = statistics.median(one.best for one in done)
    warm = statistics.median(one.warm for one in done)
    ratio = statistics.median(one.wall / one.best for one in done)
    share = statistics.median(one.warm / one.wall for one in done)
    others = statistics.median(one.others for one in done)
    count = len(done[0].units)
    subject = f"{inputs.CTRANSLATE2.label}, {count} modules, {file.plan.ptx_bytes / 1e6:.0f} MB of PTX"
    return [
        Row(
            what="compile stage",
            subject=subject,
            shim=f"{wall:.3g} s, other programs on {others:.0%} of the cores",
            peer=f"max(ptxas CPU time / cores, longest module): {best:.3g} s",
            figure=f"{ratio:.2f}x the time",
            goal=f"at most {GOAL:g}x",
            reached=ratio <= GOAL,
        ),
        Row(
            what="compile stage, second run",
            subject=subject,
            shim=f"{warm:.3g} s",
            peer=f"its first run: {wall:.3g} s",
            figure=f"{share:.1%} of it",
            goal=f"below {GOAL_WARM:.0%}",
            reached=share < GOAL_WARM,
        ),
    ]


def _round(file: WorkFile) -> Round:
    with tempfile.TemporaryDirectory(dir=inputs.cache()) as folder:
        toolbox = Toolbox(store=ContentStore(Path(folder)))
        seconds: list[float] = []
        others = OtherLoad()
        first = make_machine_code([file], toolbox, _collector(seconds))
        taken = others.seconds()
        second = make_machine_code([file], toolbox)
    if first.refusals or first.work.cached or second.work.compiled:
        raise BenchError(f"expected a cold and a warm run without failures, got {_words(first)}, {_words(second)}")
    wall = first.work.wall_seconds
    return Round(wall=wall, warm=second.work.wall_seconds, units=tuple(seconds), others=taken / (wall * CORES))


def _collector(seconds: list[float]) -> Callable[[CompileEvent], None]:
    def note(event: CompileEvent) -> None:
        if event.kind is EventKind.COMPILED:
            seconds.append(event.seconds)

    return note


def _words(made: MachineCode) -> str:
    return f"{made.work.compiled} compiled, {made.work.cached} cached, {len(made.refusals)} failed"
