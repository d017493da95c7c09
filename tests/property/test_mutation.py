"""Damaged real files give an InputError or a report: no crash, no hang, no other exception.

Each sample is read in a child process with limits, so that a crash is a failed test that names its case.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import samples
from tests.property import mutations

ROOT = Path(__file__).parents[2]
QUICK = 50  # cases a sample: a thousand in all
FULL = 10_000 // len(samples.NAMES) + 1


def run(name: str, folder: Path, count: int) -> int:
    """Returns how many of the damaged files were refused."""
    path = folder / "sample"
    path.write_bytes(samples.sample(name))
    command = [sys.executable, "-m", "tests.property.mutations", name, path, "0", str(count)]
    words = [str(word) for word in command]
    limit = 60 + count * mutations.SECONDS
    child = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)
    cases = re.findall(r"^case (\d+)$", child.stdout, re.MULTILINE)
    last = f"{name}:{cases[-1] if cases else '-'}"
    assert child.returncode == 0, (
        f"exit {child.returncode} at case {last}\n{child.stdout[-3000:]}\n{child.stderr[-3000:]}"
    )
    assert len(cases) == count
    summary = re.search(r"^refused (\d+), failed 0$", child.stdout, re.MULTILINE)
    assert summary
    return int(summary[1])


@pytest.mark.parametrize("name", samples.NAMES)
def test_a_thousand_damaged_files(name: str, tmp_path: Path) -> None:
    refused = run(name, tmp_path, QUICK)
    # LTO-IR is opaque: nothing in it can be wrong.
    assert refused == 0 if name == "link.ltoir" else 0 < refused < QUICK


@pytest.mark.slow
@pytest.mark.parametrize("name", samples.NAMES)
def test_ten_thousand_damaged_files(name: str, tmp_path: Path) -> None:
    refused = run(name, tmp_path, FULL)
    assert refused == 0 if name == "link.ltoir" else 0 < refused < FULL


def test_cases_are_made_from_their_number() -> None:
    data = samples.sample("whole.so")
    hot = mutations.hot_places(data)
    twice = [mutations.mutate(data, hot, random.Random("whole.so:7")) for _ in range(2)]
    assert twice[0] == twice[1] != data


def test_a_crash_names_its_case(tmp_path: Path) -> None:
    """The harness itself: a child that dies, and one that hangs, fail the test."""
    bad = tmp_path / "bad.py"
    bad.write_text(
        "import os, sys\n"
        "from tests.property import mutations\n"
        "mutations.SECONDS = 1\n"
        "mutations.check = lambda *a: os.abort() if sys.argv[1] == 'crash' else __import__('time').sleep(60)\n"
        "mutations.main('x', sys.argv[2], 3, 1)\n"
    )
    for how in ("crash", "hang"):
        child = subprocess.run(
            [sys.executable, str(bad), how, str(bad)],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert child.returncode != 0
        assert child.stdout == "case 3\n"
