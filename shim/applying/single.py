"""Patch one file that is in no wheel: the new file, with its provenance and reverse data beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from shim.applying.ending import Destination, settle
from shim.applying.events import Watcher
from shim.applying.files import Settings, patch_files
from shim.applying.inject import PatchedFile, sha256_of
from shim.applying.mapping import map_links
from shim.applying.publish import beside, check_beside, check_free, publish
from shim.applying.result import Outcome, PatchResult
from shim.applying.selection import compile_pattern
from shim.applying.undo import UNDO_SUFFIX, undo_single
from shim.applying.workfile import WorkFile, narrow, plan_file
from shim.devicecode import read_path
from shim.errors import InputError
from shim.planning import Plan, Refusal
from shim.provenance.document import Digests, Original, Request, dump, load, make_document
from shim.provenance.edits import write_edits
from shim.store import work_folder
from shim.verifying.load import check_load

PROVENANCE_SUFFIX = ".shim.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One file on its way."""

    path: Path
    request: Request
    settings: Settings
    where: Destination
    watcher: Watcher


def patch_single(path: Path, request: Request, settings: Settings, where: Destination, watcher: Watcher) -> PatchResult:
    """Patch a library on disk; the result has the same name in another folder.

    Raises:
        InputError: the file is not sound, or the result would overwrite it. PlanError: nothing can be done.
    """
    started = time.monotonic()
    watcher.phase("read", path.stat().st_size)
    job = _Job(path=path, request=request, settings=settings, where=where, watcher=watcher)
    document = read_beside(path)
    result = _patch(job) if document is None else _already(job, document.get("request"))
    return replace(result, timings={"total": time.monotonic() - started})


def read_beside(path: Path) -> dict[str, Any] | None:
    """The provenance of a file that shim patched, None when there is none or it is that of another file."""
    digest = ""
    for file in beside(path, PROVENANCE_SUFFIX):
        try:
            document = load(file.read_bytes(), file.name)
        except InputError:
            continue
        digest = digest or sha256_of(path)
        if any(_patched_digest(member) == digest for member in document.get("members", ())):
            return document
    return None


def _patched_digest(member: object) -> object:
    patched = member.get("patched") if isinstance(member, Mapping) else None
    return patched.get("sha256") if isinstance(patched, Mapping) else None


def _already(job: _Job, request: object) -> PatchResult:
    """A file that shim has patched: done when it was for the same request, else redone from its original."""
    if request == job.request.document():
        plan = Plan(wanted=job.request.wanted, subject=job.path.name, libraries=())
        return PatchResult(outcome=Outcome.ALREADY, plan=plan, path=None)
    with work_folder() as folder:
        return _patch(replace(job, path=undo_single(job.path, folder)))


def _patch(job: _Job) -> PatchResult:
    path, request, where = job.path, job.request, job.where
    code = read_path(path, member=path.name)
    links = cache(lambda: map_links(code, path, load=where.load))
    library = plan_file(code, request.wanted, allow_nvidia=request.allow_nvidia, links=links)
    if request.only:
        library = narrow(code, library, lambda: path, request.wanted, compile_pattern(request.only), links)
    plan = Plan(wanted=request.wanted, subject=path.name, libraries=(library,))
    if where.dry_run or not library.steps:
        outcome = Outcome.PLANNED if where.dry_run else settle(plan, patched=False)
        return PatchResult(outcome=outcome, plan=plan, refusals=_refusals(plan))
    dest = where.folder / path.name
    if dest.exists() and dest.samefile(path):
        raise InputError(f"{dest} is the input itself", hint="choose another folder with -o")
    check_free(dest, force=where.force)
    check_beside(dest, (PROVENANCE_SUFFIX, UNDO_SUFFIX), force=where.force)
    where.folder.mkdir(parents=True, exist_ok=True)
    with work_folder(where.folder) as work:
        done = patch_files([WorkFile(code=code, path=path, plan=library)], work, job.settings, job.watcher)
        final = Plan(wanted=request.wanted, subject=path.name, libraries=done.plans)
        outcome = settle(final, patched=bool(done.patched))
        patched = done.patched[path.name]
        results = done.results
        if where.load:
            results = tuple(replace(r, load=check_load(patched.path, path, code)) for r in results)
        publish(patched.path, dest, _documents(path, patched, final, request))
    return PatchResult(
        outcome=outcome,
        plan=final,
        path=dest,
        undo=dest.with_name(dest.name + UNDO_SUFFIX),
        sizes=(path.stat().st_size, dest.stat().st_size),
        libraries=results,
        refusals=_refusals(final),
        work=done.work,
        checks=("old bytes unchanged", "kernels and variables complete", "grade reached"),
    )


def _refusals(plan: Plan) -> tuple[tuple[str, Refusal], ...]:
    return tuple((library.member, refusal) for library in plan.libraries for refusal in library.refusals)


def _documents(path: Path, patched: PatchedFile, plan: Plan, request: Request) -> dict[str, Path | None]:
    """Provenance and reverse data, written beside the draft; by suffix."""
    digests = Digests(before=sha256_of(path), after=sha256_of(patched.path))
    original = Original(filename=path.name, sha256=digests.before, size=path.stat().st_size)
    request = replace(request, left_out=plan.left_out)
    document = make_document(original, request, plan.libraries, {patched.member: patched}, {patched.member: digests})
    provenance, undo = (patched.path.parent / suffix for suffix in (PROVENANCE_SUFFIX, UNDO_SUFFIX))
    provenance.write_bytes(dump(document))
    write_edits(patched, digests, path, undo)
    return {PROVENANCE_SUFFIX: provenance, UNDO_SUFFIX: undo}
