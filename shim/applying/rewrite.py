"""A file with other containers: what to write, and which bytes of the original stand where afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shim import _core
from shim.errors import PlanError
from shim.planning import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A new container, in pieces.

    Attributes:
        offset: of the old container. wrappers: file offsets of the wrapper records that will share the new one.
        pieces: bytes, or (offset, size) of ranges of the original; the first holds the 16-byte header.
    """

    offset: int
    wrappers: tuple[int, ...]
    pieces: tuple[bytes | tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldRange:
    """Bytes of the original file, and where they stand in the new one; `at` None when they are not in it."""

    offset: int
    size: int
    at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """What was written.

    Attributes:
        containers: file offset of each edit's container, in order.
        old: the original from its first byte to its last, ascending, without gap or overlap.
        strip_unsafe: GNU strip and objcopy would damage the new file.
    """

    layout: Layout
    original_size: int
    size: int
    containers: tuple[int, ...]
    old: tuple[OldRange, ...]
    strip_unsafe: bool


def rewrite(source: Path, dest: Path, edits: Sequence[Edit], layout: Layout, *, member: str) -> Rewritten:
    """Write `dest`, which must not exist: `source` with the edits.

    Args:
        member: name for messages.

    Raises:
        PlanError: the ELF file cannot be written in this layout (docs/patching.md lists the cases); no `dest` then.
    """
    drafts = [(edit.offset, edit.wrappers, edit.pieces) for edit in edits]
    try:
        result = _core.rewrite_containers(source, dest, drafts, layout=layout.value)
    except _core.RewriteRefused as error:
        raise PlanError(
            f"{member}: {error}", hint="Rebuild it from source for the target; docs/patching.md has the cases."
        ) from error
    return Rewritten(
        layout=layout,
        original_size=result.original_size,
        size=result.size,
        containers=tuple(result.containers),
        old=tuple(OldRange(offset=offset, size=size, at=None if at < 0 else at) for offset, size, at in result.old),
        strip_unsafe=result.strip_unsafe,
    )
