"""What was done to an installed distribution: `<dist-info>/shim/applied/`, with the original of every edited file.

`provenance.json` there is both the record for people and the journal: it stands before the first file changes, and
goes when the last one is back. So whatever interrupts a run, `take_back` finds what it needs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from shim.errors import InputError
from shim.scan.installed import Distribution

SCHEMA: Final = "shim-applied/1"
FOLDER: Final = "shim/applied"
FILE: Final = "provenance.json"
ORIGINALS: Final = "originals"
_LARGEST: Final = 64 << 20


class Stage(StrEnum):
    """How far a run came. Anything but DONE means that it was interrupted."""

    CHANGING = "changing"
    DONE = "done"
    RESTORING = "restoring"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """One file, relative to site-packages.

    Attributes:
        before: SHA-256 of the original, "" for a file that was added. after: of the new one.
        original: name of its copy under `originals/`, "" for a file that was added.
        link: where it pointed when it was a symbolic link, else "".
        mode: permission bits of the original.
    """

    path: str
    before: str
    after: str
    original: str
    link: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A provenance document as far as shim acts on it. RECORD is the last of `files`."""

    stage: Stage
    recipes: tuple[str, ...]
    files: tuple[ChangedFile, ...]
    document: Mapping[str, Any]


def folder_of(distribution: Distribution) -> Path:
    """Where the originals and the record of one distribution are."""
    return distribution.dist_info / FOLDER


def read_applied(distribution: Distribution) -> Applied | None:
    """What was applied, None when nothing was.

    Raises:
        InputError: the document was changed by somebody else, or is of another version of shim.
    """
    path = folder_of(distribution) / FILE
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: more than {_LARGEST} bytes", hint=_HINT)
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint=_HINT) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}", hint=_HINT) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise InputError(f"{path}: expected schema {SCHEMA}, found {found!r}", hint="use the shim that wrote it")
    try:
        return Applied(
            stage=Stage(document["stage"]),
            recipes=tuple(str(recipe["id"]) for recipe in document["recipes"]),
            files=tuple(_file(entry, distribution) for entry in document["files"]),
            document=document,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not as shim wrote it ({error})", hint=_HINT) from error


_HINT: Final = "it was changed after shim wrote it; reinstall the package"


def _file(entry: Mapping[str, Any], distribution: Distribution) -> ChangedFile:
    file = ChangedFile(
        path=str(entry["path"]),
        before=str(entry["before"]),
        after=str(entry["after"]),
        original=str(entry["original"]),
        link=str(entry["link"]),
        mode=int(entry["mode"]),
    )
    place_of(distribution, file.path)
    if "/" in file.original or file.original in (".", ".."):
        raise ValueError(f"original {file.original!r} leads out of its folder")
    return file


def place_of(distribution: Distribution, path: str) -> Path:
    """The file of that path under site-packages.

    Raises:
        InputError: it is outside, or in a folder that is a link to a place outside: it belongs to somebody else.
    """
    site = distribution.site.resolve()
    place = distribution.site / path
    if Path(path).is_absolute() or ".." in Path(path).parts or not place.parent.resolve().is_relative_to(site):
        raise InputError(
            f"{path}: lies outside of {distribution.site}",
            hint="the package is not installed there in full (an editable or linked one); install it from a wheel",
        )
    return place


def make_document(
    distribution: Distribution,
    stage: Stage,
    recipes: Sequence[Mapping[str, Any]],
    files: Sequence[ChangedFile],
    diffs: Mapping[str, str],
) -> bytes:
    """The text of `provenance.json`. It holds no time, so that equal runs write equal bytes."""
    from shim import __version__

    document = {
        "schema": SCHEMA,
        "shim": __version__,
        "stage": stage.value,
        "distribution": distribution.name,
        "version": distribution.version,
        "recipes": list(recipes),
        "files": [
            {
                "path": file.path,
                "before": file.before,
                "after": file.after,
                "original": file.original,
                "link": file.link,
                "mode": file.mode,
                "diff": diffs.get(file.path, ""),
            }
            for file in files
        ],
    }
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def at_stage(document: Mapping[str, Any], stage: Stage) -> bytes:
    """The same document at another stage."""
    return (
        json.dumps({**document, "stage": stage.value}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    ).encode()


def drop_folder(distribution: Distribution) -> None:
    """Remove the record and the originals, and the folder around them when shim has nothing else there."""
    folder = folder_of(distribution)
    (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    if folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()
