"""Ahead-of-time compiling at scale: vLLM's FlashAttention-2, 76 containers with 682 MB of PTX, for so many minutes.

Takes minutes, so it runs only when it is named: `python bench/run.py aot-vllm --minutes 20`. What it compiles stays in
the cache of the benchmarks, and the next run goes on with the rest.

1. `shim patch --budget` runs for half of the time and is ended with SIGKILL, and its compilers with it.
2. The compile stage runs for the other half. What the killed run finished must come from the cache.
3. `shim patch` puts what there is into the wheel; nothing is compiled, so its peak memory is its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import inputs
from measure import BenchError, OtherLoad, run_program
from row import Row

from shim.applying.machine_code import MachineCode, Toolbox, make_machine_code
from shim.applying.units import CompileEvent, EventKind
from shim.applying.workfile import WorkFile
from shim.devicecode import read_path
from shim.planning import Wanted, plan_library
from shim.store import ContentStore

NAME = "aot-vllm"
ROUNDS = 1
MINUTES = 5.0
MOST_RSS = 300e6
ONLY = "Flash_fwd_kernel_traits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The compile stage after the kill.

    Attributes:
        made: what came out. sizes, seconds: bytes of PTX and CPU seconds of the units that were compiled.
        others: core seconds that other programs took meanwhile.
    """

    made: MachineCode
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    others: float


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure once, whatever `rounds`: a second round would find everything in the cache."""
    folder = inputs.cache() / "aot"
    os.environ["SHIM_CACHE_DIR"] = str(folder)
    store = ContentStore(folder / "compiled")
    library = inputs.unpacked(inputs.VLLM, inputs.FA2_LIBRARY)
    code = read_path(library)
    file = WorkFile(code=code, path=library, plan=plan_library(code, Wanted()))
    before = _entries(store)
    _run_and_kill(MINUTES * 30)
    kept = _entries(store)
    stage = _stage(file, store)
    rss, containers = _patch()
    return _rows(file, stage, before, kept, rss, containers)


def _rows(file: WorkFile, stage: Stage, before: int, kept: int, rss: int, containers: int) -> list[Row]:
    work, total = stage.made.work, len(file.plan.steps)
    if not stage.sizes:
        raise BenchError(f"nothing was compiled in {MINUTES / 2:g} minutes ({work.cached} of {total} were cached)")
    size, seconds = sum(stage.sizes), sum(stage.seconds)
    done = {container for _, container, _ in stage.made.images}
    share = sum(s.image.size for step in file.plan.steps if step.container in done for s in step.makes[0].sources)
    subject = f"_vllm_fa2_C, {total} containers, {file.plan.ptx_bytes / 1e6:.0f} MB of PTX"
    hours = seconds / size * file.plan.ptx_bytes / 3600
    busy = stage.others / (work.wall_seconds * work.cores)
    return [
        Row(
            what="ahead-of-time compiling",
            subject=subject,
            shim=f"{len(stage.sizes)} units, {size / 1e6:.0f} MB of PTX: {seconds:.0f} CPU s",
            peer="",
            figure=f"{seconds / size * 1e6:.2f} CPU s/MB; {hours:.2f} CPU h for all of it at that rate",
        ),
        Row(
            what="parallel efficiency",
            subject=subject,
            shim=f"{work.cpu_seconds:.0f} CPU s in {work.wall_seconds:.0f} s on {work.cores} cores",
            peer=f"other programs on {busy:.0%} of the cores",
            figure=f"{work.efficiency:.0%}; {work.efficiency + busy:.0%} with the others",
        ),
        Row(
            what="share compiled",
            subject=subject,
            shim=f"{containers} containers, {share / 1e6:.0f} MB of PTX are done by now",
            peer="",
            figure=f"{share / file.plan.ptx_bytes:.0%} of the PTX",
        ),
        Row(
            what="after kill -9",
            subject=subject,
            shim=f"{kept - before} compiled before the kill, {kept} in the cache, {work.cached} taken from it",
            peer="",
            figure=f"{kept - work.cached} compiled twice",
            goal="none",
            reached=work.cached == kept,
        ),
        Row(
            what="peak memory of shim",
            subject=f"{subject}, {containers} put into the wheel",
            shim=f"{rss / 1e6:.0f} MB",
            peer="",
            figure=f"{rss / 1e6:.0f} MB",
            goal=f"below {MOST_RSS / 1e6:.0f} MB",
            reached=rss < MOST_RSS,
        ),
    ]


def _entries(store: ContentStore) -> int:
    return len(list(store.entries()))


def _argv(out: str, minutes: float) -> list[str]:
    wheel = str(inputs.fetch(inputs.VLLM))
    options = ["--only", ONLY, "--no-recipes", "--budget", f"{minutes:g}", "--format", "json", "--force"]
    return [sys.executable, "-m", "shim", "patch", wheel, "-o", out, *options]


def _run_and_kill(seconds: float) -> None:
    """Start the command, and end it and its compilers without notice."""
    with tempfile.TemporaryDirectory(dir=inputs.cache()) as out:
        process = subprocess.Popen(_argv(out, 600), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            raise BenchError(f"shim patch ended by itself within {seconds:g} s, with {process.returncode}")
        compilers = _children(process.pid)
        process.kill()
        process.wait()
        for pid in compilers:  # each leads a group of its own, so that a Ctrl-C does not reach it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def _stage(file: WorkFile, store: ContentStore) -> Stage:
    sizes: list[int] = []
    seconds: list[float] = []

    def note(event: CompileEvent) -> None:
        if event.kind is EventKind.COMPILED:
            sizes.append(event.size)
            seconds.append(event.seconds)

    others = OtherLoad()
    made = make_machine_code([file], Toolbox(store=store, budget=MINUTES * 30), note)
    return Stage(made=made, sizes=tuple(sizes), seconds=tuple(seconds), others=others.seconds())


def _patch() -> tuple[int, int]:
    """Peak memory in bytes, and the number of containers that got machine code."""
    with tempfile.TemporaryDirectory(dir=inputs.cache()) as out:
        used = run_program(_argv(out, 1e-9), codes=(0, 1))
    result = json.loads(used.output)
    if result["work"]["compiled"]:
        raise BenchError(f"the last run compiled {result['work']['compiled']} units, expected none")
    return used.max_rss, sum(library["images"] for library in result["libraries"])
