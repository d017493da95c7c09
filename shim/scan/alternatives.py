"""Several builds of one library in a package, of which a machine loads one: told apart by their paths.

Seen in the wild: a library for each CUDA version (`libbitsandbytes_cuda118.so` to `_cuda132.so`, `cu12/`,
`cu13/`), picked by the CUDA version of the environment; and folders by architecture (`sm90/`,
`sm100/`), where the loader takes the newest that is not newer than the device (`sgl_kernel`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from shim.arch import Target
from shim.model import Alternative

_CUDA: Final = re.compile(r"(?<![A-Za-z0-9])(?:cu|cuda)[-_]?(1\d)(?:[._]?(\d))?(?![0-9A-Za-z])")
_SM: Final = re.compile(r"(?<![A-Za-z0-9])sm[-_]?(\d{2,3})[af]?(?![0-9A-Za-z])")

_Version = tuple[int, int | None]


def alternatives(members: Iterable[str], target: Target) -> dict[str, Alternative]:
    """Find the members that are builds of the same thing, and say which one the target takes.

    Members that stand alone are not in the answer.
    """
    paths = list(members)
    found: dict[str, Alternative] = {}
    for group, variants in _groups(paths, _CUDA).items():
        chosen = _pick_cuda({path: _cuda_version(match) for path, match in variants.items()}, target)
        for path, match in variants.items():
            text = f"CUDA {match[1]}" + (f".{match[2]}" if match[2] else "")
            found[path] = Alternative(group=group, variant=text, decides=path == chosen)
    rest = [path for path in paths if path not in found]
    for group, variants in _groups(rest, _SM).items():
        chosen = _pick_sm({path: int(match[1]) for path, match in variants.items()}, target)
        for path, match in variants.items():
            found[path] = Alternative(group=group, variant=f"sm_{match[1]}", decides=path == chosen)
    return found


def _groups(paths: Iterable[str], pattern: re.Pattern[str]) -> dict[str, dict[str, re.Match[str]]]:
    """Paths that differ only in what the pattern matches, keyed by the path with that part as `*`."""
    groups: dict[str, dict[str, re.Match[str]]] = defaultdict(dict)
    for path in paths:
        match = pattern.search(path)
        if match is not None:
            groups[f"{path[: match.start()]}*{path[match.end() :]}"][path] = match
    return {group: found for group, found in groups.items() if len(found) > 1}


def _cuda_version(match: re.Match[str]) -> _Version:
    return int(match[1]), int(match[2]) if match[2] else None


def _pick_cuda(versions: Mapping[str, _Version], target: Target) -> str:
    """The build for the driver's CUDA: that version, else the nearest older one, of its major if possible."""
    major, minor = target.driver_cuda

    def rank(path: str) -> tuple[bool, bool, int, int]:
        of_major, of_minor = versions[path]
        too_new = of_major > major or (of_major == major and (of_minor or 0) > minor)
        sign = -1 if too_new else 1
        return of_major == major, not too_new, sign * of_major, sign * (of_minor or 0)

    return max(versions, key=rank)


def _pick_sm(numbers: Mapping[str, int], target: Target) -> str:
    own = target.device.sm

    def rank(path: str) -> tuple[bool, int]:
        number = numbers[path]
        return number <= own, number if number <= own else -number

    return max(numbers, key=rank)
