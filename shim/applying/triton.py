"""What the plan for a Triton wheel says of its ptxas. The bundled file itself is never changed: other programs of the
environment call it as well, and it is NVIDIA's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from shim.planning import Plan
from shim.toolchain.triton_bundle import (
    PROGRAMS,
    BundledPtxas,
    ask_bundled,
    called_program,
    is_triton,
    read_bundled,
    triton_notes,
)
from shim.wheels.archive import WheelArchive
from shim.wheels.name import WheelName


def with_triton(plan: Plan, archive: WheelArchive, name: WheelName, folder: Path, *, ask: bool) -> Plan:
    """The plan with notes on the ptxas in the wheel, for each target; as it was for any other package.

    Args:
        folder: room to unpack the program. ask: run it, where this machine can; else it is judged by its version.
    """
    if not is_triton(str(name.normalized)):
        return plan
    version = str(name.version)
    notes: dict[str, None] = {}
    for target in plan.wanted.targets:
        program = called_program(version, target.device)
        bundled: BundledPtxas | None = None
        path = f"{PROGRAMS}/{program}"
        if program is not None and path in archive:
            member = archive.member(path)
            if ask:
                copy = folder / f"ask-{target.device}" / program
                copy.parent.mkdir(exist_ok=True)
                archive.extract(member, copy)
                copy.chmod(0o700)
                bundled = ask_bundled(copy, target.device)
            bundled = bundled or read_bundled(program, archive.stream(member), target.device)
        for note in triton_notes(str(name.normalized), version, bundled, target.device, os.environ):
            how = f" ({note.evidence})" if note.evidence else ""
            notes[f"{note.text}{how}" + (f"; {note.hint}" if note.hint else "")] = None
    return replace(plan, notes=(*plan.notes, *notes))
