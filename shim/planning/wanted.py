"""What a user asks of binary patching."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shim.arch import Target
from shim.planning.layout import Layout


class Slim(StrEnum):
    """What is left out of containers."""

    OFF = "off"
    KEEP_PTX = "keep-ptx"
    """Machine code that no target loads, and PTX that no target would take. The newest usable PTX stays."""
    SASS_ONLY = "sass-only"
    """Also the PTX, where every target has machine code."""


class Packing(StrEnum):
    """How new images, and old ones that were stored, are compressed (fatbinary's --compress-mode)."""

    NONE = "none"
    BALANCE = "balance"
    SIZE = "size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to do; equal wishes on equal files give equal results.

    Attributes:
        targets: devices that every container should hold machine code for, at least one.
        restamp: machine code of 12.0a may be marked as 12.1a (`--experimental-restamp`).
        packing: of new images. repack_old: compress old stored images too (`--recompress`).
        layout: None = by the rule of `shim.planning.layout`.
    """

    targets: tuple[Target, ...] = field(default_factory=lambda: (Target(),))
    slim: Slim = Slim.OFF
    restamp: bool = False
    packing: Packing = Packing.BALANCE
    repack_old: bool = False
    layout: Layout | None = None
