"""Give back the original of what shim patched, byte for byte and under its own name."""

from __future__ import annotations

import tempfile
from pathlib import Path

from shim import _core
from shim.applying.inject import sha256_of
from shim.errors import InputError, VerifyError
from shim.provenance.edits import unpack_edits
from shim.verifying.standalone import read_provenance
from shim.wheels.archive import WheelArchive
from shim.wheels.delta import apply_undo
from shim.wheels.limits import Limits

_MOST_UNDO_BYTES = 8 << 30
UNDO_FILE = "undo.bin"
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
        data = _undo_data(archive, path)
    name, sha256 = _original(document, path)
    dest = folder / name
    if dest.exists():
        if sha256_of(dest) == sha256:
            return dest
        if not force:
            raise InputError(f"{dest} exists and is another file", hint="choose another folder with -o, or use --force")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".shim-") as work:
        draft = Path(work) / name
        apply_undo(path, data, draft)
        if sha256_of(draft) != sha256:
            raise VerifyError(
                f"{path.name}: the result is not the original (SHA-256 {sha256})",
                hint="the patched wheel was changed after shim wrote it; fetch the original again",
            )
        return draft.replace(dest)


def _original(document: dict[str, object], path: Path) -> tuple[str, str]:
    """Name and hash of the original; the name comes from a file, so it must be a name and nothing more."""
    original = document.get("original")
    name = original.get("filename") if isinstance(original, dict) else None
    sha256 = original.get("sha256") if isinstance(original, dict) else None
    if not isinstance(name, str) or not isinstance(sha256, str) or Path(name).name != name or name in ("", ".", ".."):
        raise InputError(f"{path.name}: its provenance does not name the original wheel")
    return name, sha256


def _undo_data(archive: WheelArchive, path: Path) -> bytes:
    inside = f"{archive.dist_info}/shim/{UNDO_FILE}"
    if inside in archive:
        return archive.read(archive.member(inside), limit=_MOST_UNDO_BYTES)
    beside = path.with_name(path.name + UNDO_SUFFIX)
    if beside.is_file():
        return beside.read_bytes()
    raise InputError(
        f"{path.name}: no undo data: neither {inside} in the wheel nor {beside.name} beside it",
        hint="put the .undo file that shim wrote beside the wheel, or fetch the original again",
    )


def undo_single(path: Path, folder: Path, *, force: bool = False) -> Path:
    """Write the original of a patched library (not a wheel) into `folder`; returns its path. Raises as `undo_wheel`."""
    beside = path.with_name(path.name + UNDO_SUFFIX)
    if not beside.is_file():
        raise InputError(f"{path.name}: no undo data: {beside.name} is not beside it", hint="put it there")
    undo = unpack_edits(beside.read_bytes(), beside.name)
    if sha256_of(path) != undo.patched_sha256:
        raise InputError(f"{path.name}: not the file that {beside.name} belongs to (other SHA-256)")
    dest = folder / path.name
    if dest.exists() and (dest.samefile(path) or not force):
        raise InputError(f"{dest} exists", hint="choose another folder with -o, or replace it with --force")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".shim-") as work:
        draft = Path(work) / path.name
        _core.restore_file(path, draft, undo.size, undo.edits)
        if sha256_of(draft) != undo.sha256:
            raise VerifyError(f"{path.name}: the result is not the original (SHA-256 {undo.sha256})")
        return draft.replace(dest)
