"""`shim verify FILE`: is a patched library, which is in no wheel, what the provenance beside it says?"""

from __future__ import annotations

import hashlib
from pathlib import Path

from shim.applying.events import Watcher
from shim.applying.single import PROVENANCE_SUFFIX, read_beside
from shim.devicecode import read_path
from shim.errors import InputError
from shim.verifying.images import HINT, Ranges, check_images, check_promises, targets_of
from shim.verifying.standalone import Verified


def verify_single(path: Path, watcher: Watcher) -> Verified:
    """Check hash, new images and promised grades of a patched file against the provenance beside it.

    Raises:
        InputError: there is no provenance for this very file, or it is garbled. VerifyError: something is not as
            stated.
    """
    watcher.phase("verify", path.stat().st_size)
    document = read_beside(path)
    if document is None:
        raise InputError(
            f"{path.name}: no provenance of this file (its SHA-256) stands beside it as {path.name}{PROVENANCE_SUFFIX}",
            hint="A file that shim did not patch has none; one that it did was changed since, or moved without it.",
        )
    code = read_path(path, member=path.name)
    try:
        (member,) = document["members"]
        targets = targets_of(document["request"])
        images = check_images(code, member["containers"], lambda ranges: _digests(path, ranges))
        grades = check_promises(code, member["grades"], targets)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path.name}: its provenance lacks or garbles {error}", hint=HINT) from error
    return Verified(
        members=0,
        patched=True,
        target=", ".join(str(target.device) for target in targets),
        libraries=tuple(grades),
        images=images,
        edits=0,
    )


def _digests(path: Path, ranges: Ranges) -> list[str]:
    found = []
    with path.open("rb") as file:
        for at, size in ranges:
            file.seek(at)
            found.append(hashlib.sha256(file.read(size)).hexdigest())
    return found
