"""Runs with `--budget` that take up where the last one stopped: their result may take the place of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shim.errors import InputError
from shim.verifying.standalone import read_provenance
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits

_LEFT_OUT = "left_out_by_budget"


def continues(new: Path, old: Path, limits: Limits) -> bool:
    """Whether a new wheel is what the old one was on its way to be.

    That is: both were made by shim from the same original for the same request, and the new one lacks only containers
    that the old one lacks too. A file that cannot be read as a patched wheel is none.
    """
    before, after = _provenance(old, limits), _provenance(new, limits)
    if before is None or after is None or before.get("original") != after.get("original"):
        return False
    was, now = dict(before.get("request", {})), dict(after.get("request", {}))
    lacked, lacks = was.pop(_LEFT_OUT, []), now.pop(_LEFT_OUT, [])
    return bool(lacked) and was == now and all(place in lacked for place in lacks)


def _provenance(path: Path, limits: Limits) -> dict[str, Any] | None:
    try:
        with WheelArchive.open(path, limits=limits) as archive:
            return read_provenance(archive)
    except InputError:
        return None
