"""The record of `shim rebuild` in a wheel: what it states, held against what the libraries of the wheel hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from shim.applying.members import MemberContent
from shim.arch import ComputeCapability, Grade, Target
from shim.building.naming import FILE, SCHEMA
from shim.errors import InputError, UsageError, VerifyError
from shim.scan.library import scan_library
from shim.wheels.archive import WheelArchive

_MOST_BYTES = 64 << 20
_HINT = "the wheel was changed or damaged after shim built it: take it again from where it came from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What the record states, as far as it can be checked in the wheel, and the source it names.

    Attributes:
        target: "12.1". arch: of the machine code, "sm_121".
        libraries: (member, grade promised, grade found) of each library that the record's promise is for.
    """

    source: str
    source_sha256: str
    target: str
    arch: str
    libraries: tuple[tuple[str, str, str], ...]


def read_rebuilt(archive: WheelArchive, contents: Sequence[MemberContent]) -> Rebuilt | None:
    """Read the record and check its promise; None for a wheel that shim did not build.

    Raises:
        InputError: the record cannot be read. VerifyError: a library does not hold what it states.
    """
    path = f"{archive.dist_info}/{FILE}"
    if path not in archive:
        return None
    where = f"{archive.path.name}: {path}"
    try:
        document = json.loads(archive.read(archive.member(path), limit=_MOST_BYTES))
        found = document["schema"]
        if found != SCHEMA:
            raise InputError(
                f"{where}: expected schema {SCHEMA}, found {found!r}",
                hint="it was written by another version of shim; use that one",
            )
        target = Target(device=ComputeCapability.parse(str(document["target"])))
        promised = Grade.parse(str(document["grade"]))
        arch = str(document["arch"])
        source, digest = str(document["source"]["filename"]), str(document["source"]["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError, UsageError) as error:
        raise InputError(f"{where}: not as shim wrote it ({error})", hint=_HINT) from error
    checked = [_checked(content, target, promised, arch) for content in contents]
    return Rebuilt(
        source=source,
        source_sha256=digest,
        target=str(target.device),
        arch=arch,
        libraries=tuple(one for one in checked if one is not None),
    )


def _checked(content: MemberContent, target: Target, promised: Grade, arch: str) -> tuple[str, str, str] | None:
    """The same check as after the build; None for a file that it is not for."""
    if content.code is None:
        return None
    report = scan_library(content.code, target).report
    if not report.grade.on_scale or report.other_arch_only:
        return None
    if arch.removeprefix("sm_") not in report.sass:
        have = ", ".join(f"sm_{one}" for one in report.sass) or "no machine code"
        raise VerifyError(f"{report.member}: built for {arch}, holds {have}", hint=_HINT)
    if report.grade < promised:
        raise VerifyError(f"{report.member}: built to be {promised}, is {report.grade}", hint=_HINT)
    return report.member, str(promised), str(report.grade)
