"""`patch --slim` of a library of 1.03 GB, in its wheel and by itself, against ISA-L deflating it again.

The whole command is timed: reading and checking the wheel, planning, writing, deflating, reverse data, verification.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import inputs
from measure import BenchError, Cost, in_turns, run_program
from row import Row, within

NAME = "slim-library"
ROUNDS = 3
GOAL = 1.5

_BARE = Path(__file__).with_name("bare_redeflate.py")
_LEAST_SAVED = 0.7  # of the library's bytes; else nothing was slimmed


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure."""
    wheel = inputs.fetch(inputs.TRANSFORMER_ENGINE)
    library = inputs.unpacked(inputs.TRANSFORMER_ENGINE, inputs.TRANSFORMER_ENGINE_LIBRARY)
    os.environ["SHIM_OFFLINE"] = "1"  # else the plan looks for sources of what stays as it is
    peaks: list[int] = []
    with tempfile.TemporaryDirectory(dir=inputs.cache()) as folder:
        out = Path(folder)
        sides = (
            partial(_slim, wheel, out / "wheel", peaks),
            partial(_slim, library, out / "library", peaks),
            partial(_deflate_again, wheel, out / "deflated"),
        )
        in_wheel, alone, bare = in_turns(rounds, *sides)
    print(f"  peak memory {max(peaks) / 1e6:.0f} MB", file=sys.stderr)
    size = library.stat().st_size / 1e6
    subject = f"{inputs.TRANSFORMER_ENGINE.label}, library of {size:.0f} MB"
    peer = "inflate and deflate the library, ISA-L level 3"
    return [
        within("slim of a wheel", f"{subject} in its wheel", in_wheel, bare, peer, goal=GOAL),
        within("slim of a library", f"{subject} on disk", alone, bare, peer, goal=GOAL),
    ]


def _slim(path: Path, out: Path, peaks: list[int]) -> Cost:
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "shim", "patch", path, "--slim", "--no-recipes", "-o", out, "--format", "json"]
    used = run_program(command, codes=(0, 1))  # 1: containers that could be more certain
    sizes = json.loads(used.output)["library_sizes"]
    if sizes["after"] > (1 - _LEAST_SAVED) * sizes["before"]:
        raise BenchError(f"slim made {sizes['after']} of {sizes['before']} bytes")
    peaks.append(used.max_rss)
    return used.cost


def _deflate_again(wheel: Path, out: Path) -> Cost:
    return run_program([sys.executable, _BARE, wheel, inputs.TRANSFORMER_ENGINE_LIBRARY, out]).cost
