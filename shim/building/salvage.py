"""When a binary patch cannot save a wheel: what a rebuild from its source distribution would take, and the rebuild."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.applying.ending import is_advisory
from shim.applying.events import Watcher
from shim.applying.result import PatchResult
from shim.building.outlook import RebuildOutlook, outlook_of
from shim.building.request import RebuildRequest, RebuildResult
from shim.planning import is_postponed
from shim.wheels.name import WheelName, parse_wheel_name

_PYTHON = "cp3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """The other way for one wheel: the requirement to rebuild, and what that would take."""

    requirement: str
    outlook: RebuildOutlook

    @property
    def text(self) -> str:
        """One sentence, with the command when there is one."""
        if not self.outlook.possible:
            return self.outlook.text
        return f"{self.outlook.text}: pass --rebuild, or call `shim rebuild {self.requirement}`"


def is_lacking(result: PatchResult) -> bool:
    """Whether the plan leaves code of the wheel as it is although the target wants more."""
    return any(not (is_advisory(r.code) or is_postponed(r.code)) for _, r in result.refusals)


def rebuild_wheel(request: RebuildRequest, watcher: Watcher) -> RebuildResult:
    """`shim.building.rebuild.rebuild`, loaded when it is needed. Raises what that raises."""
    from shim.building.rebuild import rebuild

    return rebuild(request, watcher)


def salvage_of(path: Path) -> Salvage | None:
    """Look for the source distribution of this very version of a wheel; none of its code runs. None: not a wheel."""
    if path.suffix != ".whl":
        return None
    name = parse_wheel_name(path.name)
    version = _upstream(name)
    outlook = outlook_of(name.distribution, version, python=_python(name))
    return Salvage(requirement=f"{name.distribution}=={version}", outlook=outlook)


def machine_of_wheel(path: Path) -> str | None:
    """Processor that a wheel is for: `aarch64`, `x86_64`; None when it is for any."""
    platform = parse_wheel_name(path.name).platform
    return next((machine for machine in ("aarch64", "x86_64") if platform.endswith(machine)), None)


def _upstream(name: WheelName) -> str:
    """The version without a local part: `+cu130` is a build of the same source."""
    return name.version.partition("+")[0]


def _python(name: WheelName) -> str | None:
    if name.abi == "abi3" or not name.python.startswith(_PYTHON):
        return None
    return f"3.{name.python.removeprefix(_PYTHON)}"
