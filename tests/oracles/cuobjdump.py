"""cuobjdump's list of images. Two habits to know (docs/formats.md, "what the reader was checked against"): it reads
containers through the first section named .nv_fatbin only, and `-lelf` names family cubins without their `f`.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

from tests.oracles.nvidia import program

_LINE = re.compile(r"(?P<kind>ELF|PTX) file +\d+: .*?\.(?:sm|compute)_(?P<arch>\d+[af]?)\.(?:cubin|ptx)$", re.MULTILINE)


def count_images(path: Path) -> Counter[tuple[str, str]]:
    """(kind "ELF" | "PTX", arch) -> how many. An object without device code has none."""
    found: Counter[tuple[str, str]] = Counter()
    for switch in ("-lelf", "-lptx"):
        run = subprocess.run(
            [str(program("cuobjdump")), "-all", switch, str(path)], capture_output=True, text=True, check=False
        )
        found.update((m["kind"], m["arch"]) for m in _LINE.finditer(run.stdout))
    return found
