"""Memory is bounded by what the answer needs, not by the size of the file (docs/design.md)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOO_MANY = "refused: .*more containers, wrappers and images than the reader's 256 MiB can describe"

# case -> (size of the file in MB, peak allowed in MB, result)
CASES = {
    "library": (320, 64, "1 containers, 1 wrappers"),
    "payload": (320, 16, "1 containers, 0 wrappers"),
    "archive": (320, 64, "10 containers, 10 wrappers"),
    "containers": (320, 300, TOO_MANY),
    "bare_cubins": (320, 300, TOO_MANY),
}


@pytest.mark.parametrize("case", CASES)
def test_peak_while_streaming(case: str) -> None:
    megabytes, allowed, result = CASES[case]
    command = [sys.executable, "-m", "tests.property.reader_memory", case, str(megabytes)]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert child.returncode == 0, child.stderr
    found = re.fullmatch(rf"(\d+) MB; {result}.*\n", child.stdout)
    assert found, child.stdout
    assert int(found[1]) <= allowed
