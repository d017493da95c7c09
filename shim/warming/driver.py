"""Give the driver of this machine what it would have to compile of a package, as the package would give it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from shim.applying.images import ImageFile
from shim.arch import Target
from shim.device.driver_cache import DriverDevice, load_modules
from shim.devicecode import ContainerRole, DeviceCode
from shim.model import Fit
from shim.scan.containers import decide
from shim.warming.model import DriverWork
from shim.warming.subject import Subject

_COMPILED = frozenset({Fit.JIT, Fit.JIT_TOO_NEW})


def warm_driver(subject: Subject, device: DriverDevice, *, seconds: int) -> DriverWork:
    """Load every container and .ptx file that this device's driver compiles on first use.

    A container is given whole, as the runtime does. Whether the runtime's own request finds what was kept for this
    one is the driver's affair: the keys of its cache are not documented.

    Args:
        seconds: wall time one module may take.

    Raises:
        DeviceError: the driver no longer answers.
    """
    started = time.monotonic()
    target = Target(device=device.capability, driver_cuda=device.driver)
    labels: list[str] = []
    files: list[Path] = []
    not_given = 0
    with tempfile.TemporaryDirectory(prefix="shim-warm-") as work:
        for code, path in subject.files:
            wanted, linked = _wanted(code, target)
            not_given += linked
            with ImageFile(path, code.member) as source:
                for label, offset, size in wanted:
                    copy = Path(work) / f"{len(files)}.module"
                    copy.write_bytes(source.raw(offset, size))
                    labels.append(label)
                    files.append(copy)
        said = load_modules(device, files, seconds=seconds) if files else ()
    failed = tuple((label, text) for label, text in zip(labels, said, strict=True) if text)
    return DriverWork(
        loaded=len(files) - len(failed), failed=failed, not_given=not_given, seconds=time.monotonic() - started
    )


def _wanted(code: DeviceCode, target: Target) -> tuple[list[tuple[str, int, int]], int]:
    """(label, offset, size) of what to load, and how many relocatable modules the runtime links by itself."""
    found: list[tuple[str, int, int]] = []
    linked = 0
    for decision in decide(code, target):
        if decision.fit not in _COMPILED:
            continue
        if decision.loose:
            if decision.role is ContainerRole.FILE:
                found += [(code.member, code.loose[i].offset, code.loose[i].size) for i in decision.group.indices]
        elif decision.linked_at_run_time or decision.role is ContainerRole.PRELINKED:
            linked += decision.count
        elif decision.counted:
            for index in decision.group.indices:
                container = code.containers[index]
                found.append((f"{code.member} container {index}", container.offset, container.size))
    return found, linked
