"""SIGKILL at every call that changes a file: old or new is left, its reverse data fits, and a re-run works."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from builders.killing import Files, Killings, kill_everywhere, snapshot
from builders.patchable import library, wheel

PATCHED = "demo-1.0-1sm121-py3-none-linux_x86_64.whl"
BESIDE = (".undo", ".shim.json")


class Bench:
    """A folder with inputs, and a cache that has what they compile to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.out = folder / "out"
        self.wheel = wheel(folder / "in")
        self.library = folder / "in" / "lib.so"
        self.library.write_bytes(library("first", "second").data)

    def shim(self, *arguments: object) -> None:
        environment = {**os.environ, "SHIM_CACHE_DIR": str(self.cache), "SHIM_OFFLINE": "1"}
        words = [sys.executable, "-m", "shim", *map(str, arguments)]
        ran = subprocess.run(words, env=environment, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr

    def kill(self, *arguments: object) -> Killings:
        return kill_everywhere(arguments, self.out, self.cache, self.folder)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    for target in ("12.0", "12.1"):  # compile all there is, so that the killed runs are about files only
        for subject in (made.wheel, made.library):
            made.shim("patch", subject, "-o", tmp_path / "warm" / target, "--target", target)
    return made


def pairs(files: Files, name: str, suffixes: Sequence[str]) -> set[tuple[str | None, ...]]:
    """What a reader may take together: the file, and for each suffix one of the files that may be its own."""
    choices = [[files.get(name + suffix + more) for more in ("", ".new")] for suffix in suffixes]
    found: set[tuple[str | None, ...]] = {(files.get(name),)}
    for choice in choices:
        found = {(*one, other) for one in found for other in choice}
    return found


def wanted(files: Files, name: str, suffixes: Sequence[str]) -> tuple[str | None, ...]:
    return (files.get(name), *(files.get(name + suffix) for suffix in suffixes))


def check(killings: Killings, name: str, suffixes: Sequence[str] = ()) -> None:
    """Old or new at every point, with what belongs beside it; then the same command gives the same folder."""
    assert len(killings.points) > 8
    assert {"o", "w", "r"} <= set(killings.calls)
    states = set()
    for point in killings.points:
        where = f"killed at call {point.at} ({point.call}) of {killings.calls}"
        at_hand = pairs(point.left, name, suffixes)
        if point.left.get(name) == killings.before.get(name):
            states.add("old")
            if name in killings.before:
                assert wanted(killings.before, name, suffixes) in at_hand, where
        else:
            states.add("new")
            assert wanted(killings.done, name, suffixes) in at_hand, where
        assert point.code == 0, where
        assert point.after == killings.done, where
    assert states == {"old", "new"}


def test_single_file(bench: Bench) -> None:
    killings = bench.kill("patch", "--no-recipes", bench.library, "-o", bench.out, "--force")
    assert sorted(killings.done) == ["lib.so", "lib.so.shim.json", "lib.so.undo"]
    check(killings, "lib.so", BESIDE)


def test_single_file_that_replaces_another(bench: Bench) -> None:
    bench.shim("patch", bench.library, "-o", bench.out, "--target", "12.0")
    killings = bench.kill("patch", "--no-recipes", bench.library, "-o", bench.out, "--force")
    assert killings.before["lib.so"] != killings.done["lib.so"]
    check(killings, "lib.so", BESIDE)


def test_wheel(bench: Bench) -> None:
    killings = bench.kill("patch", "--no-recipes", bench.wheel, "-o", bench.out)
    assert sorted(killings.done) == [PATCHED, PATCHED + ".undo"]
    check(killings, PATCHED, (".undo",))


def test_wheel_that_replaces_another(bench: Bench) -> None:
    bench.shim("patch", bench.wheel, "-o", bench.out, "--only", "first")
    killings = bench.kill("patch", "--no-recipes", bench.wheel, "-o", bench.out, "--force")
    assert killings.before[PATCHED] != killings.done[PATCHED]
    check(killings, PATCHED, (".undo",))


def test_undo(bench: Bench) -> None:
    warm = bench.folder / "warm" / "12.1"
    check(bench.kill("undo", warm / PATCHED, "-o", bench.out), bench.wheel.name)
    check(bench.kill("undo", warm / "lib.so", "-o", bench.out, "--force"), "lib.so")


def test_undo_takes_the_reverse_data_that_fits(bench: Bench) -> None:
    """As a kill between the two renames leaves it: the new file, the old reverse data, and the new one beside it."""
    old, new = bench.folder / "warm" / "12.0", bench.folder / "warm" / "12.1"
    for suffix in BESIDE:
        (new / f"lib.so{suffix}").rename(new / f"lib.so{suffix}.new")
        (old / f"lib.so{suffix}").rename(new / f"lib.so{suffix}")
    bench.shim("undo", new / "lib.so", "-o", bench.out)
    assert (bench.out / "lib.so").read_bytes() == bench.library.read_bytes()
    os.rename(new / f"{PATCHED}.undo", new / f"{PATCHED}.undo.new")
    bench.shim("patch", bench.wheel, "-o", bench.folder / "other", "--only", "first")
    os.rename(bench.folder / "other" / f"{PATCHED}.undo", new / f"{PATCHED}.undo")
    bench.shim("undo", new / PATCHED, "-o", bench.out)
    assert (bench.out / bench.wheel.name).read_bytes() == bench.wheel.read_bytes()
    assert snapshot(bench.out).keys() == {"lib.so", bench.wheel.name}
