"""What `patch` would do for a library, in a few words. The plan itself is made by `shim.planning`."""

from __future__ import annotations

from collections.abc import Sequence

from shim.arch import Target
from shim.devicecode.model import ContainerRole, GpuImage, ImageKind
from shim.model import Fit, PatchOutlook
from shim.scan.containers import Decision, loadable
from shim.scan.family import is_restampable, is_retargetable
from shim.scan.jit_cost import jit_cost
from shim.scan.words import plural, size_text, span_text

_COMPILED = frozenset({Fit.JIT, Fit.JIT_TOO_NEW})
_REACHABLE = frozenset({ContainerRole.WHOLE, ContainerRole.FILE})


def outlook(decisions: Sequence[Decision], target: Target) -> PatchOutlook:
    """Say what `patch` would do with these containers for the target."""
    counted = [decision for decision in decisions if decision.counted]
    parts: list[str] = []
    action = "nothing"
    compiled = [d for d in counted if d.fit in _COMPILED and d.role in _REACHABLE and not d.loose]
    if compiled:
        action = "compile"
        parts.append(f"compile {_volume(compiled)} to sm_{target.device.sm}")
    lost = [d for d in counted if d.fit is Fit.NOTHING]
    other = [d for d in lost if d.role in _REACHABLE and any(is_retargetable(i, target) for i in d.images)]
    if other:
        action = "compile"
        text = f"compile the PTX of {plural(_count(other), 'container')} with .target sm_{target.device.sm}a"
        parts.append(text)
        lost = [d for d in lost if d not in other]
    links = [d for d in counted if d.linked_at_run_time]
    if links and _count(links) == 1:
        action = "link"
        units = [d for d in decisions if d.role is ContainerRole.PRELINKED and d.live]
        parts.append(f"compile {_volume(units)} and link them for sm_{target.device.sm}")
    refusals = _refusals(counted, links, lost, target)
    if refusals and action == "nothing":
        action = "cannot"
    parts.extend(refusals)
    if action == "nothing":
        return _when_all_runs(decisions, target)
    return PatchOutlook(action=action, text="; ".join(parts))


def _refusals(
    counted: Sequence[Decision], links: Sequence[Decision], lost: Sequence[Decision], target: Target
) -> list[str]:
    refusals = []
    if _count(links) > 1:
        refusals.append(f"{_count(links)} linked containers: which relocatable code belongs to which is unknown")
    hidden = [d for d in counted if d.fit in _COMPILED and d.role is ContainerRole.EMBEDDED]
    if hidden:
        refusals.append(
            f"{plural(_count(hidden), 'container')} in plain data, loaded by the library itself: left alone"
        )
    texts = [d for d in counted if d.fit in _COMPILED and d.loose and d.role is ContainerRole.FILE]
    if texts:
        refusals.append(f"{plural(_count(texts), '.ptx file')}: text that others read, left alone")
    if lost:
        marked = all(d.role in _REACHABLE and any(is_restampable(i, target) for i in d.images) for d in lost)
        other = ", or try --experimental-restamp" if marked else ""
        refusals.append(f"{plural(_count(lost), 'container')} without usable PTX: rebuild from source{other}")
    return refusals


def _when_all_runs(decisions: Sequence[Decision], target: Target) -> PatchOutlook:
    counted = [decision for decision in decisions if decision.counted]
    unproven = [d for d in counted if d.fit is Fit.UNPROVEN]
    if unproven:
        compilable = [d for d in unproven if _has_loadable_ptx(d, decisions, target)]
        if compilable:
            text = f"compile the PTX of {plural(_count(compilable), 'container')}, to be certain"
            return PatchOutlook(action="optional", text=text)
        return PatchOutlook(action="nothing", text="nothing: no PTX to compile, try it on the device")
    if any(d.fit is Fit.OTHER_ARCH for d in counted) and all(
        d.fit in (Fit.OTHER_ARCH, Fit.NO_CODE, Fit.NOT_JUDGED) for d in counted
    ):
        return PatchOutlook(action="nothing", text="nothing: it is for other GPUs")
    return PatchOutlook(action="nothing", text="nothing to do")


def _has_loadable_ptx(decision: Decision, everything: Sequence[Decision], target: Target) -> bool:
    if decision.role is not ContainerRole.LINKED:
        return any(_is_loadable_ptx(image, target) for image in decision.images)
    relocatable = [d for d in everything if d.role is ContainerRole.PRELINKED and d.fit is not Fit.NO_CODE]
    return all(any(_is_loadable_ptx(image, target) for image in d.images) for d in relocatable)


def _is_loadable_ptx(image: GpuImage, target: Target) -> bool:
    return image.kind is ImageKind.PTX and (loadable(image, target) or is_retargetable(image, target))


def _volume(decisions: Sequence[Decision]) -> str:
    cost = jit_cost(decisions)
    if cost is None:
        return plural(_count(decisions), "container")
    time = span_text(cost.seconds_low, cost.seconds_high)
    return f"{plural(cost.units, 'PTX unit')} ({size_text(cost.ptx_bytes)}, {time} of CPU)"


def _count(decisions: Sequence[Decision]) -> int:
    return sum(decision.count for decision in decisions)
