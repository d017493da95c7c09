"""What a rebuild will cost, before it is begun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shim.source.rules.files import translation_units, uses_torch
from shim.source.tree import SourceTree

# CPU seconds for one .cu and one architecture with nvcc 13.0, measured on x86-64: torch/types.h alone takes 54,
# torch/extension.h 125 to 145; causal-conv1d 243 to 256 for 3, torchsort 164 for one and its .cpp.
_TORCH: Final = (50.0, 145.0)
# Without torch: kage-cucounter 12 each, implicit 19 each of its 6.
_PLAIN: Final = (5.0, 30.0)
_BASE: Final = (10.0, 60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """units: .cu files. seconds: CPU seconds for one architecture, low and high."""

    units: int
    torch: bool
    low: float
    high: float

    def __str__(self) -> str:
        if not self.units:
            return "no CUDA sources"
        files = "1 CUDA source" if self.units == 1 else f"{self.units} CUDA sources"
        return f"{files}: about {_span(self.low, self.high)} of CPU time for one architecture"


def effort_of(tree: SourceTree, *, archs: int = 1) -> Effort:
    """Estimate from the number of .cu files, and whether they see torch's headers. Templates can cost far more."""
    return effort_for(len(translation_units(tree)), torch=uses_torch(tree), archs=archs)


def effort_for(units: int, *, torch: bool, archs: int = 1) -> Effort:
    """The same for a number of .cu files that is known, as after a probe."""
    low, high = _TORCH if torch else _PLAIN
    return Effort(units=units, torch=torch, low=_BASE[0] + low * units * archs, high=_BASE[1] + high * units * archs)


def _span(low: float, high: float) -> str:
    unit, size = ("hours", 3600) if high >= 2 * 3600 else ("minutes", 60) if high >= 120 else ("seconds", 1)
    return f"{max(low / size, 0.1):.2g} to {high / size:.2g} {unit}"
