"""What `patch` says: the plan, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from shim.applying.ending import is_advisory
from shim.applying.result import PatchResult, Work
from shim.planning import Act, LibraryPlan, Plan, Refusal
from shim.recipes.outcome import State
from shim.scan.jit_cost import FAST, SLOW
from shim.scan.words import plural, size_text, span_text

_MOST_REFUSALS = 12
_VERBS = {
    Act.COMPILE: "compile",
    Act.LINK: "compile and link",
    Act.RETARGET: "retarget to",
    Act.RESTAMP: "restamp as",
}


def plan_lines(plan: Plan) -> list[str]:
    """The plan for people: steps, reason, expected cost."""
    device = ", ".join(str(target.device) for target in plan.wanted.targets)
    if not plan.steps and not plan.refusals and not plan.recipes:
        first = f"{plan.subject}: nothing to do for {device}: no container lacks machine code that it should have"
        return [first, *note_lines(plan)]
    lines = [f"{plan.subject}: plan for {device} (driver of CUDA {'.'.join(map(str, plan.target.driver_cuda))})"]
    for library in plan.libraries:
        lines += _library_lines(library)
    lines += recipe_lines(plan)
    lines += note_lines(plan)
    total = sum(library.ptx_bytes for library in plan.libraries)
    if total:
        cost = span_text(total / FAST, total / SLOW)
        lines.append(f"  expected: {size_text(total)} of PTX, {cost} of CPU time unless cached")
    return lines


def note_lines(plan: Plan) -> list[str]:
    """What is there and stays, and what the user should know beside the files."""
    lines = [f"  {library.member}: {note}" for library in plan.libraries for note in library.notes]
    return lines + [f"  {note}" for note in plan.notes]


def recipe_lines(plan: Plan) -> list[str]:
    """Recipes for the package, and the diffs of what they edit."""
    lines = []
    for found in plan.recipes:
        word = "" if found.state is State.APPLIES else f" [{found.state}]"
        lines.append(f"  recipe {found.recipe.id}{word}: {found.why}")
        for change in plan.edits:
            if change.origin == found.recipe.id:
                lines += [f"    {line}" for line in change.diff.splitlines()]
    return lines


def _library_lines(library: LibraryPlan) -> list[str]:
    lines = []
    if library.steps:
        grades = "; ".join(
            f"{p.before} -> {p.after}" + (f" on {p.target.device}" if len(library.promises) > 1 else "")
            for p in library.promises
        )
        lines.append(f"  {library.member}: {grades}; layout {library.layout.layout}: {library.layout.why}")
    makes = Counter((make.arch, make.act, make.reason) for step in library.steps for make in step.makes)
    for (arch, act, reason), count in makes.items():
        lines.append(f"    {_VERBS[act]} {arch} for {plural(count, 'container')}: {reason}")
    if library.skipped:
        lines.append(f"    {library.skipped} containers left out by --only")
    return lines


def refusal_lines(refusals: Iterable[tuple[str, Refusal]]) -> list[str]:
    """What stays as it is, equal reasons together."""
    counts = Counter((member, r.code, r.reason, r.advice) for member, r in refusals)
    lines = []
    for (member, code, reason, advice), count in list(counts.items())[:_MOST_REFUSALS]:
        many = f"{count} containers: " if count > 1 else ""
        lines.append(f"  {member}: [{code}] {many}{reason}")
        lines.append(f"    {advice}")
    if len(counts) > _MOST_REFUSALS:
        lines.append(f"  ... and {len(counts) - _MOST_REFUSALS} more; --format json has all")
    return lines


def result_lines(result: PatchResult) -> list[str]:
    """What was done and checked."""
    lines: list[str] = []
    hard = [(m, r) for m, r in result.refusals if not is_advisory(r.code)]
    notes = [(m, r) for m, r in result.refusals if is_advisory(r.code)]
    if hard:
        lines += ["left as it is:", *refusal_lines(hard)]
    if notes:
        lines += ["runs, but unproven:", *refusal_lines(notes)]
    for library in result.libraries:
        loads = f"; {library.load}" if library.load else ""
        lines.append(
            f"  {library.member}: {library.before} -> {library.after}, {plural(library.images, 'new image')} with "
            f"{plural(library.kernels, 'kernel')}, {size_text(library.added_bytes)} larger{loads}"
        )
        lines += [f"    {remark}" for remark in library.remarks]
    if any(library.strip_unsafe for library in result.libraries):
        lines.append("  do not run strip or objcopy on these: the program header table of some was moved")
    if result.work.units:
        lines.append(_work_line(result.work))
    lines += [f"signature {name} dropped: it no longer holds" for name in result.dropped_signatures]
    if result.checks:
        lines.append(f"verified: {'; '.join(result.checks)}")
        lines.append("not run on a GB10; `python -m shim selftest` there tells whether its driver takes sm_121 code")
    if result.path is not None:
        old, new = result.sizes
        lines.append(f"wrote {result.path} ({size_text(old)} -> {size_text(new)})")
    if result.undo is not None:
        lines.append(f"wrote {result.undo} (keep it beside the file: `shim undo` needs it)")
    return lines


def _work_line(work: Work) -> str:
    counts = f"compiled {work.compiled}, from the cache {work.cached}"
    if work.left_out:
        counts += f", left out by --budget {work.left_out}"
    if not work.compiled:
        return f"{counts} ({', '.join(work.tools)})"
    share = f", {work.efficiency:.0%} of {plural(work.cores, 'core')}"
    return f"{counts}: {work.cpu_seconds:.1f} CPU s in {work.wall_seconds:.1f} s{share} ({', '.join(work.tools)})"


def result_document(result: PatchResult) -> Mapping[str, Any]:
    """The result as JSON values."""
    return {
        "schema": "shim-patch/1",
        "outcome": result.outcome.value,
        "subject": result.plan.subject,
        "targets": [str(target.device) for target in result.plan.wanted.targets],
        "path": str(result.path) if result.path else None,
        "undo": str(result.undo) if result.undo else None,
        "sizes": {"before": result.sizes[0], "after": result.sizes[1]},
        "plan": [
            {
                "member": library.member,
                "before": str(library.before),
                "promised": str(library.promised),
                "layout": {"name": library.layout.layout.value, "why": library.layout.why},
                "steps": [
                    {
                        "container": step.container,
                        "makes": [{"arch": m.arch, "act": m.act.value, "reason": m.reason} for m in step.makes],
                        "drops": list(step.drops),
                        "packs": list(step.packs),
                    }
                    for step in library.steps
                ],
                "left_out_by_only": library.skipped,
                "notes": list(library.notes),
            }
            for library in result.plan.libraries
        ],
        "notes": list(result.plan.notes),
        "recipes": [
            {"id": found.recipe.id, "state": found.state.value, "why": found.why} for found in result.plan.recipes
        ],
        "edits": [{"path": change.path, "recipe": change.origin, "diff": change.diff} for change in result.plan.edits],
        "libraries": [
            {
                "member": library.member,
                "before": str(library.before),
                "after": str(library.after),
                "layout": library.layout.value,
                "images": library.images,
                "kernels": library.kernels,
                "added_bytes": library.added_bytes,
                "strip_unsafe": library.strip_unsafe,
                "load": library.load,
                "remarks": list(library.remarks),
            }
            for library in result.libraries
        ],
        "refusals": [
            {"member": m, "code": r.code, "container": r.container, "reason": r.reason, "advice": r.advice}
            for m, r in result.refusals
        ],
        "work": {
            "units": result.work.units,
            "compiled": result.work.compiled,
            "cached": result.work.cached,
            "left_out": result.work.left_out,
            "cpu_seconds": round(result.work.cpu_seconds, 3),
            "wall_seconds": round(result.work.wall_seconds, 3),
            "cores": result.work.cores,
            "efficiency": round(result.work.efficiency, 3),
            "tools": list(result.work.tools),
        },
        "checks": list(result.checks),
        "dropped_signatures": list(result.dropped_signatures),
        "timings": {name: round(seconds, 3) for name, seconds in result.timings.items()},
    }
