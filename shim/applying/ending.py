"""Where results go, and how a run ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.applying.result import Outcome
from shim.errors import PlanError
from shim.planning import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where results go.

    Attributes:
        dry_run: only plan. force: replace an existing different file. copy: write also when there is nothing to do.
        load: load each patched library in a child process before anything is published.
    """

    folder: Path
    dry_run: bool = False
    force: bool = False
    copy: bool = False
    load: bool = False


def is_advisory(code: str) -> bool:
    """Refusals that call for nothing: the code runs, it could only be more certain."""
    return code == "unproven-without-ptx"


def settle(plan: Plan, patched: bool) -> Outcome:
    """How a run with this (final) plan ended.

    Raises:
        PlanError: the target wants more, and nothing could be done; or a recipe says that nothing should be.
    """
    if (match := plan.refused_by) is not None and (refusal := match.recipe.refusal) is not None:
        raise PlanError(f"{plan.subject}: [{match.recipe.id}] {refusal.reason}", hint=refusal.advice)
    hard = [refusal for refusal in plan.refusals if not is_advisory(refusal.code)]
    if patched:
        return Outcome.PARTLY if hard else Outcome.PATCHED
    if not hard:
        return Outcome.NOTHING_TO_DO
    first = hard[0]
    more = f" (and {len(hard) - 1} more containers)" if len(hard) > 1 else ""
    raise PlanError(
        f"{plan.subject}: nothing can be done: [{first.code}] {first.reason}{more}", hint=first.advice or None
    )
