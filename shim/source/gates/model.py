"""What a gate is: one place in a source file that decides by the GPU, and what that does on the target."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shim.model import Confidence


class Sign(StrEnum):
    """What opening or widening a gate would do to the package."""

    POSITIVE = "positive"  # allows a path: the target is shut out, or let in
    NEGATIVE = "negative"  # disables a path that is broken on listed devices; the target slips past it
    TOO_WIDE = "too-wide"  # lets the target into code it does not have (family 100 on 12.x)
    EXACT = "exact-on-purpose"  # exact because the code or its numbers are for that device alone
    NEUTRAL = "neutral"  # chooses tuning or prints; nothing is allowed or refused


class Effect(StrEnum):
    """What the gate does on the target."""

    REFUSES = "refuses"  # raises, asserts, or reports the package or feature as unsupported
    DISABLES = "disables"  # takes a slower or other path, or leaves a feature out
    MISLEADS = "misleads"  # takes a path that is broken or not compiled for the target
    DROPS = "drops-arch"  # a build that names the target would not compile for it
    BREAKS_BUILD = "breaks-build"  # the build fails with the target's toolkit or libraries
    TUNES = "tunes"  # other numbers, same path
    NONE = "none"  # the target is treated as it should be


CHANGES = frozenset({Effect.REFUSES, Effect.DISABLES, Effect.MISLEADS, Effect.DROPS, Effect.BREAKS_BUILD})
"""Effects that count as "would change behaviour on the target"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One place in a source file, build file or compiled library.

    Attributes:
        path: file or member. line: from 1 (0: not a line, then `offset` of the bytes in the file is set).
        scope: qualified name of the function or class around it, "" at module level.
        form: stable kebab-case name of what was recognised, such as "compare-tuple" (docs/gates.md has the table).
        text: the source itself, one line, at most 200 characters.
        words: the effect on the target in one sentence for people.
    """

    path: str
    line: int
    scope: str
    form: str
    sign: Sign
    effect: Effect
    confidence: Confidence
    text: str
    words: str
    offset: int | None = None

    @property
    def changes(self) -> bool:
        """Whether the target would be treated otherwise than its equals (12.0 cards)."""
        return self.effect in CHANGES
