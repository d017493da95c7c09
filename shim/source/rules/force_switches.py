"""`force-switches`: variables without which a build skips its CUDA part, or fetches a wheel instead of compiling.

FORCE_CUDA=1 (torch-scatter and its kin build for the CPU when no GPU is visible), <NAME>_FORCE_BUILD=TRUE
(causal-conv1d, flash-attn and others first try to download a wheel). Names and values are read from the build files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shim.source.rules.env_reads import EnvRead, first_of_each
from shim.source.rules.model import BuildSetting

CODE: Final = "force-switches"

_NAME: Final = re.compile(
    r"(?:\w+_)?FORCE_(?:BUILD|CUDA)|(?:\w+_)?(?:BUILD|WITH|USE|ENABLE)_CUDA(?:_EXT)?|\w+_BUILD_EXT"
)
_YES_OF_NO: Final = {"0": "1", "FALSE": "TRUE", "False": "True", "false": "true", "OFF": "ON", "off": "on", "NO": "YES"}


def settings(reads: tuple[EnvRead, ...]) -> Iterator[BuildSetting]:
    """One setting for each switch that the build files read and that is not on by default."""
    for name, read in first_of_each(reads).items():
        if _NAME.fullmatch(name) is None or read.default in _YES_OF_NO.values():
            continue
        yield BuildSetting(
            name=name,
            value=_on(read),
            origin=CODE,
            why=f"{read.path} leaves the CUDA part out, or fetches a wheel, without it",
        )


def _on(read: EnvRead) -> str:
    if read.compared is not None and read.compared not in _YES_OF_NO:
        return read.compared
    return _YES_OF_NO.get(read.default or "", "1")
