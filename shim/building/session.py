"""One run of a backend in its surroundings: overlay of the toolkit, environment, limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shim.building.backend import BackendRun
from shim.building.compiler_cache import cache_settings, stop_words
from shim.building.environment import build_environment
from shim.building.isolation import IsolationPlan, make_environment
from shim.building.jobs import job_settings
from shim.building.network import refusing
from shim.building.python import BuildPython
from shim.building.request import Preparation, RebuildRequest
from shim.building.strategy import ArchPlan
from shim.building.work import WorkFolder
from shim.errors import ToolError
from shim.toolchain.front import ArchRequest, Mode, environment, install


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all runs of one rebuild share. toolkit: CUDA_HOME. program: Python of the build."""

    work: WorkFolder
    request: RebuildRequest
    prepared: Preparation
    python: BuildPython
    isolation: IsolationPlan
    toolkit: Path
    program: Path
    jobs: int


def surround(
    work: WorkFolder,
    request: RebuildRequest,
    prepared: Preparation,
    python: BuildPython,
    isolation: IsolationPlan,
    toolkit: Path,
    jobs: int,
) -> Surroundings:
    """Make the Python environment of the build. Raises ToolError."""
    program = make_environment(isolation, python, work.path / "python", os.environ)
    return Surroundings(
        work=work,
        request=request,
        prepared=prepared,
        python=python,
        isolation=isolation,
        toolkit=toolkit,
        program=program,
        jobs=jobs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A backend ready to be called; `calls` is where the stand-in for nvcc writes. asked: see `Refuser`."""

    run: BackendRun
    calls: Path
    home: Path


@contextmanager
def session(
    around: Surroundings, source: Path, *, mode: Mode, record: bool, asked: dict[str, None]
) -> Iterator[Session]:
    """Set up for the sources in `source`.

    Args:
        record: compile nothing, only write down the calls.
        asked: filled with the hosts that were asked for.
    """
    work, request = around.work, around.request
    name = "record" if record else "cuda"
    calls = work.path / f"{name}.log"
    calls.unlink(missing_ok=True)
    home = _overlay(around, work.path / name, calls, mode, record)
    environ = build_environment(work.path, passed=request.pass_env, network=request.network)
    environ |= {setting.name: setting.value for setting in around.prepared.settings}
    environ |= job_settings(around.jobs)
    environ["PATH"] = os.pathsep.join([str(around.program.parent), str(around.python.scripts), environ["PATH"]])
    environ["CMAKE_PREFIX_PATH"] = ";".join([*_cmake_prefixes(around), environ.get("CMAKE_PREFIX_PATH", "")]).strip(";")
    environ = environment(home, environ)
    environ["CUDAHOME"] = str(home)
    package = around.prepared.metadata.name
    salt = f"{home} {around.prepared.plan} {mode}"
    kept = {} if record else cache_settings(environ, work.path / "tmp", package, salt=salt)
    environ |= kept
    environ |= request.settings
    with refusing() as refuser:
        if not request.network:
            environ |= refuser.settings
        backend = BackendRun(
            program=around.program,
            source=source,
            environ=environ,
            writable=(work.path, *([Path(kept["SCCACHE_DIR"])] if kept else [])),
            port=None if request.network else refuser.port,
            log=work.path / ("record-output.log" if record else "build.log"),
            timeout=request.timeout,
        )
        try:
            yield Session(run=backend, calls=calls, home=home)
        finally:
            if kept:
                with suppress(ToolError):
                    backend.call(stop_words(kept))
        asked.update(dict.fromkeys(refuser.asked))


def _overlay(around: Surroundings, folder: Path, calls: Path, mode: Mode, record: bool) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return install(
        folder,
        toolkit=around.toolkit,
        archs=arch_request(around.prepared.plan, mode),
        log=calls,
        record_only=record,
        wheels=_sites(around),
    )


def arch_request(plan: ArchPlan, mode: Mode) -> ArchRequest:
    """The same, in the words of the stand-in for nvcc."""
    return ArchRequest(sass=(str(plan.arch),), ptx=tuple(map(str, plan.ptx)), mode=mode)


def _sites(around: Surroundings) -> tuple[Path, ...]:
    """Where NVIDIA's wheels may lie: the layer of the build, then the environment that it is built against."""
    own = sorted((around.program.parent.parent / "lib").glob("python*/site-packages"))
    return tuple(dict.fromkeys(site for site in (*own, *around.python.sites) if site.is_dir()))


def _cmake_prefixes(around: Surroundings) -> Iterator[str]:
    """Where CMake finds pybind11, nanobind and torch: they lie in packages, not in the usual folders."""
    own = around.program.parent.parent
    yield str(own)
    for site in [*sorted((own / "lib").glob("python*/site-packages")), *around.python.sites]:
        for package in ("pybind11/share/cmake", "nanobind/cmake", "torch/share/cmake"):
            if (site / package).is_dir():
                yield str(site / package)
