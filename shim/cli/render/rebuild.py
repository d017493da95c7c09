"""A rebuild as lines of text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shim.building.probe import ProbeResult
from shim.building.request import Preparation, RebuildOutcome, RebuildResult
from shim.building.strategy import ArchPlan

_MOST_UNITS = 12


def result_lines(result: RebuildResult, *, verbose: bool = False) -> list[str]:
    """What was found, what was done and what came of it."""
    prepared = result.prepared
    lines = [*_plan_lines(prepared), f"build: {result.isolation.kind}: {result.isolation.why}; {result.jobs} at once"]
    if result.isolation.install:
        lines.append(f"  installed for it: {', '.join(map(str, result.isolation.install))}")
    lines += _edit_lines(prepared, diffs=verbose or result.outcome is not RebuildOutcome.BUILT)
    lines += [f"  {one.name}={one.value}  ({one.origin}: {one.why})" for one in prepared.settings]
    if result.probe is not None:
        lines += _probe_lines(result.probe, prepared.plan, result.mode)
    lines += [f"note: {note}" for note in result.notes]
    lines += [f"the build asked the network for {host}, and was refused" for host in result.asked]
    return lines + list(_end_lines(result))


def _plan_lines(prepared: Preparation) -> Iterator[str]:
    version = f" {prepared.metadata.version}" if prepared.metadata.version else ""
    yield f"{prepared.metadata.name}{version}: {prepared.effort}"
    yield f"architectures: {prepared.plan}, expected grade {prepared.plan.promised}"
    for sign in prepared.signs[:1]:
        yield f"  a suffix is needed: {sign.path}:{sign.line}: {sign.text}"
    if prepared.recipes:
        yield f"recipes: {', '.join(prepared.recipes)}"


def _edit_lines(prepared: Preparation, *, diffs: bool) -> Iterator[str]:
    for edit in prepared.edits:
        yield f"edit: {edit.path}  ({edit.origin})"
        if diffs:
            changed = [line for line in edit.diff.splitlines()[2:] if line[:1] in "+-@"]
            yield from (f"    {line[:160]}" for line in changed)


def _probe_lines(probe: ProbeResult, plan: ArchPlan, mode: str) -> Iterator[str]:
    note = f"; {probe.note}" if probe.note else ""
    yield f"probe: {len(probe.units)} translation units in {probe.seconds:.0f} s{note}"
    for unit in probe.units[:_MOST_UNITS]:
        state = "ok" if unit.reaches(plan) and not unit.dropped else "short"
        dropped = f", unknown to nvcc: {' '.join(unit.dropped)}" if unit.dropped else ""
        standard = f", {unit.standard}" if unit.standard else ""
        yield f"  {state:<6} {unit.source}: {' '.join(unit.asked)}{standard}{dropped}"
    if len(probe.units) > _MOST_UNITS:
        yield f"  ... and {len(probe.units) - _MOST_UNITS} more"
    if mode != "drop-only":
        yield f"  what is short is set right by a stand-in for nvcc ({mode})"


def _end_lines(result: RebuildResult) -> Iterator[str]:
    yield from (f"checked: {check}" for check in result.checks)
    if result.path is not None:
        how = "from an earlier run" if result.resumed else f"{result.cpu_seconds:.0f} s of CPU time"
        yield f"wrote {result.path} ({how}, {result.seconds:.0f} s in all)"
    elif result.outcome is RebuildOutcome.PLANNED:
        yield f"dry run: {result.prepared.plan} would be reached"
    else:
        yield f"dry run: {result.prepared.plan} would not be reached, or it could not be found out"


def result_document(result: RebuildResult) -> dict[str, Any]:
    """The same as JSON."""
    prepared, probe = result.prepared, result.probe
    return {
        "schema": "shim-rebuild-result/1",
        "outcome": str(result.outcome),
        "name": prepared.metadata.name,
        "version": prepared.metadata.version,
        "strategy": str(prepared.plan.strategy),
        "arch": f"sm_{prepared.plan.arch}",
        "ptx": [str(ptx) for ptx in prepared.plan.ptx],
        "promised": str(prepared.plan.promised),
        "effort": {
            "units": prepared.effort.units,
            "cpu_seconds": [prepared.effort.low, prepared.effort.high],
        },
        "recipes": list(prepared.recipes),
        "edits": [{"path": edit.path, "origin": edit.origin, "diff": edit.diff} for edit in prepared.edits],
        "settings": [
            {"name": one.name, "value": one.value, "origin": one.origin, "why": one.why} for one in prepared.settings
        ],
        "isolation": {"kind": str(result.isolation.kind), "install": [str(one) for one in result.isolation.install]},
        "probe": None
        if probe is None
        else {
            "finished": probe.finished,
            "seconds": probe.seconds,
            "note": probe.note,
            "units": [
                {
                    "source": unit.source,
                    "asked": list(unit.asked),
                    "dropped": list(unit.dropped),
                    "standard": unit.standard,
                    "reaches": unit.reaches(prepared.plan) and not unit.dropped,
                }
                for unit in probe.units
            ],
        },
        "mode": result.mode,
        "jobs": result.jobs,
        "network": list(result.asked),
        "checks": list(result.checks),
        "notes": list(result.notes),
        "wheel": None if result.path is None else str(result.path),
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
        "resumed": result.resumed,
    }
