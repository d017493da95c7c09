"""Loose GPU code by architecture: thousands of .cubin files in a few lines."""

from __future__ import annotations

from collections.abc import Sequence

from shim.model import Fit, LibraryReport, LooseCount
from shim.scan.verdict import short_names
from shim.scan.words import size_text

_FILES = ("cubin", "ptx", "ltoir")
_WORDS = {Fit.UNPROVEN: "same-major, unproven", Fit.OTHER_ARCH: "for other GPUs", Fit.NO_CODE: "empty"}


def fit_words(fit: Fit) -> str:
    """What the target makes of a container or loose image, in the words of the table."""
    return _WORDS.get(fit, str(fit))


def loose_lines(libraries: Sequence[LibraryReport]) -> list[str]:
    """One line an architecture and fit, for every set of GPU code files with more than one of them."""
    lines = []
    names = short_names(libraries)
    for library in libraries:
        if len(library.loose) < 2 or library.format not in _FILES:
            continue  # the table says it all; bare images in a library's data are its own affair
        lines.append(f"{names[library.member]}, image by image:")
        places = [max(len(cell) for cell in column) for column in zip(*map(_cells, library.loose), strict=True)]
        for one in library.loose:
            name, count, size = (
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(_cells(one), places, strict=True))
            )
            lines.append(f"  {name}  {count}  {size}  {fit_words(one.fit)}")
    return lines


def _cells(one: LooseCount) -> tuple[str, str, str]:
    return one.image, f"{one.count:,}", size_text(one.size)
