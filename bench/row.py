"""One line of the table: a figure, the peer it is measured against, and the goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from measure import Spread

_HEAD = ("what", "input", "shim", "peer", "figure", "goal", "reached")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure with its goal.

    Attributes:
        figure: a ratio of two medians of the same run, or an amount with a unit.
        goal: "" where there is none; reached: None then.
    """

    what: str
    subject: str
    shim: str
    peer: str
    figure: str
    goal: str = ""
    reached: bool | None = None


def faster(what: str, subject: str, shim: Spread, peer: Spread, name: str, *, goal: float | None = None) -> Row:
    """How many times faster than the peer."""
    ratio = peer.wall / shim.wall
    return Row(
        what=what,
        subject=subject,
        shim=str(shim),
        peer=f"{name}: {peer}",
        figure=f"{ratio:.1f}x faster (CPU {peer.cpu / shim.cpu:.1f}x)",
        goal="" if goal is None else f"at least {goal:g}x",
        reached=None if goal is None else ratio >= goal,
    )


def within(what: str, subject: str, shim: Spread, peer: Spread, name: str, *, goal: float) -> Row:
    """How many times the time of a peer that does the bare minimum."""
    ratio = shim.wall / peer.wall
    return Row(
        what=what,
        subject=subject,
        shim=str(shim),
        peer=f"{name}: {peer}",
        figure=f"{ratio:.2f}x the time (CPU {shim.cpu / peer.cpu:.2f}x)",
        goal=f"at most {goal:g}x",
        reached=ratio <= goal,
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    for row in rows:
        reached = "" if row.reached is None else "yes" if row.reached else "**no**"
        cells = (row.what, row.subject, row.shim, row.peer, row.figure, row.goal, reached)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
