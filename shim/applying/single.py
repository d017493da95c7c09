"""Patch one file that is in no wheel: the new file, with its provenance and reverse data beside it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

from shim.applying.ending import Destination, settle
from shim.applying.events import Watcher
from shim.applying.files import Settings, patch_files
from shim.applying.inject import PatchedFile, sha256_of
from shim.applying.mapping import map_links
from shim.applying.result import Outcome, PatchResult
from shim.applying.selection import compile_pattern
from shim.applying.workfile import WorkFile, narrow, plan_file
from shim.devicecode import read_path
from shim.errors import InputError
from shim.planning import Plan, Refusal
from shim.provenance.document import Digests, Original, Request, dump, make_document
from shim.provenance.edits import write_edits
from shim.verifying.load import check_load

PROVENANCE_SUFFIX = ".shim.json"
UNDO_SUFFIX = ".undo"


def patch_single(
    path: Path,
    request: Request,
    settings: Settings,
    where: Destination,
    watcher: Watcher,
    *,
    allow_nvidia: bool = False,
) -> PatchResult:
    """Patch a library on disk; the result has the same name in another folder.

    Raises:
        InputError: the file is not sound, or the result would overwrite it. PlanError: nothing can be done.
    """
    started = time.monotonic()
    watcher.phase("read", path.stat().st_size)
    code = read_path(path, member=path.name)
    links = cache(lambda: map_links(code, path, load=where.load))
    library = plan_file(code, request.wanted, allow_nvidia=allow_nvidia, links=links)
    if request.only:
        library = narrow(code, library, lambda: path, request.wanted, compile_pattern(request.only), links)
    plan = Plan(wanted=request.wanted, subject=path.name, libraries=(library,))
    if where.dry_run or not library.steps:
        outcome = Outcome.PLANNED if where.dry_run else settle(plan, patched=False)
        return PatchResult(outcome=outcome, plan=plan, refusals=_refusals(plan))
    dest = where.folder / path.name
    if dest.exists() and (dest.samefile(path) or not where.force):
        raise InputError(f"{dest} exists", hint="choose another folder with -o, or replace it with --force")
    where.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where.folder, prefix=".shim-") as work:
        done = patch_files([WorkFile(code=code, path=path, plan=library)], Path(work), settings, watcher)
        final = Plan(wanted=request.wanted, subject=path.name, libraries=done.plans)
        outcome = settle(final, patched=bool(done.patched))
        patched = done.patched[path.name]
        results = done.results
        if where.load:
            results = tuple(replace(r, load=check_load(patched.path, path, code)) for r in results)
        _put_beside(path, patched, final, request, dest)
        patched.path.replace(dest)
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
        timings={"total": time.monotonic() - started},
    )


def _refusals(plan: Plan) -> tuple[tuple[str, Refusal], ...]:
    return tuple((library.member, refusal) for library in plan.libraries for refusal in library.refusals)


def _put_beside(path: Path, patched: PatchedFile, plan: Plan, request: Request, dest: Path) -> None:
    digests = Digests(before=sha256_of(path), after=sha256_of(patched.path))
    original = Original(filename=path.name, sha256=digests.before, size=path.stat().st_size)
    request = replace(request, left_out=plan.left_out)
    document = make_document(original, request, plan.libraries, {patched.member: patched}, {patched.member: digests})
    folder = patched.path.parent
    (folder / PROVENANCE_SUFFIX).write_bytes(dump(document))
    write_edits(patched, digests, path, folder / UNDO_SUFFIX)
    for suffix in (PROVENANCE_SUFFIX, UNDO_SUFFIX):
        (folder / suffix).replace(dest.with_name(dest.name + suffix))
