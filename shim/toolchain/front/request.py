"""Which architectures a build is to be given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from shim.arch import ComputeCapability
from shim.errors import UsageError

_NAME = re.compile(r"\d{2,3}[af]?")


class Mode(StrEnum):
    """What becomes of the architectures that a build asks nvcc for."""

    ADD = "add"
    REPLACE = "replace"
    DROP_ONLY = "drop-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchRequest:
    """Architectures for every nvcc call of a build.

    In every mode the ones that nvcc does not know are dropped. `add` adds these, `replace` puts these in the place of
    all others, `drop-only` uses them only where nothing else is left.

    Attributes:
        sass: architectures to make machine code for, like "121", "121a" or "120f"; at least one.
        ptx: architectures to keep PTX for, like "80".

    Raises:
        UsageError: a name is no architecture, or there is none.
    """

    sass: tuple[str, ...]
    ptx: tuple[str, ...] = ()
    mode: Mode = Mode.ADD

    def __post_init__(self) -> None:
        if not self.sass:
            raise UsageError("no architecture to build for")
        for name in (*self.sass, *self.ptx):
            if not _NAME.fullmatch(name):
                raise UsageError(f"not an architecture: {name!r} (expected a form like 121 or 120f)")

    @classmethod
    def of(cls, device: ComputeCapability, *, mode: Mode = Mode.ADD) -> Self:
        """Machine code for exactly this capability."""
        return cls(sass=(str(device.sm),), mode=mode)

    @property
    def flags(self) -> tuple[str, ...]:
        """The same as nvcc options."""
        pairs = [(arch, f"sm_{arch}") for arch in self.sass] + [(arch, f"compute_{arch}") for arch in self.ptx]
        return tuple(f"-gencode=arch=compute_{arch},code={code}" for arch, code in pairs)
