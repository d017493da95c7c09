"""What of the source archive stands where in the archive that is being written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shim.wheels.archive import WheelArchive
from shim.wheels.compare import Comparison
from shim.wheels.record import RecordRow

__all__ = ["CopiedRange", "Layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedRange:
    """Bytes of the source that stand unchanged in the output."""

    source_offset: int
    offset: int
    """Where in the output."""

    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The output so far: all members but those that depend on it, RECORD and the central directory."""

    source: WheelArchive
    size: int
    """Bytes written so far."""

    temporary: Path
    """The file with those bytes."""

    copies: tuple[CopiedRange, ...]
    """Ascending in the output."""

    comparisons: tuple[Comparison, ...]
    """The members that changed, in the order of the source."""

    rows: Mapping[str, RecordRow]
    """RECORD rows of the members that changed or were added, by path."""
