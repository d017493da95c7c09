"""One file to patch, on disk in a work folder, with what was read from it and what is planned for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from shim.applying.selection import select
from shim.devicecode import DeviceCode
from shim.planning import LibraryPlan, Refusal, Wanted, plan_library
from shim.planning.licence import is_nvidia_library
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
    code: DeviceCode, wanted: Wanted, *, allow_nvidia: bool, links: Callable[[], LinkMap] = lambda: UNKNOWN
) -> LibraryPlan:
    """Plan one file; NVIDIA's own libraries are refused unless allowed.

    Args:
        links: finds out which relocatable code belongs to which device link; called where there are several.
    """
    plan = plan_library(code, wanted)
    forbidden = not allow_nvidia and is_nvidia_library(code.member)
    if not forbidden and plan.refusals and len(linked_containers(code)) > 1:
        plan = plan_library(code, wanted, links=links())
    if not forbidden or not plan.steps:
        return plan
    return refuse_all(plan, "it is one of NVIDIA's libraries by its name")


def refuse_all(plan: LibraryPlan, why: str) -> LibraryPlan:
    """The plan with every step refused for NVIDIA's licence."""
    refusal = Refusal(
        code="nvidia-licensed",
        container=None,
        offset=0,
        reason=f"{why}, and NVIDIA's licence forbids to modify it",
        advice="take a newer release of it from NVIDIA; --allow-nvidia overrides this where you have the right to",
    )
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
    return plan_library(code, wanted, select(code, extracted(), pattern, candidates), known)
