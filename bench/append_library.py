"""New containers in a generated library of 1 GB, 2000 containers and 300,000 relocations, against general editors.

Every side is a whole process. LIEF adds a segment of the same size and sets the same relocations; patchelf, which
cannot add data, sets a long run path (a yardstick); cp copies the file.
"""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import inputs
import peers
from measure import BenchError, Cost, Usage, in_turns, run_program
from row import Row, faster, within

from shim.devicecode import DeviceCode, read_path

NAME = "append-library"
ROUNDS = 3
GOAL_FASTER = 10.0
GOAL_LESS_MEMORY = 10.0
GOAL_COPY = 2.0
GOAL_RSS = 200 << 20
CONTAINERS = 2000
RELOCATIONS = 300_000
EDITED = 10  # every tenth container
ADDED = 20_000  # bytes of each new entry
_PAYLOAD = 500_000

_SHIM = """
import sys
from pathlib import Path
from shim import _core
source, dest, layout = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
every, added = int(sys.argv[4]), int(sys.argv[5])
edits = []
for line in Path(sys.argv[6]).read_text().splitlines()[::every]:
    offset, size, wrapper = map(int, line.split())
    kept = size - 16
    if layout == "repack":
        pieces = [_core.make_container_header(kept), (offset + 16, kept)]
    else:
        pieces = [_core.make_container_header(added + kept), bytes(added), (offset + 16, kept)]
    edits.append((offset, [wrapper], pieces))
_core.rewrite_containers(source, dest, edits, layout=layout)
"""

_LIEF = """
import sys
from pathlib import Path
import lief
source, dest, every, added = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
places = [tuple(map(int, line.split())) for line in Path(sys.argv[5]).read_text().splitlines()[::every]]
library = lief.ELF.parse(source)
slots = {library.offset_to_virtual_address(wrapper) + 8: i for i, (_, _, wrapper) in enumerate(places)}
content, starts = bytearray(), []
with open(source, "rb") as file:
    for offset, size, _ in places:
        content += bytes(-len(content) % 8)
        starts.append(len(content))
        file.seek(offset)
        content += file.read(16) + bytes(added) + file.read(size - 16)
segment = lief.ELF.Segment()
segment.type = lief.ELF.Segment.TYPE.LOAD
segment.flags = lief.ELF.Segment.FLAGS.R
segment.alignment = 0x1000
segment.content = memoryview(content)
address = library.add(segment).virtual_address
for relocation in library.dynamic_relocations:
    if relocation.address in slots:
        relocation.addend = address + starts[slots[relocation.address]]
library.write(dest)
"""


def run(rounds: int = ROUNDS) -> list[Row]:
    """Measure all layouts, and the peers."""
    library = generated()
    places = _places(library)
    folder = library.parent / "out"
    folder.mkdir(exist_ok=True)
    peaks: dict[str, int] = {}

    def once(name: str, argv: list[str | Path]) -> Cost:
        for old in folder.iterdir():
            old.unlink()
        usage: Usage = run_program(argv)
        peaks[name] = max(peaks.get(name, 0), usage.max_rss)
        return usage.cost

    def own(layout: str) -> list[str | Path]:
        return [sys.executable, "-c", _SHIM, library, folder / "new", layout, str(EDITED), str(ADDED), places]

    lief = [sys.executable, "-c", _LIEF, library, folder / "new", str(EDITED), str(ADDED), places]
    patchelf = [peers.program("patchelf"), "--set-rpath", "/" + "x" * 500, "--output", folder / "new", library]
    copy = ["cp", "--reflink=never", library, folder / "new"]
    sides = {
        "append": own("append"),
        "move": own("move"),
        "repack": own("repack"),
        "LIEF": lief,
        "patchelf": patchelf,
        "cp": copy,
    }
    costs = dict(
        zip(sides, in_turns(rounds, *(partial(once, name, argv) for name, argv in sides.items())), strict=True)
    )
    for old in folder.iterdir():
        old.unlink()
    subject = f"{library.stat().st_size / 1e6:.0f} MB, {CONTAINERS} containers, {RELOCATIONS:,} relocations"
    rows = [
        faster("append containers", subject, costs["append"], costs["LIEF"], "LIEF", goal=GOAL_FASTER),
        _leaner("append containers, peak memory", subject, peaks["append"], peaks["LIEF"], "LIEF"),
        faster("append containers", subject, costs["append"], costs["patchelf"], "patchelf --set-rpath"),
        _leaner("append containers, peak memory", subject, peaks["append"], peaks["patchelf"], "patchelf"),
        within("append containers", subject, costs["append"], costs["cp"], "cp", goal=GOAL_COPY),
    ]
    return rows + [
        _small(layout, subject, str(costs[layout]), peaks[layout]) for layout in ("append", "move", "repack")
    ]


def _leaner(what: str, subject: str, own: int, peer: int, name: str) -> Row:
    ratio = peer / own
    return Row(
        what=what,
        subject=subject,
        shim=f"{own / 1e6:.0f} MB",
        peer=f"{name}: {peer / 1e6:.0f} MB",
        figure=f"{ratio:.1f}x less",
        goal=f"at least {GOAL_LESS_MEMORY:g}x",
        reached=ratio >= GOAL_LESS_MEMORY,
    )


def _small(layout: str, subject: str, costs: str, peak: int) -> Row:
    return Row(
        what=f"{layout}, peak memory of the process",
        subject=subject,
        shim=costs,
        peer="",
        figure=f"{peak / 1e6:.0f} MB",
        goal=f"below {GOAL_RSS >> 20} MiB",
        reached=peak < GOAL_RSS,
    )


def generated() -> Path:
    """The library, made once by the system's assembler and linker. Raises BenchError."""
    key = hashlib.sha256(f"{CONTAINERS} {RELOCATIONS} {_PAYLOAD} 1".encode()).hexdigest()[:12]
    library = inputs.cache() / f"generated-{key}" / "liblarge.so"
    if library.exists():
        return library
    folder = library.parent
    folder.mkdir(parents=True, exist_ok=True)
    size = _write_containers(folder / "containers.bin")
    lines = ['.section .nv_fatbin,"a"', ".balign 8", f'containers: .incbin "{folder / "containers.bin"}"']
    lines += ['.section .nvFatBinSegment,"aw"', ".balign 8", f".rept {CONTAINERS}", ".long 0x466243B1, 1"]
    lines += [f".quad containers + {size} * number, 0", ".set number, number + 1", ".endr"]
    lines += ['.section .data.rel.ro,"aw"', f".rept {RELOCATIONS - CONTAINERS}", ".quad anchor", ".endr"]
    lines += [".data", "anchor: .quad 0", '.section .note.GNU-stack,"",%progbits']
    (folder / "library.S").write_text(".set number, 0\n" + "\n".join(lines) + "\n")
    partial_name = folder / "partial.so"
    command = ["gcc", "-shared", "-nostdlib", "-o", str(partial_name), str(folder / "library.S")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"the library could not be linked: {done.stderr.strip()[-300:]}")
    for name in ("containers.bin", "library.S"):
        (folder / name).unlink()
    partial_name.replace(library)
    return library


def _write_containers(path: Path) -> int:
    """Containers of one PTX entry each, whose text is random bytes; returns the size of one."""
    chance = random.Random(121)
    entry = struct.pack("<HHIQIIHHIIIQQQII8x", 1, 0x101, 80, _PAYLOAD, 0, 64, 0, 8, 80, 0, 0, 0x11, 0, 0, 72, 0)
    header = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(entry) + _PAYLOAD)
    with path.open("wb") as out:
        for _ in range(CONTAINERS):
            out.write(header + entry + chance.randbytes(_PAYLOAD))
    return len(header) + len(entry) + _PAYLOAD


def _places(library: Path) -> Path:
    """A file with offset, size and wrapper of each container, so that no side pays for finding them."""
    code: DeviceCode = read_path(library)
    if len(code.containers) != CONTAINERS:
        raise BenchError(f"{library}: {len(code.containers)} containers")
    path = library.with_name("places")
    rows = [(code.containers[w.container], w.offset) for w in code.wrappers]
    path.write_text("".join(f"{c.offset} {c.size} {wrapper}\n" for c, wrapper in rows))
    return path
