"""Patch a wheel: read, plan, compile, inject, write, verify. The original is never touched."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from shim.applying.continuing import continues
from shim.applying.draft import DraftRequest, write_draft
from shim.applying.ending import Destination, settle
from shim.applying.events import Watcher
from shim.applying.files import PatchedFiles, Settings, patch_files
from shim.applying.members import read_members
from shim.applying.planner import Planner
from shim.applying.publish import check_beside, check_free, publish
from shim.applying.recipes import with_recipes
from shim.applying.result import Outcome, PatchResult
from shim.applying.triton import with_triton
from shim.applying.undo import undo_wheel
from shim.errors import InputError
from shim.planning import Plan, Refusal
from shim.planning.licence import distribution_sign
from shim.provenance.document import Request
from shim.recipes.model import Recipe
from shim.store import work_folder
from shim.verifying.load import check_loads
from shim.verifying.standalone import read_provenance
from shim.verifying.wheel import verify_written
from shim.wheels.archive import WheelArchive
from shim.wheels.deflate import DeflateMode
from shim.wheels.limits import Limits
from shim.wheels.metadata import Metadata, read_metadata
from shim.wheels.name import WheelName, patched_build, patched_name
from shim.wheels.output import OutputFile
from shim.wheels.randomfile import RandomFile
from shim.wheels.record import check_record
from shim.wheels.undo import SIDE_CAR, side_car


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelOptions:
    """What only wheels have.

    Attributes:
        canonical: compress changed bytes with zlib, so that every machine writes the same wheel.
        recipes: those to consider; the request says which of them are asked for by name.
    """

    limits: Limits = field(default_factory=Limits)
    canonical: bool = False
    recipes: tuple[Recipe, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One wheel on its way."""

    archive: WheelArchive
    name: WheelName
    metadata: Metadata
    request: Request
    settings: Settings
    where: Destination
    options: WheelOptions
    watcher: Watcher


def patch_wheel(
    path: Path, request: Request, settings: Settings, where: Destination, options: WheelOptions, watcher: Watcher
) -> PatchResult:
    """Patch a wheel and verify the result.

    Raises:
        InputError: the wheel is not sound, or the result would overwrite a different file.
        PlanError: the target wants more, and nothing could be done.
        ToolError: no ptxas. VerifyError: a result is not what was promised; nothing was written then.
    """
    started = time.monotonic()
    with WheelArchive.open(path, limits=options.limits) as archive:
        if archive.name is None:
            raise InputError(
                f"{path.name}: not the file name of a wheel", hint="give it back the name its index called it by"
            )
        job = _Job(
            archive=archive,
            name=archive.name,
            metadata=read_metadata(archive),
            request=request,
            settings=settings,
            where=where,
            options=options,
            watcher=watcher,
        )
        if (document := read_provenance(archive)) is not None:
            return _already(job, document.get("request"))
        result = _patch(job)
    return replace(result, timings={**result.timings, "total": time.monotonic() - started})


def _already(job: _Job, request: object) -> PatchResult:
    """A wheel that shim has patched: done when it was for the same request, else redone from its original."""
    subject = job.archive.path.name
    if request == job.request.document():
        plan = Plan(wanted=job.request.wanted, subject=subject, libraries=())
        copy = _copy(job.archive.path, job.where) if job.where.copy and not job.where.dry_run else None
        return PatchResult(outcome=Outcome.ALREADY, plan=plan, path=copy)
    with work_folder() as folder:
        original = undo_wheel(job.archive.path, folder, job.options.limits)
        return patch_wheel(original, job.request, job.settings, job.where, job.options, job.watcher)


def _patch(job: _Job) -> PatchResult:
    job.watcher.phase("read", sum(member.size for member in job.archive.members))
    clock = _Clock()
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder(_work_root(job.where)))
        sign = distribution_sign(job.name.normalized, (job.metadata.license, *job.metadata.classifiers))
        refused = bool(sign) and not job.request.allow_nvidia
        planner = Planner(
            job.archive,
            job.request,
            folder,
            nvidia=sign,
            allow_nvidia=job.request.allow_nvidia,
            keep=not job.where.dry_run,
            load=job.where.load,
        )
        jobs = job.settings.toolbox.jobs
        contents = read_members(
            job.archive, digest=True, jobs=jobs, progress=job.watcher.done, then=planner.add, copy=planner.copy
        )
        digests = {c.member.path: c.sha256 or "" for c in contents}
        check_record(job.archive, hashes=digests)
        files = planner.files
        plan = Plan(wanted=job.request.wanted, subject=job.archive.path.name, libraries=tuple(f.plan for f in files))
        plan = with_recipes(plan, job.archive, job.name, job.options.recipes, job.request.recipes, nvidia=refused)
        plan = with_triton(plan, job.archive, job.name, folder, ask=job.where.load)
        clock.lap("read and plan")
        if job.where.dry_run or plan.refused_by is not None or not (plan.steps or plan.edits):
            return _nothing(job, plan)
        done = patch_files(files, folder, job.settings, job.watcher)
        final = replace(plan, libraries=done.plans)
        outcome = settle(final, patched=bool(done.patched or final.edits))
        if job.where.load:
            loads = check_loads(
                job.archive,
                {f.member: (f.code, done.patched[f.member].path) for f in files if f.member in done.patched},
                folder,
            )
            done = replace(done, results=tuple(replace(r, load=loads[r.member]) for r in done.results))
        clock.lap("compile and inject")
        result = _write(job, final, done, digests, folder, clock)
        return replace(result, outcome=outcome)


def _work_root(where: Destination) -> Path | None:
    """Work beside the result, so that a full disk shows before anything is renamed; not for a dry run."""
    if where.dry_run:
        return None
    where.folder.mkdir(parents=True, exist_ok=True)
    return where.folder


class _Clock:
    def __init__(self) -> None:
        self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self._last = now


def _nothing(job: _Job, plan: Plan) -> PatchResult:
    refusals = _refusals(plan)
    if job.where.dry_run:
        return PatchResult(outcome=Outcome.PLANNED, plan=plan, refusals=refusals)
    outcome = settle(plan, patched=False)
    copy = _copy(job.archive.path, job.where) if job.where.copy else None
    return PatchResult(outcome=outcome, plan=plan, path=copy, refusals=refusals)


def _copy(path: Path, where: Destination) -> Path:
    """The input as it is, in the output folder. Raises InputError when a different file is there."""
    where.folder.mkdir(parents=True, exist_ok=True)
    dest = where.folder / path.name
    with RandomFile(path) as source, OutputFile(dest) as out:
        out.copy(source, 0, source.size)
        out.commit(force=where.force and not dest.samefile(path) if dest.exists() else where.force)
    return dest


def _refusals(plan: Plan) -> tuple[tuple[str, Refusal], ...]:
    return tuple((library.member, refusal) for library in plan.libraries for refusal in library.refusals)


def _write(
    job: _Job, plan: Plan, done: PatchedFiles, digests: Mapping[str, str], folder: Path, clock: _Clock
) -> PatchResult:
    devices = tuple(str(target.device.canonical.sm) for target in job.request.wanted.targets)
    new_name = patched_name(job.name, devices)
    draft = folder / str(new_name)
    job.watcher.phase("write", job.archive.path.stat().st_size)
    wanted = DraftRequest(
        archive=job.archive,
        name=job.name,
        request=replace(job.request, left_out=plan.left_out),
        plan=plan,
        done=done,
        old_digests=digests,
        build=patched_build(job.name, devices),
        mode=DeflateMode.CANONICAL if job.options.canonical else DeflateMode.FAST,
    )
    written = write_draft(wanted, draft, job.watcher)
    clock.lap("write")
    job.watcher.phase("verify", written.size)
    checks = verify_written(
        job.archive,
        draft,
        plan.libraries,
        {row.path: row.digest for row in written.rows if row.path in done.patched or row.path in plan.edited},
        job.options.limits,
    )
    clock.lap("verify")
    dest, undo = _publish(draft, job.where, job.options.limits)
    return PatchResult(
        outcome=Outcome.PATCHED,
        plan=plan,
        path=dest,
        undo=undo,
        sizes=(job.archive.path.stat().st_size, written.size),
        libraries=done.results,
        refusals=_refusals(plan),
        work=done.work,
        checks=checks,
        dropped_signatures=written.dropped_signatures,
        timings=clock.seconds,
    )


def _publish(draft: Path, where: Destination, limits: Limits) -> tuple[Path, Path | None]:
    """Move the verified wheel into place; what `publish` says of a killed run holds. Raises InputError."""
    dest = where.folder / draft.name
    force = where.force or (dest.is_file() and not dest.is_symlink() and continues(draft, dest, limits))
    undo = side_car(draft) if side_car(draft).exists() else None
    check_free(dest, force=force, same_as=draft)
    if undo is not None:
        check_beside(dest, (SIDE_CAR,), force=force)
    publish(draft, dest, {SIDE_CAR: undo})
    return dest, None if undo is None else side_car(dest)
