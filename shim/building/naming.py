"""The rebuilt wheel under its final name: build tag, and the record of how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from shim.building.strategy import ArchPlan
from shim.wheels.archive import WheelArchive
from shim.wheels.deflate import DeflateMode
from shim.wheels.limits import Limits
from shim.wheels.metadata import with_build
from shim.wheels.name import parse_wheel_name, patched_build
from shim.wheels.writer import write_wheel

FILE: Final = "shim/rebuild.json"
SCHEMA: Final = "shim-rebuild/1"


def write_final(wheel: Path, folder: Path, plan: ArchPlan, record: Mapping[str, Any], *, force: bool) -> Path:
    """Write `<name>-<version>-<build>sm121-<tags>.whl` into a folder, with RECORD made anew.

    Raises:
        InputError: another file of that name is there, or the folder cannot be written.
    """
    name = parse_wheel_name(wheel.name)
    build = patched_build(name, (str(plan.arch.capability.sm),))
    out = folder / str(replace(name, build=build))
    folder.mkdir(parents=True, exist_ok=True)
    with WheelArchive.open(wheel, limits=Limits()) as archive:
        info = archive.dist_info
        text = b"".join(archive.stream(archive.member(f"{info}/WHEEL")))
        document = json.dumps({"schema": SCHEMA, **record}, indent=1, sort_keys=True).encode("utf-8") + b"\n"
        write_wheel(
            archive,
            out,
            replaced={f"{info}/WHEEL": with_build(text, build)},
            added={f"{info}/{FILE}": document},
            mode=DeflateMode.FAST,
            force=force,
        )
    return out
