"""What became of the nvcc calls of a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from shim.arch import Arch
from shim.scan.words import plural
from shim.toolchain.front import NvccCall

_MOST = 12


def summary_lines(calls: Sequence[NvccCall], arch: Arch) -> list[str]:
    """How many calls were changed, and how; equal changes together."""
    calls = [call for call in calls if call.tool == "nvcc"]
    real = [call for call in calls if call.kind != "query"]
    if not real:
        more = f" ({plural(len(calls), 'question')} about its version and the like)" if calls else ""
        return [f"nvcc compiled nothing{more}: the command built no device code, or has a path to an nvcc of its own"]
    changed = [call for call in real if call.changed]
    lines = [f"nvcc: {plural(len(real), 'call')}, {len(changed)} changed for sm_{arch}"]
    counts = Counter(_change(call) for call in changed)
    lines += [f"  {count} x {text}" for text, count in counts.most_common(_MOST)]
    if len(counts) > _MOST:
        lines.append(f"  ... and {len(counts) - _MOST} other changes; --log FILE keeps them all")
    same = Counter(_kept(call) for call in real if not call.changed)
    lines += [f"  {count} x {text}" for text, count in same.most_common(_MOST)]
    return lines


def call_lines(calls: Iterable[NvccCall]) -> list[str]:
    """One line for each changed call."""
    return [f"{call.output or ' '.join(call.argv[-1:])}: {_change(call)}" for call in calls if call.changed]


def _change(call: NvccCall) -> str:
    before = " ".join(call.archs_before) or "nvcc's default"
    note = f" ({call.note})" if call.note else ""
    return f"{call.kind}: {before} -> {' '.join(call.archs_after) or 'nothing'}{note}"


def _kept(call: NvccCall) -> str:
    note = f" ({call.note})" if call.note else ""
    return f"{call.kind}: {' '.join(call.archs_before) or 'no architecture named'}, as it was{note}"
