"""Let the driver of this machine compile modules, so that its own cache has them.

That cache (`~/.nv/ComputeCache`, CUDA_CACHE_PATH) has no documented format and belongs to one build of the driver. So
nothing is written to it: the driver is given the module, compiles it and keeps what it made. It happens in a child
process, which a module that the driver's compiler cannot take may crash or block.

Not run on a GB10, and on no other GPU: no such device was at hand. Tested with a driver library that stands in.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shim.arch import ComputeCapability
from shim.errors import DeviceError, ToolError
from shim.process import Completed, ToolTimeoutError, run

_CHILD: Final = Path(__file__).with_name("load_modules.py")
_START_SECONDS: Final = 120.0
MODULE_SECONDS: Final = 1800
"""Wall time one module may take. ptxas needed some 10 minutes for the largest seen (34 MB of PTX)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverDevice:
    """A GPU as its driver describes it; `driver` is the CUDA version of the driver."""

    number: int
    name: str
    capability: ComputeCapability
    driver: tuple[int, int]


def find_device(number: int = 0) -> DriverDevice:
    """Ask the driver for a device.

    Raises:
        DeviceError: no driver, or no such device.
    """
    done = _run(number, MODULE_SECONDS, ())
    first = _lines(done)[:1]
    if not first or "error" in first[0]:
        said = first[0]["error"] if first else done.ending
        raise DeviceError(
            f"no usable GPU: {said}", hint="run it on the machine with the GPU; everything else is done already"
        )
    (told,) = first
    return DriverDevice(
        number=number,
        name=str(told["name"]),
        capability=ComputeCapability(*(int(part) for part in told["capability"])),
        driver=(int(told["driver"][0]), int(told["driver"][1])),
    )


def load_modules(device: DriverDevice, files: Sequence[Path], *, seconds: int = MODULE_SECONDS) -> tuple[str, ...]:
    """Load each file (a fatbin container, a cubin or PTX text) as a module and drop it again.

    Args:
        seconds: wall time one module may take.

    Returns:
        For each file what went wrong, "" if nothing did. A module that ends the child does not hurt the others.
    """
    outcomes: list[str] = []
    while len(outcomes) < len(files):
        done = _run(device.number, seconds, files[len(outcomes) :])
        told = [str(line["error"]) for line in _lines(done)[1:] if "error" in line]
        outcomes += told
        if len(outcomes) < len(files):
            outcomes.append(_ending(done, seconds))
    return tuple(outcomes[: len(files)])


def _run(number: int, seconds: int, files: Sequence[Path]) -> Completed:
    limit = _START_SECONDS + seconds * len(files)
    try:
        return run(
            [sys.executable, "-I", _CHILD, str(number), str(seconds), *files], timeout=limit, env=dict(os.environ)
        )
    except ToolTimeoutError as error:
        raise DeviceError(
            f"the driver did not answer: {error.message}", hint="try again when the GPU is idle"
        ) from error
    except ToolError as error:
        raise DeviceError(f"the driver could not be asked: {error.message}") from error


def _lines(done: Completed) -> list[dict[str, Any]]:
    found = []
    for line in done.stdout.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # drivers may print
        if isinstance(value, dict):
            found.append(value)
    return found


def _ending(done: Completed, seconds: int) -> str:
    return f"not done in {seconds} s" if "SIGALRM" in done.ending else f"ended the driver's process: {done.ending}"
