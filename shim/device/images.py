"""Names of the machine code that a device loads."""

from __future__ import annotations

from typing import Final

from shim.arch import Arch, ComputeCapability, sass_loads

# What ptxas 13.5 makes machine code for (`ptxas --list-gpu-arch`), and what CUDA 12 made besides.
_MADE: Final = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 88, 89, 90, 100, 103, 107, 110, 120, 121)
_FIRST_ARCH_SPECIFIC: Final = 90
_FIRST_FAMILY_SPECIFIC: Final = 100


def machine_code_for(device: ComputeCapability) -> tuple[str, ...]:
    """Real architectures whose code loads on a device, in NVIDIA's order of preference (docs/formats.md 7.3)."""
    names = []
    for number in sorted({*_MADE, device.canonical.sm}, reverse=True):
        for suffix in ("a", "f", ""):
            if (suffix == "a" and number < _FIRST_ARCH_SPECIFIC) or (suffix == "f" and number < _FIRST_FAMILY_SPECIFIC):
                continue
            if sass_loads(Arch(ComputeCapability.from_sm(number), suffix), device):
                names.append(f"sm_{number}{suffix}")
    return tuple(names)
