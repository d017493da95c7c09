"""Patch a set of files in a work folder: compile, inject, verify each. Wheels and single files share this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shim.applying.events import Watcher
from shim.applying.inject import PatchedFile, inject
from shim.applying.machine_code import MachineCode, Toolbox, make_machine_code
from shim.applying.result import LibraryResult, Work
from shim.applying.units import CompileEvent, EventKind
from shim.applying.workfile import WorkFile
from shim.arch import Target
from shim.errors import PlanError
from shim.planning import LibraryPlan, Refusal, promised_grade
from shim.verifying.library import verify_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to patch; what to patch is the plan's matter."""

    toolbox: Toolbox
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedFiles:
    """All files of one input that were changed, as verified, and the plans as they turned out."""

    plans: tuple[LibraryPlan, ...]
    patched: Mapping[str, PatchedFile]
    results: tuple[LibraryResult, ...]
    work: Work


def patch_files(files: Sequence[WorkFile], folder: Path, settings: Settings, watcher: Watcher) -> PatchedFiles:
    """Compile what the plans ask for and write new files into `folder`.

    Files for which nothing could be done are not in `patched`; their plans say why.

    Raises:
        ToolError: no ptxas. VerifyError: a result is not what was promised.
    """
    made = _compile(files, settings, watcher)
    steps = [file for file in files if file.plan.steps]
    watcher.phase("inject", sum(file.code.size for file in steps))
    plans: list[LibraryPlan] = []
    patched: dict[str, PatchedFile] = {}
    results: list[LibraryResult] = []
    for number, file in enumerate(files):
        plan, new = _inject(file, made, folder / f"{number}-{Path(file.member).name}", settings.target)
        if new is not None:
            results.append(_verify(file, plan, new, settings.target))
            patched[file.member] = new
            watcher.done(file.code.size)
        plans.append(plan)
    return PatchedFiles(plans=tuple(plans), patched=patched, results=tuple(results), work=made.work)


def _compile(files: Sequence[WorkFile], settings: Settings, watcher: Watcher) -> MachineCode:
    watcher.phase("compile", sum(file.plan.ptx_bytes for file in files))
    seen = 0

    def on_event(event: CompileEvent) -> None:
        nonlocal seen
        watcher.done(event.done_size - seen)
        seen = event.done_size
        if event.kind is not EventKind.STARTED:
            watcher.note(f"{event.kind} {event.label} ({event.size} bytes of PTX, {event.seconds:.1f} s) {event.text}")

    return make_machine_code(files, settings.toolbox, on_event)


def _inject(file: WorkFile, made: MachineCode, dest: Path, target: Target) -> tuple[LibraryPlan, PatchedFile | None]:
    """The plan with failed steps turned into refusals, and the new file if any step was left."""
    plan = file.plan
    failed = [r for (member, _), r in made.refusals.items() if member == file.member]
    images = {container: image for (member, container), image in made.images.items() if member == file.member}
    if failed:
        lost = {refusal.container for refusal in failed}
        left = tuple(step for step in plan.steps if step.container not in lost)
        plan = replace(
            plan,
            steps=left,
            refusals=(*plan.refusals, *failed),
            promised=promised_grade(file.code, target, {step.container for step in left}),
        )
    if not plan.steps:
        return plan, None
    try:
        return plan, inject(file.code, file.path, dest, plan.steps, images)
    except PlanError as error:
        refusal = Refusal(
            code="elf-refused", container=None, offset=0, reason=error.message, advice=error.hint or "rebuild it"
        )
        return replace(plan, steps=(), refusals=(*plan.refusals, refusal), promised=plan.before), None


def _verify(file: WorkFile, plan: LibraryPlan, new: PatchedFile, target: Target) -> LibraryResult:
    after = verify_file(new, plan, file.code, file.path, target)
    return LibraryResult(
        member=file.member,
        before=plan.before,
        after=after,
        images=len(new.injected),
        kernels=sum(injected.check.kernels for injected in new.injected),
        added_bytes=new.size - new.original_size,
        strip_unsafe=new.strip_unsafe,
        load="",
    )
