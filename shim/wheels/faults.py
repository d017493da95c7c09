"""What is wrong with an archive, in one wording: file, member, offset, expected, found, next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.errors import InputError

__all__ = ["REFETCH", "ArchiveError", "Fault"]

REFETCH = "fetch the file again, and compare its hash with the one its index publishes"
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong."""

    what: str
    member: str | None = None
    offset: int | None = None
    expected: str = ""
    found: str = ""
    hint: str = REFETCH

    def __str__(self) -> str:
        where = "" if self.member is None else f"member {self.member!r}"
        if self.offset is not None:
            where += f"{' ' if where else ''}at offset {self.offset}"
        text = f"{where}: {self.what}" if where else self.what
        if self.expected:
            text += f": expected {self.expected}"
        if self.found:
            text += f"{', ' if self.expected else ': '}found {self.found}"
        return text


class ArchiveError(InputError):
    """An archive cannot be trusted or read.

    Attributes:
        path: the archive.
        issues: every fault found, in the order of the file.
    """

    def __init__(self, path: Path, *issues: Fault) -> None:
        hints = list(dict.fromkeys(issue.hint for issue in issues))
        super().__init__(f"{path}: {_listed(issues)}", hint="; ".join(hints[:3]))
        self.path = path
        self.issues = issues


def _listed(issues: Sequence[Fault]) -> str:
    if len(issues) == 1:
        return str(issues[0])
    lines = [f"{len(issues)} faults", *(f"  {issue}" for issue in issues[:_SHOWN])]
    if len(issues) > _SHOWN:
        lines.append(f"  and {len(issues) - _SHOWN} more")
    return "\n".join(lines)
