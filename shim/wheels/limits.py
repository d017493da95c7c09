"""How much a zip file may ask of this machine before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what a zip's directory may promise.

    A member that inflates to more than it promises is refused in any case. The error of each bound names the
    option that moves it.
    """

    max_members: int = 200_000
    """Entries of the central directory (`--max-members`). The largest CUDA wheels have about 15,000."""

    max_member_size: int = 16 * GIB
    """Inflated bytes of one member (`--max-member-size`)."""

    max_total_size: int = 64 * GIB
    """Inflated bytes of all members (`--max-total-size`)."""

    max_ratio: float = 200.0
    """Inflated over compressed bytes, for each member and for the whole (`--max-ratio`).

    Deflate reaches 1032 at most; CUDA libraries reach 8.
    """

    ratio_floor: int = 64 << 20
    """Below this many inflated bytes no ratio is judged: a small explosion does no harm."""

    allow_case_clash: bool = False
    """Accept members whose paths differ only by letter case (`--allow-case-clash`)."""
