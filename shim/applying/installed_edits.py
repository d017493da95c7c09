"""Changes the files of one installed distribution, all of them or none, and takes the change back."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shim.applying.applied import (
    FILE,
    ORIGINALS,
    Applied,
    ChangedFile,
    Stage,
    at_stage,
    drop_folder,
    folder_of,
    make_document,
    place_of,
    read_applied,
)
from shim.applying.replace import put, remove_bytecode, sha256
from shim.errors import InputError, VerifyError
from shim.scan.installed import Distribution
from shim.wheels.record import RecordRow, format_record, parse_record

_RECORD = "RECORD"


def apply_edits(
    distribution: Distribution,
    contents: Mapping[str, bytes],
    recipes: Sequence[Mapping[str, Any]],
    diffs: Mapping[str, str],
) -> None:
    """Give files new contents, and RECORD with them. The caller holds the lock of the environment.

    Args:
        contents: by path under site-packages. diffs: what provenance says of each.
        recipes: what provenance says of who asked for it.

    Raises:
        InputError: a file cannot be read or written, or lies outside; everything is as it was then.
    """
    sweep(distribution)
    originals = {path: _original(distribution, path) for path in contents}
    record, record_path, originals_record = _new_record(distribution, contents, originals)
    originals[record_path] = originals_record
    files = _changed_files(distribution, {**contents, record_path: b""}, originals)
    done = make_document(distribution, Stage.DONE, recipes, files, diffs)
    rows = _added_rows(distribution, files, originals, done)
    everything = {**contents, record_path: record + format_record(rows, "\r\n" if b"\r\n" in record else "\n")}
    journal = make_document(distribution, Stage.CHANGING, recipes, files, diffs)
    try:
        _keep_originals(distribution, files, originals)
        put(folder_of(distribution) / FILE, journal)
        for file in files:
            place = place_of(distribution, file.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            put(place, everything[file.path], like=_stat(place))
            remove_bytecode(place)
        put(folder_of(distribution) / FILE, done)
    except BaseException as error:
        _roll_back(distribution)
        if isinstance(error, OSError):
            raise InputError(
                f"{distribution.name}: {error.filename or ''}: {error.strerror}; nothing was changed",
                hint="run as the user who installed it, with room on the disk",
            ) from error
        raise


def take_back(distribution: Distribution) -> tuple[str, ...]:
    """Put every original back, RECORD with them; also after a run that was interrupted. Returns the paths.

    Raises:
        InputError: a file was changed by somebody else since, an original is gone, or the folder is read-only.
    """
    applied = read_applied(distribution)
    if applied is None:
        drop_folder(distribution)
        return ()
    back = [(file, _to_restore(distribution, applied, file)) for file in applied.files]
    try:
        put(folder_of(distribution) / FILE, at_stage(applied.document, Stage.RESTORING))
        for file, content in back:
            _restore(distribution, file, content)
            _remove_drafts(place_of(distribution, file.path).parent)
        drop_folder(distribution)
    except OSError as error:
        raise InputError(
            f"{distribution.name}: {error.filename or ''}: {error.strerror}",
            hint="run it again as the user who installed it; what is missing is done then",
        ) from error
    return tuple(file.path for file, _ in back)


def sweep(distribution: Distribution) -> bool:
    """Take back what an interrupted run left. Returns whether there was any."""
    applied = read_applied(distribution)
    if applied is None:
        if not folder_of(distribution).exists():
            return False
        drop_folder(distribution)
        return True
    if applied.stage is Stage.DONE:
        return False
    take_back(distribution)
    return True


def _original(distribution: Distribution, path: str) -> bytes | None:
    place = place_of(distribution, path)
    try:
        return place.read_bytes() if place.exists() else None
    except OSError as error:
        raise InputError(f"{place}: {error.strerror}", hint="reinstall the package") from error


def _new_record(
    distribution: Distribution, contents: Mapping[str, bytes], originals: Mapping[str, bytes | None]
) -> tuple[bytes, str, bytes]:
    """RECORD with the new hashes, its path, and the old one."""
    path = f"{distribution.dist_info.name}/{_RECORD}"
    try:
        old = distribution.record.read_bytes()
    except OSError as error:
        raise InputError(f"{distribution.record}: {error.strerror}", hint="reinstall the package") from error
    rows = [_row(row.path, contents[row.path]) if row.path in contents else row for row in parse_record(old)]
    rows += [_row(name, contents[name]) for name, original in originals.items() if original is None]
    return format_record(rows, "\r\n" if b"\r\n" in old else "\n"), path, old


def _added_rows(
    distribution: Distribution, files: Sequence[ChangedFile], originals: Mapping[str, bytes | None], document: bytes
) -> list[RecordRow]:
    folder = folder_of(distribution).relative_to(distribution.site).as_posix()
    rows = [_row(f"{folder}/{FILE}", document)]
    rows += [
        _row(f"{folder}/{ORIGINALS}/{file.original}", originals[file.path] or b"") for file in files if file.original
    ]
    return rows


def _row(path: str, content: bytes) -> RecordRow:
    return RecordRow(path=path, algorithm="sha256", digest=sha256(content), size=len(content))


def _changed_files(
    distribution: Distribution, contents: Mapping[str, bytes], originals: Mapping[str, bytes | None]
) -> list[ChangedFile]:
    files = []
    for number, (path, content) in enumerate(contents.items()):
        place = place_of(distribution, path)
        original = originals[path]
        known = _stat(place)
        files.append(
            ChangedFile(
                path=path,
                before="" if original is None else sha256(original),
                after="" if _is_record(path) else sha256(content),  # it holds the hash of the document: no circle
                original="" if original is None else f"{number}-{place.name}",
                link=str(place.readlink()) if place.is_symlink() else "",
                mode=0o644 if known is None else stat.S_IMODE(known.st_mode),
            )
        )
    return files


def _is_record(path: str) -> bool:
    return path.endswith(f".dist-info/{_RECORD}")


def _stat(place: Path) -> os.stat_result | None:
    try:
        return place.stat()
    except OSError:
        return None


def _keep_originals(
    distribution: Distribution, files: Sequence[ChangedFile], originals: Mapping[str, bytes | None]
) -> None:
    folder = folder_of(distribution) / ORIGINALS
    folder.mkdir(parents=True)
    for file in files:
        content = originals[file.path]
        if content is not None:
            put(folder / file.original, content)


def _to_restore(distribution: Distribution, applied: Applied, file: ChangedFile) -> bytes | None:
    """The content to put back. A file that is neither the old nor the new one is somebody else's work."""
    place = place_of(distribution, file.path)
    original: bytes | None = None
    if file.original:
        kept = folder_of(distribution) / ORIGINALS / file.original
        try:
            original = kept.read_bytes()
        except OSError as error:
            raise InputError(f"{kept}: {error.strerror}", hint="the original is gone: reinstall the package") from error
        if sha256(original) != file.before:
            raise InputError(f"{kept}: is not the original of {file.path}", hint="reinstall the package")
    found = _original(distribution, file.path)
    digest = "" if found is None else sha256(found)
    if digest not in (file.before, file.after) and not _is_record(file.path):
        raise InputError(
            f"{place}: was changed after shim changed it (SHA-256 {digest or 'none: it is gone'})",
            hint="reinstall the package, or put that file back yourself",
        )
    return original


def _restore(distribution: Distribution, file: ChangedFile, original: bytes | None) -> None:
    place = place_of(distribution, file.path)
    if original is None:
        place.unlink(missing_ok=True)
    elif file.link:
        temporary = place.with_name(f".shim-{place.name}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(file.link)
        temporary.replace(place)
    else:
        put(place, original, like=_stat(place))
        place.chmod(file.mode)
    remove_bytecode(place)


def _remove_drafts(folder: Path) -> None:
    """Remove what `put` leaves when it is killed. The lock says that nobody is writing."""
    for left in folder.glob(".shim-*"):
        left.unlink(missing_ok=True)


def _roll_back(distribution: Distribution) -> None:
    """Back to where we were; when even that fails, the journal stays and `undo --env` finds it."""
    try:
        take_back(distribution)
    except (InputError, OSError) as error:
        raise VerifyError(
            f"{distribution.name}: a change was interrupted and could not be taken back: {error}",
            hint="mend what stands in the way, then run: shim undo --env",
        ) from error
