"""Are the images that a provenance document names in a file, as they were made?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from shim.applying.inject import CONTAINER_HEADER
from shim.arch import ComputeCapability, Grade, Target
from shim.devicecode import DeviceCode
from shim.errors import VerifyError
from shim.planning import Promise
from shim.verifying.library import check_grade

HINT: Final = (
    "The file was changed or damaged after shim wrote it: take it again from where it came from, or patch anew."
)

Ranges = list[tuple[int, int]]


def targets_of(request: Mapping[str, Any]) -> list[Target]:
    """Targets that a request names. Raises KeyError, ValueError, UsageError."""
    major, minor = str(request["driver_cuda"]).split(".")
    return [
        Target(device=ComputeCapability.parse(device), driver_cuda=(int(major), int(minor)))
        for device in request["targets"]
    ]


def check_images(
    code: DeviceCode, containers: Sequence[Mapping[str, Any]], digests: Callable[[Ranges], Sequence[str]]
) -> int:
    """The new entries stand in live containers and have the hashes stated; returns how many there are.

    Args:
        containers: as the provenance has them. digests: SHA-256 of ascending (offset, size) ranges of the file.

    Raises:
        VerifyError: they do not.
    """
    live = {wrapper.target for wrapper in code.wrappers}
    if code.format == "fatbin":
        live = {one.offset for one in code.containers}
    ordered = sorted(containers, key=lambda c: int(c["offset"]["after"]))
    entries: list[tuple[int, int, str]] = []
    for container in ordered:
        at = int(container["offset"]["after"])
        if at not in live:
            raise VerifyError(f"{code.member}: nothing points at a container at {at:#x}", hint=HINT)
        at += CONTAINER_HEADER
        for image in container["images"]:
            entries.append((at, int(image["entry"]["size"]), str(image["entry"]["sha256"])))
            at += int(image["entry"]["size"])
    found = digests([(at, size) for at, size, _ in entries])
    for (at, _, expected), digest in zip(entries, found, strict=True):
        if digest != expected:
            raise VerifyError(f"{code.member}: the image at {at:#x} is not the one that was made", hint=HINT)
    return len(entries)


def check_promises(
    code: DeviceCode, grades: Mapping[str, Mapping[str, str]], targets: Sequence[Target]
) -> list[tuple[str, str, str]]:
    """(member, grade promised, grade found) for each target. Raises VerifyError when one is not reached."""
    found = []
    for target in targets:
        words = grades[str(target.device)]
        promise = Promise(target=target, before=Grade.parse(words["before"]), after=Grade.parse(words["promised"]))
        reached = check_grade(code.member, code, promise)
        found.append((code.member, str(promise.after), str(reached)))
    return found
