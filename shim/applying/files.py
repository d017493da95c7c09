"""Patch a set of files in a work folder: compile, inject, verify each. Wheels and single files share this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shim.applying.events import Watcher
from shim.applying.inject import NewImage, PatchedFile, inject
from shim.applying.machine_code import MachineCode, Toolbox, make_machine_code
from shim.applying.result import LibraryResult, Work
from shim.applying.units import CompileEvent, EventKind
from shim.applying.workfile import WorkFile
from shim.errors import PlanError
from shim.planning import ContainerPlan, LibraryPlan, Refusal, Wanted, promises
from shim.planning.library import layout_of
from shim.verifying.library import verify_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to patch; what to patch is the plan's matter."""

    toolbox: Toolbox
    wanted: Wanted


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
        plan, new = _inject(file, made, folder / f"{number}-{Path(file.member).name}", settings.wanted)
        if new is not None:
            results.append(_verify(file, plan, new))
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


def _inject(file: WorkFile, made: MachineCode, dest: Path, wanted: Wanted) -> tuple[LibraryPlan, PatchedFile | None]:
    """The plan with failed makes turned into refusals, and the new file if any step was left."""
    plan = file.plan
    failed = [refusal for (member, _, _), refusal in made.refusals.items() if member == file.member]
    images = {(index, arch): image for (member, index, arch), image in made.images.items() if member == file.member}
    if failed:
        steps = tuple(step for old in plan.steps if (step := _left(old, images)) is not None)
        plan = replace(
            plan,
            steps=steps,
            refusals=(*plan.refusals, *failed),
            promises=promises(file.code, wanted.targets, steps),
            layout=layout_of(file.code, steps, wanted),
        )
    if not plan.steps:
        return plan, None
    try:
        return plan, inject(file.code, file.path, dest, plan, images, wanted)
    except PlanError as error:
        refusal = Refusal(
            code="elf-refused", container=None, offset=0, reason=error.message, advice=error.hint or "rebuild it"
        )
        left = promises(file.code, wanted.targets, ())
        return replace(plan, steps=(), refusals=(*plan.refusals, refusal), promises=left), None


def _left(step: ContainerPlan, images: Mapping[tuple[int, str], NewImage]) -> ContainerPlan | None:
    """The step without makes that failed; nothing is dropped then, and without any make there is no step."""
    makes = tuple(make for make in step.makes if (step.container, make.arch) in images)
    if len(makes) == len(step.makes):
        return step
    return replace(step, makes=makes, drops=()) if makes else None


def _verify(file: WorkFile, plan: LibraryPlan, new: PatchedFile) -> LibraryResult:
    after = verify_file(new, plan, file.code, file.path)
    entries = [entry for container in new.containers for entry in container.entries]
    return LibraryResult(
        member=file.member,
        before=plan.before,
        after=after,
        layout=new.written.layout,
        images=len(entries),
        kernels=sum(entry.check.kernels for entry in entries),
        added_bytes=new.size - new.original_size,
        strip_unsafe=new.written.strip_unsafe,
        load="",
        remarks=tuple(dict.fromkeys(remark for entry in entries for remark in entry.image.remarks)),
    )
