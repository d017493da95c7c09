"""Rebuilds a package from source for the target: prepare, probe, build, check, repair, publish."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from shim import __version__
from shim.applying.events import Silent, Watcher
from shim.building.backend import BackendRun, BuildError, build_wheel, extra_requirements
from shim.building.cmake_probe import is_cmake_project, probe_cmake
from shim.building.cross import check_machine
from shim.building.effort import Effort, effort_for
from shim.building.headers import wheels_for_headers
from shim.building.isolation import extended, plan_isolation
from shim.building.jobs import job_count
from shim.building.naming import write_final
from shim.building.prepare import prepare, write_edits
from shim.building.probe import ProbeResult, UnitFlags, unit_flags
from shim.building.python import BuildPython, ask_python
from shim.building.repair import check_auditwheel, repair
from shim.building.request import Preparation, RebuildOutcome, RebuildRequest, RebuildResult
from shim.building.requirements import build_requirements, missing
from shim.building.result import check_wheel
from shim.building.session import Surroundings, session, surround
from shim.building.source import Source, bring, find_source
from shim.building.work import WorkFolder, work_folder
from shim.errors import InputError, ToolError, UsageError
from shim.source.rules import uses_torch
from shim.source.tree import FolderTree
from shim.store import make_key
from shim.toolchain import Tool, ask_version, find_tools
from shim.toolchain.front import Mode, read_log
from shim.toolchain.overlay import wheel_parts

_OLDEST: Final = (12, 9)


def rebuild(request: RebuildRequest, watcher: Watcher | None = None) -> RebuildResult:
    """Rebuild, or with `dry_run` only tell what would come of it.

    Raises:
        ShimError: see docs/rebuild.md for each kind; a failed build is a BuildError with its first error.
    """
    watcher = watcher or Silent()
    if request.as_is and not request.dry_run:
        raise UsageError("--as-is only tells what would be built", hint="pass --dry-run, too, or leave it out")
    started = time.monotonic()
    python = ask_python(request.python)
    source = find_source(request.subject, python="{}.{}".format(*python.version))
    if not request.dry_run:
        check_machine(request.machine)
        if request.repair:
            check_auditwheel()
    nvcc = find_nvcc(request.toolkit)
    with work_folder(_key(request, source, python, nvcc), again=request.again) as work:
        prepared = _sources(work, request, source, python, nvcc)
        tree = FolderTree(work.source)
        extra = (*_cuda_wheels(tree, nvcc, python), *_cmake(work, prepared, python), *request.requirements)
        requirements = build_requirements(tree, prepared.metadata, extra)
        isolation = plan_isolation(requirements, python, uses_torch=uses_torch(tree))
        jobs = job_count(wanted=request.jobs)
        watcher.phase("prepare", 0)
        around = surround(work, request, prepared, python, isolation, nvcc.path.parent.parent, jobs)
        asked: dict[str, None] = {}
        watcher.phase("probe", 0)
        probe = _probe(around, asked)
        if probe.wanted:
            isolation = extended(isolation, probe.wanted)
            around = surround(work, request, prepared, python, isolation, nvcc.path.parent.parent, jobs)
            probe = _probe(around, asked)
        prepared = replace(prepared, effort=_effort(prepared, probe))
        mode = Mode.DROP_ONLY if request.as_is else _mode(prepared, probe)
        result = RebuildResult(
            outcome=RebuildOutcome.PLANNED if _reaches(prepared, probe, mode) else RebuildOutcome.SHORT,
            prepared=prepared,
            isolation=isolation,
            probe=probe,
            mode=str(mode),
            jobs=jobs,
            work=work.path,
            notes=prepared.notes,
            asked=tuple(asked),
            seconds=time.monotonic() - started,
        )
        if request.dry_run:
            return result
        return _build(around, result, mode, source, watcher, started)


def find_nvcc(toolkit: Path | None) -> Tool:
    """nvcc of a toolkit, or the first on this machine that knows the target.

    Raises:
        ToolError: there is none, or only older ones.
    """
    if toolkit is not None:
        return ask_version(toolkit.absolute() / "bin" / "nvcc", name="nvcc", origin="--toolkit")
    tools = find_tools("nvcc")
    for tool in tools:
        if tool.version[:2] >= _OLDEST:
            return tool
    old = f"; too old: {', '.join(map(str, tools))}" if tools else ""
    raise ToolError(
        f"no nvcc of CUDA 12.9 or newer on this machine{old}",
        hint="install a CUDA toolkit, or pip install 'sm121-shim[nvcc]', or name one with --toolkit",
    )


def _cuda_wheels(tree: FolderTree, nvcc: Tool, python: BuildPython) -> tuple[str, ...]:
    """NVIDIA's wheels with the headers that the sources include and this toolkit lacks."""
    major = nvcc.version[0]
    parts = [part for site in python.sites for part in wheel_parts(site, major)]
    folders = [nvcc.path.parent.parent / "include", *(part / "include" for part in parts)]
    return wheels_for_headers(tree, major=major, folders=folders)


def _cmake(work: WorkFolder, prepared: Preparation, python: BuildPython) -> tuple[str, ...]:
    """CMake's own wheel, for projects that call it and do not say that they need it."""
    if not is_cmake_project(work.source, prepared.metadata.backend):
        return ()
    path = os.pathsep.join([str(python.scripts), os.environ.get("PATH", os.defpath)])
    return () if shutil.which("cmake", path=path) else ("cmake",)


def _key(request: RebuildRequest, source: Source, python: BuildPython, nvcc: Tool) -> str:
    parts = [
        *("rebuild-1", __version__, source.sha256, str(request.target.device), str(request.strategy)),
        *(",".join(map(str, request.with_ptx)), str(python.executable), "{}.{}.{}".format(*python.version)),
        *(python.packages.get("torch", ""), nvcc.banner, str(request.as_is), repr(sorted(request.settings.items()))),
        *(repr(request.requirements), ",".join(map(str, request.recipe_roots)), ",".join(request.recipes)),
    ]
    return make_key(*parts)[:24]


def _sources(work: WorkFolder, request: RebuildRequest, source: Source, python: BuildPython, nvcc: Tool) -> Preparation:
    """Unpack, decide, edit. `work.source` is there only when all edits are made; one that is there is kept."""
    root = bring(source, work.fresh("original"), request.limits)
    try:
        prepared = prepare(root, source, request, toolkit=nvcc.version[:2], torch=python.torch)
        digest = _edits_digest(prepared)
        if not work.source.is_dir() or work.state().get("edits") != digest:
            shutil.rmtree(work.source, ignore_errors=True)
            write_edits(root, prepared.edits)
            work.note(edits=digest, probed=None, built=None)
            root.rename(work.source)
        return prepared
    finally:
        shutil.rmtree(work.path / "original", ignore_errors=True)


def _edits_digest(prepared: Preparation) -> str:
    digest = hashlib.sha256()
    for edit in prepared.edits:
        digest.update(f"{edit.path}\0{edit.origin}\0".encode() + hashlib.sha256(edit.after).digest())
    return digest.hexdigest()


def _probe(around: Surroundings, asked: dict[str, None]) -> ProbeResult:
    """Run the build with stand-in compilers, in a copy of the sources; for CMake, configure only."""
    started = time.monotonic()
    copy = around.work.path / "probe"
    shutil.rmtree(copy, ignore_errors=True)
    source = copy / "source"
    shutil.copytree(around.work.source, source, ignore=shutil.ignore_patterns("build", "dist"))
    cmake = is_cmake_project(source, around.prepared.metadata.backend)
    note = ""
    units: tuple[UnitFlags, ...] = ()
    try:
        with session(around, source, mode=Mode.DROP_ONLY, record=not cmake, asked=asked) as running:
            try:
                wanted = _wanted(around, running.run)
                if wanted:
                    return ProbeResult(units=(), finished=False, seconds=0.0, wanted=wanted)
                if cmake:
                    units = probe_cmake(running.run, copy / "cmake")
                    note = "configured by CMake only"
                else:
                    build_wheel(running.run, copy / "dist")
                finished = True
            except (BuildError, InputError) as error:
                finished, note = False, error.message
            if not cmake:
                units = unit_flags(read_log(running.calls))
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return ProbeResult(units=units, finished=finished, seconds=time.monotonic() - started, note=note)


def _wanted(around: Surroundings, backend: BackendRun) -> tuple[Requirement, ...]:
    """What the backend itself asks for, such as setup_requires, and the environment of the build lacks."""
    asked = [Requirement(text) for text in sorted(extra_requirements(backend))]
    return missing(asked, ask_python(around.program).packages) if asked else ()


def _effort(prepared: Preparation, probe: ProbeResult) -> Effort:
    """Of the sources that the build really compiles, where the probe got so far."""
    cuda = sum(unit.source.endswith(".cu") for unit in probe.units)
    return effort_for(cuda, torch=prepared.effort.torch) if cuda else prepared.effort


def _mode(prepared: Preparation, probe: ProbeResult) -> Mode:
    """How the stand-in for nvcc helps: it always drops what nvcc does not know."""
    if prepared.plan.arch.feature == "f" or probe.lacking(prepared.plan):
        return Mode.REPLACE
    if not probe.units:
        return Mode.ADD  # not known: add it where it is missing, and leave the rest
    return Mode.DROP_ONLY


def _reaches(prepared: Preparation, probe: ProbeResult, mode: Mode) -> bool:
    return bool(probe.units) and (mode is not Mode.DROP_ONLY or not probe.lacking(prepared.plan))


def _build(
    around: Surroundings, planned: RebuildResult, mode: Mode, source: Source, watcher: Watcher, started: float
) -> RebuildResult:
    work, request, plan = around.work, around.request, planned.prepared.plan
    asked = dict.fromkeys(planned.asked)
    state = work.state()
    built = work.path / "dist" / state["built"] if state.get("built") else None
    resumed = built is not None and built.is_file()
    cpu = 0.0
    if built is None or not resumed:
        watcher.phase("build", 0)
        with session(around, work.source, mode=mode, record=False, asked=asked) as running:
            built = build_wheel(running.run, work.fresh("dist"))
            cpu = running.run.cpu_seconds
        work.note(built=built.name)
    watcher.phase("verify", 0)
    notes = list(planned.notes)
    checked = check_wheel(built, plan, request.target, log=work.log)
    if request.repair:
        repaired = repair(built, work.path / "repaired", environ={"PATH": "/usr/bin:/bin"})
        built = repaired.path
        notes += [repaired.note] if repaired.note else []
        checked = check_wheel(built, plan, request.target, log=work.log)
    final = write_final(built, request.folder, plan, _record(planned, source, around), force=request.force)
    return RebuildResult(
        outcome=RebuildOutcome.BUILT,
        prepared=planned.prepared,
        isolation=planned.isolation,
        probe=planned.probe,
        mode=str(mode),
        jobs=planned.jobs,
        work=work.path,
        path=final,
        checks=(*checked.checks, f"grade {checked.report.verdict.grade} on {request.target.device}"),
        notes=tuple(notes),
        asked=tuple(asked),
        seconds=time.monotonic() - started,
        cpu_seconds=cpu,
        resumed=resumed,
    )


def _record(planned: RebuildResult, source: Source, around: Surroundings) -> dict[str, Any]:
    """How the wheel was made; without times and paths of this machine."""
    prepared = planned.prepared
    return {
        "shim": __version__,
        "source": {"filename": source.filename, "sha256": source.sha256},
        "target": str(around.request.target.device),
        "strategy": str(prepared.plan.strategy),
        "arch": f"sm_{prepared.plan.arch}",
        "ptx": [str(ptx) for ptx in prepared.plan.ptx],
        "grade": str(prepared.plan.promised),
        "recipes": list(prepared.recipes),
        "edits": [
            {
                "path": edit.path,
                "origin": edit.origin,
                "before_sha256": hashlib.sha256(edit.before).hexdigest(),
                "after_sha256": hashlib.sha256(edit.after).hexdigest(),
                "diff": edit.diff,
            }
            for edit in prepared.edits
        ],
        "settings": [{"name": one.name, "value": one.value, "origin": one.origin} for one in prepared.settings],
        "python": "{}.{}.{}".format(*around.python.version),
        "torch": around.python.packages.get("torch", ""),
        "isolation": str(planned.isolation.kind),
    }
