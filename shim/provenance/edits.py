"""Reverse data of a single patched file: its old size and the bytes that were overwritten, as JSON beside it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from shim.applying.inject import PatchedFile
from shim.errors import InputError
from shim.provenance.document import Digests

SCHEMA = "shim-undo-file/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUndo:
    """How to get the original back: cut the patched file to `size` and write `edits` (offset, bytes) into it."""

    size: int
    sha256: str
    patched_sha256: str
    edits: tuple[tuple[int, bytes], ...]


def pack_edits(patched: PatchedFile, digests: Digests) -> bytes:
    """The reverse data of one file."""
    document = {
        "schema": SCHEMA,
        "size": patched.original_size,
        "sha256": digests.before,
        "patched_sha256": digests.after,
        "edits": [[offset, base64.b64encode(data).decode("ascii")] for offset, data in patched.undo],
    }
    return (json.dumps(document, sort_keys=True) + "\n").encode()


def unpack_edits(data: bytes, where: str) -> FileUndo:
    """Read reverse data.

    Raises:
        InputError: it is not that, or contradicts itself.
    """
    try:
        document: dict[str, Any] = json.loads(data)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        undo = FileUndo(
            size=int(document["size"]),
            sha256=str(document["sha256"]),
            patched_sha256=str(document["patched_sha256"]),
            edits=tuple((int(offset), base64.b64decode(text, validate=True)) for offset, text in document["edits"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where}: not the reverse data of a file patched by shim ({error})") from error
    if undo.size < 0 or any(offset < 0 or offset + len(part) > undo.size for offset, part in undo.edits):
        raise InputError(f"{where}: an edit leaves the {undo.size} bytes of the original")
    return undo
