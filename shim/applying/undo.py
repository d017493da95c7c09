"""Give back the original of what shim patched, byte for byte and under its own name."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shim.applying.inject import sha256_of
from shim.applying.publish import beside, check_free, publish
from shim.errors import InputError, VerifyError
from shim.provenance.edits import FileUndo, original_pieces, read_edits
from shim.store import work_folder
from shim.verifying.standalone import read_provenance
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits
from shim.wheels.metadata import read_wheel_file
from shim.wheels.name import parse_wheel_name
from shim.wheels.undo import SIDE_CAR, apply_undo, undo_member

UNDO_SUFFIX = ".undo"


def undo_wheel(path: Path, folder: Path, limits: Limits, *, force: bool = False) -> Path:
    """Write the original wheel into `folder`; returns its path.

    Raises:
        InputError: not patched by shim, no undo data, or a different file stands in the way.
        VerifyError: what came out is not the original (the wheel was changed since).
    """
    with WheelArchive.open(path, limits=limits) as archive:
        document = read_provenance(archive)
        if document is None:
            raise InputError(f"{path.name}: not patched by shim: it has no provenance", hint="there is nothing to undo")
        folder.mkdir(parents=True, exist_ok=True)
        return apply_undo(archive, folder, undo=_side_cars(archive, document), force=force, limits=limits)


def _side_cars(archive: WheelArchive, document: Mapping[str, Any]) -> tuple[Path, ...]:
    """Files that may hold the reverse data of a wheel: beside it, also under the name that shim gave it."""
    if undo_member(archive.dist_info) in archive:
        return ()
    found = [*beside(archive.path, SIDE_CAR)]
    try:
        original = parse_wheel_name(str(document["original"]["filename"]))
        named = replace(original, build=read_wheel_file(archive).build)
    except (KeyError, TypeError, InputError):
        return tuple(found)
    return (*found, *(path for path in beside(archive.path.with_name(str(named)), SIDE_CAR) if path not in found))


def undo_single(path: Path, folder: Path, *, force: bool = False) -> Path:
    """Write the original of a patched library (not a wheel) into `folder`; returns its path. Raises as `undo_wheel`."""
    reverse, undo = _reverse_data(path)
    dest = folder / path.name
    if os.path.lexists(dest) and dest.exists() and dest.samefile(path):
        raise InputError(f"{dest} is the patched file itself", hint="choose another folder with -o")
    check_free(dest, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    with work_folder(folder) as work:
        draft = work / path.name
        with draft.open("xb") as out:
            out.writelines(original_pieces(path, reverse))
        draft.chmod(stat.S_IMODE(path.stat().st_mode))
        if sha256_of(draft) != undo.sha256:
            raise VerifyError(f"{path.name}: the result is not the original (SHA-256 {undo.sha256})")
        publish(draft, dest, {})
        return dest


def _reverse_data(path: Path) -> tuple[Path, FileUndo]:
    """The reverse data beside a file that belongs to it. Raises InputError."""
    files = list(beside(path, UNDO_SUFFIX))
    if not files:
        name = path.name + UNDO_SUFFIX
        raise InputError(f"{path.name}: no undo data: {name} is not beside it", hint="put it there")
    digest = sha256_of(path)
    for number, file in enumerate(files):
        try:
            undo = read_edits(file)
        except InputError:
            if number + 1 < len(files):
                continue
            raise
        if undo.patched_sha256 == digest:
            return file, undo
    raise InputError(
        f"{path.name}: not the file that {files[0].name} belongs to (other SHA-256)",
        hint="it was changed after shim wrote it, or the undo data is that of another file",
    )
