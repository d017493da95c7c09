"""`shim verify WHEEL`: does a wheel keep what its own provenance says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shim.applying.events import Watcher
from shim.applying.members import MemberContent, read_members
from shim.arch import Target
from shim.errors import InputError, VerifyError
from shim.provenance import document as provenance
from shim.verifying.images import check_images, check_promises, targets_of
from shim.verifying.rebuilt import Rebuilt, read_rebuilt
from shim.verifying.wheel import entry_digest
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits
from shim.wheels.record import check_record

_HINT = "The wheel was changed or damaged after shim wrote it: take it again from where it came from, or patch anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What `verify` found true.

    Attributes:
        members: how many files RECORD describes rightly.
        patched: whether shim patched the wheel. libraries: (member, grade promised, grade found).
        edits: files that recipes edited.
        rebuilt: what the record of `shim rebuild` in it states, None when it has none.
    """

    members: int
    patched: bool
    target: str
    libraries: tuple[tuple[str, str, str], ...]
    images: int
    edits: int
    rebuilt: Rebuilt | None = None


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
            rebuilt = read_rebuilt(archive, contents)
            if rebuilt is not None:
                _check_build(archive, [rebuilt.target], "built")
            return Verified(
                members=len(record.rows), patched=False, target="", libraries=(), images=0, edits=0, rebuilt=rebuilt
            )
        by_path = {content.member.path: content for content in contents}
        try:
            _check_build(archive, [str(device) for device in document["request"]["targets"]])
            targets = targets_of(document["request"])
            libraries, images = _check_members(archive, document["members"], by_path, targets)
            edits = _check_edited(document.get("edited", []), by_path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path.name}: its provenance lacks or garbles {error}", hint=_HINT) from error
        return Verified(
            members=len(record.rows),
            patched=True,
            target=", ".join(str(target.device) for target in targets),
            libraries=libraries,
            images=images,
            edits=edits,
        )


def _check_build(archive: WheelArchive, devices: Sequence[str], made: str = "patched") -> None:
    build = "_".join(f"sm{device.replace('.', '')}" for device in devices)
    if archive.name is None or not archive.name.build.endswith(build):
        raise VerifyError(
            f"{archive.path.name}: {made} for {', '.join(devices)}, but its build tag is not ...{build}",
            hint="give it back the name that shim wrote it under",
        )


def _check_members(
    archive: WheelArchive, members: list[dict[str, Any]], by_path: Mapping[str, MemberContent], targets: list[Target]
) -> tuple[tuple[tuple[str, str, str], ...], int]:
    found: list[tuple[str, str, str]] = []
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
        images += check_images(content.code, member["containers"], partial(entry_digest, archive, content.member))
        found += check_promises(content.code, member["grades"], targets)
    return tuple(found), images


def _check_edited(edited: list[dict[str, Any]], by_path: Mapping[str, MemberContent]) -> int:
    """Files that recipes edited are what they were made."""
    for entry in edited:
        content = by_path.get(entry["path"])
        if content is None or content.sha256 != entry["after"]:
            found = "no such file" if content is None else f"SHA-256 {content.sha256}"
            raise VerifyError(f"{entry['path']}: expected SHA-256 {entry['after']}, found {found}", hint=_HINT)
    return len(edited)
