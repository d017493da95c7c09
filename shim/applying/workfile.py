"""One file to patch, on disk in a work folder, with what was read from it and what is planned for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shim.applying.selection import select
from shim.devicecode import DeviceCode
from shim.planning import LibraryPlan, Refusal, Wanted, plan_library
from shim.planning.licence import library_sign
from shim.planning.linked import UNKNOWN, LinkMap, linked_containers


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFile:
    """A library with steps or refusals. `path` holds the original bytes and is never written to."""

    code: DeviceCode
    path: Path
    plan: LibraryPlan

    @property
    def member(self) -> str:
        return self.code.member


def plan_file(
    code: DeviceCode,
    wanted: Wanted,
    *,
    allow_nvidia: bool,
    around: str = "",
    links: Callable[[], LinkMap] = lambda: UNKNOWN,
) -> LibraryPlan:
    """Plan one file; what NVIDIA's licence covers is refused unless allowed.

    Args:
        around: why the wheel around it is NVIDIA's as a whole, "" when it is not (`licence.distribution_sign`).
        links: finds out which relocatable code belongs to which device link; called where there are several.
    """
    sign = around or library_sign(code.member, code.soname)
    plan = plan_library(code, wanted)
    if (allow_nvidia or not sign) and plan.refusals and len(linked_containers(code)) > 1:
        plan = plan_library(code, wanted, links=links())
    if _without_sections(code, plan):
        plan = _refused(
            plan,
            Refusal(
                code="elf-refused",
                container=None,
                offset=0,
                reason="file without section headers: a container that nothing points at any more could not be told "
                "from one that the library loads by itself",
                advice="take the library before its section headers were removed, or rebuild it",
            ),
        )
    if not sign or not (plan.steps or plan.refusals):
        return plan
    if allow_nvidia:
        return replace(plan, licence=sign) if plan.steps else plan
    return refuse_all(plan, sign)


def refuse_all(plan: LibraryPlan, why: str) -> LibraryPlan:
    """The plan with every step refused for NVIDIA's licence; nothing else is said of a file that stays as it is.

    A refusal that calls for nothing (`unproven-without-ptx`) stays what it is when there is no step.
    """
    if not plan.steps and all(refusal.code == "unproven-without-ptx" for refusal in plan.refusals):
        return plan
    return _refused(
        plan,
        Refusal(
            code="nvidia-licensed",
            container=None,
            offset=0,
            reason=f"{why}, and NVIDIA's licence forbids to modify it",
            advice="take a newer release of it from NVIDIA; --allow-nvidia overrides this where you have the right to",
        ),
    )


def _without_sections(code: DeviceCode, plan: LibraryPlan) -> bool:
    """Whether containers that would change are known by their wrappers only: their file has no section headers."""
    return code.format == "elf" and any(
        step.wrappers and not code.containers[step.container].section for step in plan.steps
    )


def _refused(plan: LibraryPlan, refusal: Refusal) -> LibraryPlan:
    """The plan with this instead of all it would do and say."""
    unchanged = tuple(replace(promise, after=promise.before) for promise in plan.promises)
    return replace(plan, steps=(), refusals=(refusal,), promises=unchanged, ptx_bytes=0)


def narrow(
    code: DeviceCode,
    plan: LibraryPlan,
    extracted: Callable[[], Path],
    wanted: Wanted,
    pattern: re.Pattern[str],
    links: Callable[[], LinkMap] = lambda: UNKNOWN,
) -> LibraryPlan:
    """The plan for the containers with a matching kernel (`--only`). `links`: as for `plan_file`."""
    candidates = [step.container for step in plan.steps]
    candidates += [refusal.container for refusal in plan.refusals if refusal.container is not None]
    if not plan.steps:
        return replace(plan, refusals=(), skipped=len(candidates))
    known = links() if len(linked_containers(code)) > 1 else UNKNOWN
    narrowed = plan_library(code, wanted, select(code, extracted(), pattern, candidates), known)
    return replace(narrowed, licence=plan.licence if narrowed.steps else "")
