"""The name of a wheel file: its parts as spelt, their meaning, and the name of the patched wheel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from shim.errors import InputError, UsageError

__all__ = ["WheelName", "parse_wheel_name", "patched_build", "patched_name"]

_SM = re.compile(r"[1-9][0-9]{1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """A wheel's file name, its parts in their original spelling; `str()` gives the file name back."""

    distribution: str
    version: str
    build: str
    """Build tag such as `1sm121`; empty when there is none."""

    python: str
    abi: str
    platform: str
    """Platform tags, joined by dots."""

    tags: frozenset[Tag]

    @property
    def normalized(self) -> NormalizedName:
        """The distribution name as indexes compare it."""
        return canonicalize_name(self.distribution)

    @property
    def parsed_version(self) -> Version:
        """The version as installers compare it."""
        return Version(self.version)

    @property
    def build_number(self) -> int:
        """The number that the build tag starts with, 0 without a build tag."""
        match = re.match(r"[0-9]+", self.build)
        return int(match[0]) if match else 0

    def __str__(self) -> str:
        parts = [self.distribution, self.version, self.build, self.python, self.abi, self.platform]
        return "-".join(part for part in parts if part) + ".whl"


def parse_wheel_name(filename: str) -> WheelName:
    """Split a wheel's file name.

    Raises:
        InputError: it is not `NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl`.
    """
    try:
        _, _, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as err:
        raise InputError(
            f"{filename}: not the file name of a wheel: {err}",
            hint="rename it to NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl, as its index called it",
        ) from err
    distribution, version, *build, python, abi, platform = filename.removesuffix(".whl").split("-")
    return WheelName(
        distribution=distribution,
        version=version,
        build=build[0] if build else "",
        python=python,
        abi=abi,
        platform=platform,
        tags=tags,
    )


def patched_build(name: WheelName, targets: Sequence[str]) -> str:
    """The build tag of the patched wheel: `1sm121`, or `2sm121_sm120` for upstream build 2 and two targets.

    The same version with a higher build tag wins over the upstream wheel on one index page, for every way to
    pin a version, `===` and `==X+cu130` included.

    Args:
        name: the upstream (or an already patched) wheel.
        targets: numbers of the real architectures, such as `("121",)`.

    Raises:
        UsageError: no target, or one that is not such a number.
    """
    if not targets or not all(_SM.fullmatch(target) for target in targets):
        raise UsageError(f"expected targets such as '121', found {list(targets)!r}", hint="pass --target 12.1")
    return f"{max(name.build_number, 1)}" + "_".join(f"sm{target}" for target in targets)


def patched_name(name: WheelName, targets: Sequence[str]) -> WheelName:
    """The name of the patched wheel: `<name>-<version>-<max(upstream build, 1)>sm121[_sm120]-<tags>.whl`.

    Raises:
        UsageError: as `patched_build`.
    """
    return replace(name, build=patched_build(name, targets))
