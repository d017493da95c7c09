"""The environment a build backend runs in: the user's own, one laid over it, or one by itself."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from shim.building.python import BuildPython
from shim.building.requirements import missing
from shim.errors import PlanError, ToolError
from shim.process import run
from shim.toolchain.toolstore import is_offline

_SECONDS: Final = 1800.0
# A backend that compiles against one of these must see the one that the wheel will run with, not a new download.
_BOUND: Final = ("torch", "jax", "tensorflow", "paddlepaddle-gpu")


class Isolation(StrEnum):
    """`own`: the environment as it is. `layered`: a folder over it holds what is missing. `isolated`: nothing of it."""

    OWN = "own"
    LAYERED = "layered"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationPlan:
    """kind, what has to be installed for it, and why, in words."""

    kind: Isolation
    install: tuple[Requirement, ...]
    why: str


def plan_isolation(requirements: Sequence[Requirement], python: BuildPython, *, uses_torch: bool) -> IsolationPlan:
    """Choose: against torch (or its like) no isolation, as an isolated build would fetch another torch.

    Raises:
        PlanError: the build needs torch (or its like) and the environment has none.
    """
    names = [requirement.name.lower().replace("_", "-") for requirement in requirements]
    bound = [name for name in _BOUND if name in names or (name == "torch" and uses_torch)]
    lacking = [name for name in bound if name not in python.packages]
    if lacking:
        raise PlanError(
            f"the build needs {' and '.join(lacking)}, which is not in {python.prefix}",
            hint=f"name the environment that the wheel is for: --python PREFIX, with {lacking[0]} in it",
        )
    if not bound:
        return IsolationPlan(
            kind=Isolation.ISOLATED, install=tuple(requirements), why="nothing it is linked against is needed"
        )
    wanted = missing([one for one in requirements if one.name.lower() not in bound], python.packages)
    kind = Isolation.LAYERED if wanted else Isolation.OWN
    return IsolationPlan(kind=kind, install=wanted, why=f"built against {', '.join(bound)} of {python.prefix}")


def extended(plan: IsolationPlan, further: Sequence[Requirement]) -> IsolationPlan:
    """The same with more to install; over the user's environment that takes a layer."""
    kind = Isolation.LAYERED if plan.kind is Isolation.OWN else plan.kind
    return replace(plan, kind=kind, install=(*plan.install, *further))


def make_environment(plan: IsolationPlan, python: BuildPython, folder: Path, environ: Mapping[str, str]) -> Path:
    """Make what the plan says in `folder` and return the Python to build with.

    Requirements are fetched with the user's own pip or uv settings, before the build and outside of its limits.

    Raises:
        ToolError: pip or uv failed, or nothing may be fetched.
    """
    if plan.kind is Isolation.OWN:
        return python.executable
    program = folder / "bin" / "python"
    marker = folder / "ready"
    wish = "\n".join([plan.kind, str(python.executable), *map(str, plan.install)])
    if marker.exists() and marker.read_text(encoding="utf-8") == wish:
        return program
    if plan.install and is_offline():
        wanted = ", ".join(map(str, plan.install))
        raise ToolError(f"the build needs {wanted}, and SHIM_OFFLINE forbids fetching", hint="install them first")
    shutil.rmtree(folder, ignore_errors=True)
    uv = _uv()
    if uv is not None:
        run([uv, "venv", "--quiet", "--python", python.executable, folder], env=environ, timeout=_SECONDS).check()
    else:
        run([python.executable, "-m", "venv", folder], env=environ, timeout=_SECONDS).check()
    if plan.install:
        texts = [str(requirement) for requirement in plan.install]
        if uv is not None:
            command: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", program, *texts]
        else:
            command = [program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *texts]
        run(command, env=environ, timeout=_SECONDS).check()
    if plan.kind is Isolation.LAYERED:
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "shim-layer.pth").write_text("\n".join(map(str, python.sites)) + "\n", encoding="utf-8")
    marker.write_text(wish, encoding="utf-8")
    return program


def _uv() -> str | None:
    """uv of this environment or on PATH."""
    if importlib.util.find_spec("uv") is not None:
        from uv import find_uv_bin

        try:
            return str(find_uv_bin())
        except FileNotFoundError:
            pass
    return shutil.which("uv")
