"""Estimate of what the driver's compiler spends on PTX when its kernels are first used.

Measured with ptxas 13.0 -O3 on one core of server CPUs: the plain kernels of bitsandbytes and ctranslate2 run at 0.9 to
1.1 MB/s, 138 units of five libraries took 268 CPU seconds for 84 MB of text, and attention kernels full of tensor-core
code run at 0.05 MB/s. The driver's compiler
is of the same order. The cost falls due module by module, and once while the driver's cache keeps results.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shim.devicecode.model import ImageKind
from shim.model import JitCost
from shim.scan.containers import Decision

FAST: Final = 1.0e6  # bytes of PTX text a CPU second
SLOW: Final = 0.05e6


def jit_cost(decisions: Iterable[Decision]) -> JitCost | None:
    """CPU seconds the target spends compiling what it would take from these containers; None when nothing."""
    units = 0
    size = 0
    for decision in decisions:
        taken = decision.taken
        if decision.live and decision.chosen is not None and taken is not None and taken.kind is ImageKind.PTX:
            units += decision.count
            size += decision.group.decoded_bytes[decision.chosen]
    if units == 0:
        return None
    return _estimate(units, size)


def total(costs: Iterable[JitCost | None]) -> JitCost | None:
    """The cost of several libraries together; None when none has any."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return None
    return _estimate(sum(cost.units for cost in known), sum(cost.ptx_bytes for cost in known))


def _estimate(units: int, size: int) -> JitCost:
    return JitCost(
        units=units,
        ptx_bytes=size,
        seconds_low=round(size / FAST, 1),
        seconds_high=round(size / SLOW, 1),
    )
