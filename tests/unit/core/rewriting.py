"""What the tests of the writer share: files of all kinds, two of their containers rewritten in each layout."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from shim import _core
from tests.builders import elf

NEW = (elf.filled_container(5, size=3000), elf.filled_container(7))
SIZE = 80_000  # of an entry's text: the old containers take more than a few pages, also of 64 KiB
LAYOUTS = ("repack", "append", "move")
_REFUSED = {
    "append": tuple(name for name in elf.PROGRAMS if not name.endswith("-note")),
    "move": elf.PROGRAMS,
    "repack": (),
}
COMBINATIONS = tuple(
    (name, layout)
    for name in elf.LAYOUTS
    for layout in LAYOUTS
    if name != "lld-android" and name not in _REFUSED[layout]
)
every_combination = pytest.mark.parametrize(("name", "layout"), COMBINATIONS)


def big(name: str) -> elf.Sample:
    """A sample whose containers take whole pages."""
    if (package := elf.missing_tool(name)) is not None:
        pytest.skip(f"needs {package}")
    return elf.sample(name, SIZE)


def patch(sample: elf.Sample, folder: Path, layout: str) -> tuple[Path, _core.RewriteResult]:
    """Gives the first and third wrapper new containers; the third in two pieces."""
    out = folder / f"{layout}-{sample.path.name}"
    edits = [sample.edit(0, NEW[0]), sample.edit(2, NEW[1][:16], NEW[1][16:])]
    return out, _core.rewrite_containers(sample.path, out, edits, layout=layout)


@cache
def patched(name: str, layout: str) -> tuple[Path, _core.RewriteResult]:
    """The result of `patch`, made once for all tests that only look at it."""
    sample = big(name)
    return patch(sample, sample.path.parent, layout)


def expected(sample: elf.Sample) -> list[bytes]:
    """The containers after `patch`."""
    return [NEW[0], sample.containers[1], NEW[1]]


def output(*command: str | Path) -> str:
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    return run.stdout + run.stderr
