"""How a patched file is laid out, and the rule that decides it (docs/patching.md, "Layouts")."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shim.scan.words import size_text


class Layout(StrEnum):
    """Three ways to write a library whose containers change."""

    REPACK = "repack"
    """A: all containers are written anew into the old section; unused pages are cut out of the file."""
    APPEND = "append"
    """B: changed containers go into a new segment at the end; the old ones stay, dead."""
    MOVE = "move"
    """C: all containers go into a new segment at the end; the old section is cut out of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutChoice:
    """A layout and why it was taken."""

    layout: Layout
    why: str


MOST_DEAD_SHARE = 0.05
MOST_DEAD_BYTES = 1 << 20


def choose_layout(
    *, asked: Layout | None, file_size: int, section_size: int, arena_size: int, dead_size: int, program: bool
) -> LayoutChoice:
    """Apply the rule.

    Args:
        file_size: bytes of the file. section_size: of `.nv_fatbin`; 0 when there is none by that name.
        arena_size: what all containers of that section take when written anew.
        dead_size: bytes of old containers that layout B would leave behind.
        program: an executable, not a shared library.
    """
    if asked is not None:
        return LayoutChoice(layout=asked, why="asked for")
    if section_size and arena_size <= section_size:
        return LayoutChoice(layout=Layout.REPACK, why="all containers fit where they are")
    if program:
        return LayoutChoice(layout=Layout.APPEND, why="a program, whose segments stay where they are")
    if section_size and dead_size > max(MOST_DEAD_BYTES, MOST_DEAD_SHARE * file_size):
        return LayoutChoice(layout=Layout.MOVE, why=f"appending would leave {size_text(dead_size)} dead")
    return LayoutChoice(layout=Layout.APPEND, why="little is left behind")


def fallbacks(choice: LayoutChoice, *, asked: Layout | None, program: bool) -> tuple[Layout, ...]:
    """What is tried, in this order, when a file cannot be written in the chosen layout. Nothing when one was asked for.

    Appending asks least of a file, so it comes last. Programs never have their segments moved.
    """
    if asked is not None:
        return ()
    order = (Layout.REPACK, Layout.APPEND) if program else (Layout.REPACK, Layout.MOVE, Layout.APPEND)
    return order[order.index(choice.layout) + 1 :]
