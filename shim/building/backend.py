"""Calls a PEP 517 backend through `build`, under limits: time, output, where it writes, what it asks the network."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final, TypeVar

from shim.building import launcher
from shim.building.diagnosis import Diagnosis, diagnose
from shim.errors import ToolError
from shim.process import ToolTimeoutError, run

if TYPE_CHECKING:
    from build import ProjectBuilder

Answer = TypeVar("Answer")

LOG_HEAD: Final = 24 << 20
LOG_TAIL: Final = 8 << 20
"""Bytes kept of a build's output: from its start and from its end."""


class BuildError(ToolError):
    """A build failed. `diagnosis`: the first error of its output."""

    def __init__(self, message: str, *, hint: str | None, diagnosis: Diagnosis | None) -> None:
        super().__init__(message, hint=hint)
        self.diagnosis = diagnosis


@dataclass(slots=True, kw_only=True)
class BackendRun:
    """How the hooks of a backend are to be run, and what they have used so far.

    Attributes:
        program: Python of the build. environ: its whole environment.
        writable: folders it may write to. port: the only TCP port it may connect to, None for any.
        log: file its output is added to. timeout: seconds for one hook.
    """

    program: Path
    source: Path
    environ: Mapping[str, str]
    writable: tuple[Path, ...]
    port: int | None
    log: Path
    timeout: float
    cancel: Event | None = None
    cpu_seconds: float = field(default=0.0)

    def call(self, cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None) -> None:
        """Run one program under the limits. Raises BuildError."""
        # The last word of a hook's command is the folder that its answer goes to.
        folders = [*map(str, self.writable), *([cmd[-1]] if cmd[-1].startswith("/") else [])]
        config = {
            "argv": list(cmd),
            "writable": folders,
            "port": self.port,
            "log": str(self.log),
            "head": LOG_HEAD,
            "tail": LOG_TAIL,
        }
        self.log.parent.mkdir(parents=True, exist_ok=True)
        start = self.log.stat().st_size if self.log.exists() else 0
        words = [sys.executable, "-I", "-S", launcher.__file__, json.dumps(config)]
        try:
            done = run(
                words,
                cwd=Path(cwd) if cwd else self.source,
                env={**self.environ, **(extra_environ or {})},
                timeout=self.timeout,
                cancel=self.cancel,
            )
        except ToolTimeoutError as error:
            raise BuildError(
                f"the build did not end within {self.timeout:g} s and was stopped",
                hint=f"its output is in {self.log}; raise --timeout, it goes on where it stopped",
                diagnosis=None,
            ) from error
        self.cpu_seconds += done.cpu_seconds
        if done.returncode:
            raise self._failed(done.ending, start)

    def _failed(self, ending: str, start: int) -> BuildError:
        with self.log.open("rb") as stream:
            stream.seek(start)
            found = diagnose(stream.read(LOG_HEAD + LOG_TAIL + (1 << 20)).decode("utf-8", "replace"))
        said = "it printed nothing" if found is None else found.text
        advice = "" if found is None else found.hint
        return BuildError(
            f"the build failed ({ending}): {said}",
            hint="; ".join(filter(None, [advice, f"the whole output is in {self.log}"])),
            diagnosis=found,
        )


def builder(backend_run: BackendRun) -> ProjectBuilder:
    """`build`'s own project builder, whose hooks run under the limits.

    Raises:
        ToolError: the package `build` is not installed, or pyproject.toml is broken.
    """
    try:
        from build import BuildException, ProjectBuilder
    except ImportError as error:
        raise ToolError("rebuilding needs the package `build`", hint="pip install 'sm121-shim[rebuild]'") from error
    try:
        return ProjectBuilder(backend_run.source, python_executable=str(backend_run.program), runner=backend_run.call)
    except BuildException as error:
        raise ToolError(f"{backend_run.source}: {error}") from error


def extra_requirements(backend_run: BackendRun) -> set[str]:
    """What the backend says it needs beside pyproject.toml (`get_requires_for_build_wheel`). Raises BuildError."""
    return _call(lambda: builder(backend_run).get_requires_for_build("wheel"))


def build_wheel(backend_run: BackendRun, folder: Path) -> Path:
    """Build the wheel into an empty folder. Raises BuildError."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(_call(lambda: builder(backend_run).build("wheel", str(folder))))


def _call(work: Callable[[], Answer]) -> Answer:
    from build import BuildBackendException, BuildException

    try:
        # The backend's warnings are for the package's authors; they are in the log.
        with warnings.catch_warnings(action="ignore"):
            return work()
    except (BuildBackendException, BuildException) as error:
        inner = getattr(error, "exception", None)
        if isinstance(inner, ToolError):
            raise inner from error
        raise ToolError(f"the build backend failed: {error}") from error
