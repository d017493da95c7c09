"""The devices a test is tried on, and how a compute capability is written in Python sources.

A test is not read as text: it is evaluated for every device of the panel. What counts is where the target comes out
otherwise than its sibling (the first device of its generation, 12.0 for 12.1), or is shut out where older devices
are let in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shim.arch import ComputeCapability

UNKNOWN: Final = object()
"""The value of everything that does not follow from the device."""

_KNOWN: Final = tuple(ComputeCapability.from_sm(sm) for sm in (70, 75, 80, 86, 87, 89, 90, 100, 103, 110, 120))
_GENERIC_UNTIL: Final = 8  # majors whose code has no single-generation instructions (no wgmma, no tcgen05)

_ARCH_TEXT: Final = re.compile(r"(sm_|sm|SM_|SM|compute_|compute|lto_)?(\d{1,2}0|\d{1,2}[1-9])([af]?)")
_DOTTED_TEXT: Final = re.compile(r"(sm_|sm|SM)?(\d{1,2})\.(\d)([af]?)(\+PTX)?")
_MAJOR_TEXT: Final = re.compile(r"(sm_|sm|SM)?(\d{1,2})")


@dataclass(frozen=True, slots=True)
class Shapeless:
    """The capability of a device, in a form that only the comparison shows: (12, 1), 121, 12.1, "sm_121", "12.1"."""

    device: ComputeCapability

    def shaped_like(self, other: object) -> object:
        """Written as `other` is; UNKNOWN when `other` is no capability.

        A number below 20 stands for a major, one from 50 to 139 for 10 * major + minor, one from 500 for the value
        of `__CUDA_ARCH__`.
        """
        major, minor, sm = self.device.major, self.device.minor, self.device.sm
        if isinstance(other, Shapeless):
            return sm
        if isinstance(other, tuple):
            if not other or not all(isinstance(part, int) for part in other) or not _is_major(other[0]):
                return UNKNOWN
            return (major, minor)[: len(other)] if len(other) <= 2 and all(part < 10 for part in other[1:]) else UNKNOWN
        if isinstance(other, bool) or other is None:
            return UNKNOWN
        if isinstance(other, int):
            return _shaped_int(self.device, other)
        if isinstance(other, float):
            return major + minor / 10 if 5 <= other < 14 else UNKNOWN
        if isinstance(other, str):
            return _shaped_text(self.device, other)
        return UNKNOWN


def panel(target: ComputeCapability) -> tuple[ComputeCapability, ...]:
    """Devices that are tried, in order; the target is among them."""
    return tuple(sorted({*_KNOWN, target}))


def sibling(target: ComputeCapability) -> ComputeCapability:
    """First device of the target's generation: what upstream had when it wrote "Blackwell, 12.x"."""
    return ComputeCapability(target.major, 0)


def is_generic(device: ComputeCapability) -> bool:
    """Whether code for the device is code that every later one can run when it is compiled again."""
    return device.major <= _GENERIC_UNTIL


def capability_in(value: object) -> ComputeCapability | None:
    """The capability that a literal names: (12, 0), "sm_120a", "12.0", 120; None for anything else."""
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, int) for part in value):
        return ComputeCapability(*value) if _is_major(value[0]) and value[1] < 10 else None
    if isinstance(value, int) and not isinstance(value, bool):
        return ComputeCapability.from_sm(value) if 50 <= value < 140 else None
    if isinstance(value, str):
        if found := _ARCH_TEXT.fullmatch(value):
            return ComputeCapability.from_sm(int(found[2])) if int(found[2]) >= 50 else None
        if (found := _DOTTED_TEXT.fullmatch(value)) and _is_major(int(found[2])):
            return ComputeCapability(int(found[2]), int(found[3]))
    return None


def _is_major(number: int) -> bool:
    return number == 0 or 2 <= number <= 13


def _shaped_int(device: ComputeCapability, other: int) -> object:
    if 3 <= other < 20:
        return device.major
    if 30 <= other < 140:
        return device.sm
    if 300 <= other < 1400 and other % 10 == 0:
        return device.sm * 10
    return UNKNOWN


def _shaped_text(device: ComputeCapability, other: str) -> object:
    if (found := _DOTTED_TEXT.fullmatch(other)) and _is_major(int(found[2])):
        return f"{found[1] or ''}{device}{found[4]}{found[5] or ''}"
    if (found := _ARCH_TEXT.fullmatch(other)) and int(found[2]) >= 30:
        return f"{found[1] or ''}{device.sm}{found[3]}"
    if (found := _MAJOR_TEXT.fullmatch(other)) and 5 <= int(found[2]) < 14:
        return f"{found[1] or ''}{device.major}"
    return UNKNOWN
