"""Numbers and counts as people read them. Used by the reasons of reports and by the tables."""

from __future__ import annotations

from collections.abc import Iterable


def size_text(size: int) -> str:
    """Bytes in decimal units, as package indexes and file managers show them: 23.8 MB."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def seconds_text(seconds: float) -> str:
    """A duration with the precision of an estimate: "40 s", "4 min", "3.8 h"."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def span_text(low: float, high: float) -> str:
    """A range of durations: "40 s to 4 min", "2 to 12 min"."""
    first, last = seconds_text(low), seconds_text(high)
    if first == last:
        return first
    number, unit = first.split()
    return f"{number if last.endswith(f' {unit}') else first} to {last}"


def plural(count: int, noun: str) -> str:
    """ "1 container", "34 containers", "2 libraries"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def listing(items: Iterable[str], *, limit: int = 8) -> str:
    """ "sm_90a, sm_100f and 3 more"."""
    names = list(items)
    shown = names if len(names) <= limit else names[: limit - 1]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def version_text(version: tuple[int, int]) -> str:
    """(13, 0) -> "13.0"."""
    return f"{version[0]}.{version[1]}"
