"""`shim verify WHEEL`: does a wheel keep what its own provenance says?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shim.applying.events import Watcher
from shim.applying.members import MemberContent, read_members
from shim.arch import ComputeCapability, Grade, Target
from shim.devicecode import DeviceCode
from shim.errors import InputError, VerifyError
from shim.provenance import document as provenance
from shim.verifying.library import check_grade
from shim.verifying.wheel import entry_digest
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits
from shim.wheels.record import check_record

_HINT = "The wheel was changed or damaged after shim wrote it: take it again from where it came from, or patch anew."
_CONTAINER_HEADER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What `verify` found true.

    Attributes:
        members: how many files RECORD describes rightly.
        patched: whether shim patched the wheel. libraries: (member, grade promised, grade found).
        edits: files that recipes edited.
    """

    members: int
    patched: bool
    target: str
    libraries: tuple[tuple[str, str, str], ...]
    images: int
    edits: int


def provenance_path(archive: WheelArchive) -> str:
    """Where a wheel's provenance document stands if it has one."""
    return f"{archive.dist_info}/{provenance.FOLDER}/{provenance.FILE}"


def read_provenance(archive: WheelArchive) -> dict[str, Any] | None:
    """The provenance document of a patched wheel, None for any other. Raises InputError."""
    path = provenance_path(archive)
    if path not in archive:
        return None
    return provenance.load(archive.read(archive.member(path)), f"{archive.path.name}: {path}")


def verify_wheel(path: Path, limits: Limits, watcher: Watcher, jobs: int | None = None) -> Verified:
    """Check RECORD of any wheel, and of a patched one its provenance: hashes, new images, promised grades.

    Raises:
        InputError: the wheel or its provenance cannot be read. VerifyError: something is not as stated.
    """
    with WheelArchive.open(path, limits=limits) as archive:
        watcher.phase("verify", sum(member.size for member in archive.members))
        contents = read_members(archive, digest=True, jobs=jobs, progress=watcher.done)
        record = check_record(archive, hashes={c.member.path: c.sha256 or "" for c in contents})
        document = read_provenance(archive)
        if document is None:
            return Verified(members=len(record.rows), patched=False, target="", libraries=(), images=0, edits=0)
        _check_build(archive, document)
        by_path = {content.member.path: content for content in contents}
        try:
            target = _target(document)
            libraries, images = _check_members(archive, document["members"], by_path, target)
            edits = _check_edited(document.get("edited", []), by_path)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path.name}: its provenance lacks or garbles {error}", hint=_HINT) from error
        return Verified(
            members=len(record.rows),
            patched=True,
            target=str(target.device),
            libraries=libraries,
            images=images,
            edits=edits,
        )


def _target(document: Mapping[str, Any]) -> Target:
    request = document["request"]
    major, minor = str(request["driver_cuda"]).split(".")
    return Target(device=ComputeCapability.parse(request["target"]), driver_cuda=(int(major), int(minor)))


def _check_build(archive: WheelArchive, document: Mapping[str, Any]) -> None:
    build = f"sm{str(document['request']['target']).replace('.', '')}"
    if archive.name is None or not archive.name.build.endswith(build):
        raise VerifyError(
            f"{archive.path.name}: patched for {document['request']['target']}, but its build tag is not ...{build}",
            hint="give it back the name that shim wrote it under",
        )


def _check_members(
    archive: WheelArchive, members: list[dict[str, Any]], by_path: Mapping[str, MemberContent], target: Target
) -> tuple[tuple[tuple[str, str, str], ...], int]:
    found = []
    images = 0
    for member in members:
        if "patched" not in member:
            continue
        content = by_path.get(member["path"])
        if content is None or content.code is None:
            raise VerifyError(f"{member['path']}: patched according to the provenance, but not there", hint=_HINT)
        if content.sha256 != member["patched"]["sha256"]:
            raise VerifyError(
                f"{member['path']}: expected SHA-256 {member['patched']['sha256']}, found {content.sha256}", hint=_HINT
            )
        images += _check_images(archive, content, content.code, member["containers"])
        promised = Grade.parse(member["grade"]["promised"])
        reached = check_grade(member["path"], content.code, promised, target)
        found.append((str(member["path"]), str(promised), str(reached)))
    return tuple(found), images


def _check_edited(edited: list[dict[str, Any]], by_path: Mapping[str, MemberContent]) -> int:
    """Files that recipes edited are what they were made."""
    for entry in edited:
        content = by_path.get(entry["path"])
        if content is None or content.sha256 != entry["after"]:
            found = "no such file" if content is None else f"SHA-256 {content.sha256}"
            raise VerifyError(f"{entry['path']}: expected SHA-256 {entry['after']}, found {found}", hint=_HINT)
    return len(edited)


def _check_images(
    archive: WheelArchive, content: MemberContent, code: DeviceCode, containers: list[dict[str, Any]]
) -> int:
    """The new entries stand in live containers and have the hashes stated."""
    live = {wrapper.target for wrapper in code.wrappers}
    ordered = sorted(containers, key=lambda c: int(c["offset"]["after"]))
    for container in ordered:
        if container["offset"]["after"] not in live:
            raise VerifyError(
                f"{content.member.path}: no wrapper points at the container at {container['offset']['after']:#x}",
                hint=_HINT,
            )
    ranges = [(int(c["offset"]["after"]) + _CONTAINER_HEADER, int(c["entry"]["size"])) for c in ordered]
    for container, digest in zip(ordered, entry_digest(archive, content.member, ranges), strict=True):
        if digest != container["entry"]["sha256"]:
            raise VerifyError(
                f"{content.member.path}: the image at {container['offset']['after']:#x} is not the one that was made",
                hint=_HINT,
            )
    return len(ordered)
