"""Findings about Triton's own assembler: Triton compiles on the user's machine, with the ptxas that it brought."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shim.arch import Target
from shim.model import Finding, Severity
from shim.scan.sources import Source
from shim.toolchain.triton_bundle import (
    PROGRAMS,
    BundledPtxas,
    TritonNote,
    ask_bundled,
    called_program,
    is_triton,
    read_bundled,
    triton_notes,
)

_SEVERITY: Final = {
    "triton-ptxas-too-old": Severity.ERROR,
    "triton-variable-unused": Severity.WARNING,
    "triton-ptxas-fits": Severity.INFO,
}


def triton_findings(
    name: str,
    version: str,
    source: Source,
    target: Target,
    *,
    installed: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """What to say of a distribution if it is Triton; () for any other.

    Args:
        source: its files. installed: the folder they are installed in; the ptxas there is asked, if it runs here. In a
            wheel it is judged by its version: nothing of a wheel is run.
        environ: os.environ when None.
    """
    if not is_triton(name):
        return ()
    program = called_program(version, target.device)
    path = f"{PROGRAMS}/{program}"
    bundled = None
    if program is not None and any(file.path == path for file in source.files):
        bundled = _bundled(program, path, source, target, installed)
    notes = triton_notes(name, version, bundled, target.device, os.environ if environ is None else environ)
    return tuple(_finding(note, path if bundled else name) for note in notes)


def _bundled(program: str, path: str, source: Source, target: Target, installed: Path | None) -> BundledPtxas:
    asked = None if installed is None else ask_bundled(installed / path, target.device)
    return asked or read_bundled(program, source.chunks(path), target.device)


def _finding(note: TritonNote, where: str) -> Finding:
    return Finding(
        code=note.code,
        severity=_SEVERITY[note.code],
        where=where,
        text=note.text,
        evidence=note.evidence,
        hint=note.hint,
    )
