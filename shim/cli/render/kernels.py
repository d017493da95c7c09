"""The kernels of a scan that deserve a look, as text. All of them are in the JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from shim.model import LibraryReport
from shim.scan.words import plural, size_text

_SHOWN: Final = 8
_NAME: Final = 100
_ORDER: Final = ("missing", "nothing", "suspicious-empty-kernel", "other-arch-only")


def kernel_lines(libraries: Sequence[LibraryReport]) -> Iterator[str]:
    """Lines on the kernels of each library that was looked into; none without `--kernels`."""
    for library in libraries:
        if library.kernels is None:
            continue
        counts = Counter(note.status for note in library.kernels)
        summary = ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
        yield f"kernels of {library.member}: {plural(len(library.kernels), 'kernel')} ({summary or 'none'})"
        for status in _ORDER:
            notes = [note for note in library.kernels if note.status == status]
            for note in notes[:_SHOWN]:
                size = f", {size_text(note.size)} against {size_text(note.largest)}" if note.size is not None else ""
                name = note.name if len(note.name) <= _NAME else f"{note.name[: _NAME - 3]}..."
                yield f"  {status}: {name} in container {note.container} [{' '.join(note.images)}{size}]"
            if len(notes) > _SHOWN:
                yield f"  {status}: and {len(notes) - _SHOWN:,} more (--format json has all)"
