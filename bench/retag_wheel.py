"""A large wheel of which nothing but the build tag changes, against a copy of the file. Both flush to disk, since a
result that was moved into place must survive a power cut.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import inputs
from measure import BenchError, Cost, in_turns, time_call
from row import Row, within

from shim.wheels.archive import WheelArchive
from shim.wheels.metadata import with_build
from shim.wheels.writer import write_wheel

NAME = "retag-wheel"
ROUNDS = 5
GOAL = 1.5


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure."""
    path = inputs.fetch(inputs.SGL)
    with tempfile.TemporaryDirectory(dir=inputs.cache()) as folder:
        out = Path(folder)
        retag = partial(_fresh, out / "retagged.whl", partial(_retag, path))
        copy = partial(_fresh, out / "copy.whl", partial(_copy, path))
        by_retag, by_copy = in_turns(rounds, retag, copy)
        _check(path, out / "retagged.whl")
    subject = f"{inputs.SGL.label}, {path.stat().st_size / 1e6:.0f} MB"
    return [within("build tag of a wheel", subject, by_retag, by_copy, "file copy, flushed", goal=GOAL)]


def _fresh(out: Path, write: Callable[[Path], None]) -> Cost:
    """What `write` takes to make `out`, which does not exist before."""
    out.unlink(missing_ok=True)
    os.sync()  # what is left of the last round must not fall into this one
    return time_call(partial(write, out))


def _retag(path: Path, out: Path) -> None:
    with WheelArchive.open(path) as archive:
        name = f"{archive.dist_info}/WHEEL"
        changed = with_build(archive.read(archive.member(name)), "1sm121")
        write_wheel(archive, out, replaced={name: changed})


def _copy(path: Path, out: Path) -> None:
    shutil.copyfile(path, out)
    descriptor = os.open(out, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path, out: Path) -> None:
    """All members but WHEEL and RECORD are the same."""
    with WheelArchive.open(path) as old, WheelArchive.open(out) as new:
        changed = {member.path for member in old.members} ^ {member.path for member in new.members}
        changed |= {m.path for m in old.members if m.path in new and new.member(m.path).crc32 != m.crc32}
        if changed != {f"{old.dist_info}/WHEEL", f"{old.dist_info}/RECORD"}:
            raise BenchError(f"retagging changed {sorted(changed)}")
