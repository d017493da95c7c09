"""What is compiled first, and when no more is started: `--budget` (docs/patching.md, "What to compile first").

Nothing here has an effect; the clock is a parameter.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

HEAD_DIMENSIONS: Final[Mapping[int, int]] = {128: 80, 64: 45, 256: 22, 192: 19, 96: 10, 32: 2}
"""How many of 178 public kinds of models use attention kernels made for this head dimension.

Counted over the causal language models of transformers 5.23.0 in their default configurations: `head_dim`, else
`hidden_size / num_attention_heads`, rounded up to the next dimension that FlashAttention-2 has kernels for (80 takes
the kernels for 96; 144 and 160 those for 192). 16 with multi-head latent attention count for 192, the width of their
queries (128 without and 64 with rotary embedding).
"""

_ATTENTION = re.compile(r"Flash_(?:fwd|bwd)_kernel_traitsILi(\d{1,4})E")

FIRST_PACE: Final = 1 / 0.28e6
"""Seconds for a byte of PTX as long as nothing was compiled (ptxas 13.0 for sm_121, measured: 0.2 to 1.1 MB/s)."""

MARGIN: Final = 1.25
"""How much longer than the average of this run, byte for byte, a unit is taken to need."""

HARD: Final = 1.5
"""Times the budget after which what still runs is ended."""

_FIRST_WEIGHT = 1 << 20  # bytes that FIRST_PACE counts for beside what was measured

Rank = tuple[float, ...]
"""Lower comes first."""


def head_dimensions(names: Iterable[str]) -> frozenset[int]:
    """Head dimensions of the FlashAttention-2 kernels among these mangled names."""
    return frozenset(int(found[1]) for name in names if (found := _ATTENTION.search(name)))


def rank_of(names: Collection[str], size: int) -> Rank:
    """Where a container stands in the order.

    By the use of its head dimension; containers of other kernels stand beside the most used one. Then by the bytes of
    PTX for each kernel, so that cheap kernels come before costly ones.

    Args:
        names: mangled names of its kernels. size: bytes of its PTX.
    """
    uses = [HEAD_DIMENSIONS.get(dimension, 0) for dimension in head_dimensions(names)]
    place = sum(use > max(uses) for use in HEAD_DIMENSIONS.values()) if uses else 0
    return (place, size / max(len(names), 1))


class Budget:
    """Wall time that compiling may take. It starts with the first unit that is compiled; what is cached costs nothing.

    Args:
        seconds: after which nothing new is to be running.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._started: float | None = None
        self._size = float(_FIRST_WEIGHT)
        self._spent = _FIRST_WEIGHT * FIRST_PACE

    def now(self) -> float:
        """Seconds of its clock."""
        return self._clock()

    @property
    def _used(self) -> float:
        return 0.0 if self._started is None else self._clock() - self._started

    @property
    def until_end(self) -> float:
        """Seconds until units that still run are ended; 0 or less when that time is over."""
        return HARD * self._seconds - self._used

    def begin(self) -> None:
        """A unit is compiled now; the first call starts the clock."""
        if self._started is None:
            self._started = self._clock()

    def learn(self, size: int, seconds: float) -> None:
        """So many bytes of PTX took one compiler this long, beside whatever else the machine did."""
        self._size += size
        self._spent += seconds

    def expected(self, size: int) -> float:
        """Seconds one compiler will need for so many bytes."""
        return MARGIN * size * self._spent / self._size

    def fits(self, sizes: Collection[int], slots: int) -> bool:
        """Whether units of these sizes, several at once, would be done in time if they were started now."""
        longest = max(max(sizes, default=0), sum(sizes) / max(slots, 1))
        return self._used + self.expected(int(longest)) <= self._seconds


class Admission:
    """Says of each unit whether it may start. Without a budget, all may.

    Args:
        slots: units that are compiled at once.
    """

    def __init__(self, budget: Budget | None, slots: int) -> None:
        self._budget = budget
        self._slots = slots
        self._groups: dict[str, frozenset[str]] = {}
        self._missing: dict[str, dict[str, int]] = {}
        self._open: set[str] = set()
        self._started: dict[str, float] = {}

    def expect(self, unit: str, size: int, groups: frozenset[str]) -> None:
        """A unit of so many bytes that has to be compiled, for any of these groups: sets that are of use as a whole."""
        self._groups[unit] = groups
        for group in groups:
            self._missing.setdefault(group, {})[unit] = size

    def admits(self, unit: str) -> bool:
        """Whether one of its groups was begun, or can be done in time."""
        return any(self._may(group) for group in self._groups[unit])

    def start(self, unit: str) -> None:
        """It runs now."""
        self._open |= {group for group in self._groups[unit] if self._may(group)}
        if self._budget is not None:
            self._budget.begin()
            self._started[unit] = self._budget.now()

    def end(self, unit: str, *, compiled: bool) -> None:
        """It ended; when it was compiled, the time it took tells what others will take."""
        for group in self._groups[unit]:
            size = self._missing[group].pop(unit)
            if self._budget is not None and compiled:
                self._budget.learn(size, self._budget.now() - self._started[unit])
                compiled = False

    def seconds(self, most: float) -> float:
        """Wall time a unit may take that is started now, at most `most`. Any thread may ask."""
        return most if self._budget is None else min(most, max(self._budget.until_end, 0.0))

    def _may(self, group: str) -> bool:
        if self._budget is None or group in self._open:
            return True
        return self._budget.fits(list(self._missing[group].values()), self._slots)
