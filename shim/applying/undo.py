"""Give back the original of what shim patched, byte for byte and under its own name."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

from shim.applying.inject import sha256_of
from shim.errors import InputError, VerifyError
from shim.provenance.edits import original_pieces, read_edits
from shim.verifying.standalone import read_provenance
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits
from shim.wheels.undo import apply_undo

UNDO_SUFFIX = ".undo"


def undo_wheel(path: Path, folder: Path, limits: Limits, *, force: bool = False) -> Path:
    """Write the original wheel into `folder`; returns its path.

    Raises:
        InputError: not patched by shim, no undo data, or a different file stands in the way.
        VerifyError: what came out is not the original (the wheel was changed since).
    """
    with WheelArchive.open(path, limits=limits) as archive:
        if read_provenance(archive) is None:
            raise InputError(f"{path.name}: not patched by shim: it has no provenance", hint="there is nothing to undo")
        folder.mkdir(parents=True, exist_ok=True)
        return apply_undo(archive, folder, force=force, limits=limits)


def undo_single(path: Path, folder: Path, *, force: bool = False) -> Path:
    """Write the original of a patched library (not a wheel) into `folder`; returns its path. Raises as `undo_wheel`."""
    beside = path.with_name(path.name + UNDO_SUFFIX)
    if not beside.is_file():
        raise InputError(f"{path.name}: no undo data: {beside.name} is not beside it", hint="put it there")
    undo = read_edits(beside)
    if sha256_of(path) != undo.patched_sha256:
        raise InputError(f"{path.name}: not the file that {beside.name} belongs to (other SHA-256)")
    dest = folder / path.name
    if dest.exists() and (dest.samefile(path) or not force):
        raise InputError(f"{dest} exists", hint="choose another folder with -o, or replace it with --force")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".shim-") as work:
        draft = Path(work) / path.name
        with draft.open("xb") as out:
            out.writelines(original_pieces(path, beside))
        draft.chmod(stat.S_IMODE(path.stat().st_mode))
        if sha256_of(draft) != undo.sha256:
            raise VerifyError(f"{path.name}: the result is not the original (SHA-256 {undo.sha256})")
        return draft.replace(dest)
