"""What gates become in a report: findings, advice, and a part of the headline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from shim.model import Confidence, Finding, GateNote, Severity, Subject, Verdict
from shim.scan.words import plural
from shim.source.gates.guards import guards
from shim.source.gates.model import Effect, Gate, Sign

_CODES: Final = {
    Effect.REFUSES: "gate-refuses",
    Effect.DISABLES: "gate-disables",
    Effect.MISLEADS: "gate-misleads",
    Effect.DROPS: "arch-dropped",
    Effect.BREAKS_BUILD: "build-breaks",
}
_CODES_OF_FORMS: Final = {
    "gpu-check-cpu-only": "cpu-only-build",
    "gpu-check-raises": "build-breaks",
    "wheel-download": "prebuilt-download",
    "missing-source": "sources-missing",
    "missing-include": "sources-missing",
}
_ADVICE: Final = {
    "gencode-retired": "take it out of the list, or replace it by the target's",
    "nvcc-arch-retired": "take it out, or replace it by the target's",
    "arch-list-retired": "name the architectures yourself, or take it out of the list",
    "gencode-list": "add the target's architecture; NVCC_APPEND_FLAGS can, without an edit",
    "nvcc-arch": "add the target's architecture; NVCC_APPEND_FLAGS can, without an edit",
    "cmake-archs": "add the target's architecture; NVCC_APPEND_FLAGS can, without an edit",
    "arch-variable": "set the variable",
    "cxx-standard": "ask for C++20, or build with torch 2.11 or older",
    "missing-source": "get the sources from the project's repository",
    "missing-include": "get the sources from the project's repository",
    "cmake-select-arch-flags": "name the flags in CUDA_NVCC_FLAGS, or use a newer copy of the module",
    "cmake-fermi-replace": "set TORCH_CUDA_ARCH_LIST, or take the line out",
}
_ERRORS: Final = frozenset({"gate-refuses", "build-breaks", "sources-missing"})
_BUILD: Final = frozenset({"arch-dropped", "build-breaks", "cpu-only-build", "prebuilt-download", "sources-missing"})
_RUN: Final = frozenset({"gate-refuses", "gate-disables", "gate-misleads", "compiled-guard"})


def code_for(gate: Gate) -> str:
    """Code of the gate's finding; "" for gates that change nothing."""
    if not gate.changes:
        return ""
    if gate.form.startswith("compiled-"):
        return "compiled-guard"
    return _CODES_OF_FORMS.get(gate.form) or _CODES[gate.effect]


def advice_for(gate: Gate) -> str:
    """What to do about a gate, "" where that needs a look at the code."""
    if gate.form.startswith("compiled-"):
        return next((guard.advice for guard in guards() if f"compiled-{guard.id}" == gate.form), "")
    return _ADVICE.get(gate.form, "")


def gate_findings(gates: Sequence[GateNote]) -> Iterator[Finding]:
    """One finding for each gate that changes what the target gets."""
    for gate in gates:
        if gate.code:
            yield Finding(
                code=gate.code,
                severity=_severity(gate),
                where=place_of(gate),
                text=gate.words,
                evidence=gate.text,
                hint=gate.advice,
            )


def place_of(gate: GateNote) -> str:
    """`setup.py:177`, or a member and an offset."""
    if gate.line:
        return f"{gate.path}:{gate.line}"
    return gate.path if gate.offset is None else f"{gate.path} at offset {gate.offset:#x}"


def headline_with_gates(headline: str, subject: Subject, verdict: Verdict, gates: Sequence[GateNote]) -> str:
    """The headline, with what gates add: why a build fails, or that code which would run is not let near the device."""
    source = subject is Subject.SDIST or (subject is Subject.DIRECTORY and not verdict.grade.on_scale)
    if source:
        return _of_source(headline, str(verdict.target.device), gates)
    refusing = [gate for gate in gates if gate.code in _RUN and _weighs(gate)]
    if not refusing:
        return headline
    misled = [gate for gate in refusing if gate.effect == Effect.MISLEADS]
    worst = (misled or refusing)[0]
    many = len(refusing) > 1
    if misled:
        what = "refuse or mislead this device" if many else "misleads this device"
    else:
        what = f"{'keep' if many else 'keeps'} this device from code that it could run"
    runs = "But " if verdict.grade.on_scale else ""
    return f"{headline} {runs}{plural(len(refusing), 'gate')} {what}, such as {place_of(worst)}."


def _weighs(gate: GateNote) -> bool:
    """Not those that keep the device from what it has no code for, nor those that may never be met."""
    return gate.sign != Sign.EXACT and gate.confidence is not Confidence.LOW


def _of_source(headline: str, device: str, gates: Sequence[GateNote]) -> str:
    parts = []
    if missing := [gate for gate in gates if gate.code == "sources-missing"]:
        parts.append(f"It cannot be built: {_such_as(missing)}.")
    elif breaking := [gate for gate in gates if gate.code == "build-breaks" and gate.form != "gpu-check-raises"]:
        parts.append(f"A build with CUDA 13 and a new torch fails: {_such_as(breaking)}.")
    if dropped := [gate for gate in gates if gate.code == "arch-dropped"]:
        lead = "Beside that," if parts else f"A build for {device} gets less than it asks for:"
        parts.append(f"{lead} {_such_as(dropped)}.")
    if checks := [gate for gate in gates if gate.form.startswith("gpu-check")]:
        parts.append(f"{checks[0].words[:1].upper()}{checks[0].words[1:]}.")
    if parts:
        return f"Source code. {' '.join(parts)}"
    if fine := [gate for gate in gates if gate.effect == Effect.NONE and "compiles for" in gate.words]:
        return f"Source code. A build {fine[0].words} ({place_of(fine[0])})."
    return headline


def _such_as(gates: Sequence[GateNote]) -> str:
    first = gates[0]
    more = f", and {len(gates) - 1} more" if len(gates) > 1 else ""
    return f"{place_of(first)} {first.words}{more}"


def _severity(gate: GateNote) -> Severity:
    if gate.form.startswith("gpu-check") or (gate.code == "compiled-guard" and gate.confidence is Confidence.LOW):
        return Severity.WARNING
    if gate.sign == Sign.EXACT:
        return Severity.INFO
    return Severity.ERROR if gate.code in _ERRORS else Severity.WARNING
