"""Gates of a report as text: the worst first, one line each, long lists cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shim.arch import Grade
from shim.model import Confidence, GateNote, Subject, WheelReport
from shim.scan.gate_words import place_of
from shim.scan.words import plural

_SHOWN: Final = 15
_ORDER: Final = ("sources-missing", "build-breaks", "gate-refuses", "gate-misleads", "compiled-guard", "gate-disables",
                 "arch-dropped", "cpu-only-build", "prebuilt-download")  # fmt: skip
_STYLES: Final = {"sources-missing": "bold red", "build-breaks": "bold red", "gate-refuses": "bold red"}


def print_gates(console: Console, report: WheelReport) -> None:
    """Write the gates that change what the target gets; for a package that runs, say so when nobody looked."""
    if report.gates is None:
        if report.subject in (Subject.WHEEL, Subject.DISTRIBUTION) and report.verdict.grade >= Grade.JIT:
            console.print(Text("Its code was not searched for gates that refuse the GPU: --gates does.", style="dim"))
        return
    gates = sorted((gate for gate in report.gates if gate.code), key=lambda gate: _ORDER.index(gate.code))
    if not gates:
        looked = plural(len(report.gates), "place")
        console.print(Text(f"No gate against this device ({looked} looked at).", style="dim"))
        return
    console.print()
    console.print(_table(gates[:_SHOWN]))
    if len(gates) > _SHOWN:
        console.print(Text(f"+{len(gates) - _SHOWN} more, --format json lists all", style="dim"))


def _table(gates: Sequence[GateNote]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("gate", no_wrap=True)
    table.add_column("place", overflow="fold", ratio=2)
    table.add_column("what it does", overflow="fold", ratio=5)
    told: set[str] = set()
    for gate in gates:
        style = _STYLES.get(gate.code, "yellow")
        table.add_row(Text(gate.code, style=style), Text(place_of(gate)), Text(_said(gate, told)))
    return table


def _said(gate: GateNote, told: set[str]) -> str:
    """What it does, with the advice where it is given for the first time."""
    doubt = " (perhaps)" if gate.confidence is Confidence.LOW else ""
    if not gate.advice or gate.advice in told:
        return f"{gate.words}{doubt}"
    told.add(gate.advice)
    return f"{gate.words}{doubt} - {gate.advice}"
