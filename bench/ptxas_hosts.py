"""Compare the machine code of the x86-64 and the aarch64 ptxas of one release; the second runs under qemu-user.

    python bench/ptxas_hosts.py LIBRARY... [--version 13.0.88] [--most-bytes N] [--arch sm_121]

Prints one line for each unit that differs, and the counts. Exit code 0 when all are equal, else 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.oracles.ptxas_hosts import compare, fetch_ptxas, pin_of, units_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", nargs="+", type=Path, metavar="LIBRARY")
    parser.add_argument("--version", default="13.0.88", help="a release of shim/toolchain/pins.toml")
    parser.add_argument("--most-bytes", type=int, default=1 << 20, help="leave out larger units")
    parser.add_argument("--arch", default="sm_121")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        pin = pin_of(chosen.version)
        programs = (fetch_ptxas(pin, "x86_64", Path(name)), fetch_ptxas(pin, "aarch64", Path(name)))
        units = [unit for library in chosen.libraries for unit in units_of(library)]
        small = [unit for unit in units if len(unit.ptx) <= chosen.most_bytes]
        equal, native, emulated, size = 0, 0.0, 0.0, 0
        for done in compare(small, programs, chosen.arch):
            equal += done.equal
            native, emulated = native + done.seconds[0], emulated + done.seconds[1]
            size += len(done.unit.ptx)
            if not done.equal:
                print(f"{done.unit.label}: differs in {', '.join(done.differs)}", flush=True)
    print(
        f"ptxas {chosen.version}, {chosen.arch}: {equal} of {len(small)} units equal ({size} bytes of PTX; "
        f"{len(units) - len(small)} larger ones left out); {native:.0f} s here, {emulated:.0f} s under qemu"
    )
    return 0 if equal == len(small) else 1


if __name__ == "__main__":
    sys.exit(main())
