"""CUDA_VISIBLE_DEVICES, for those who see all devices (NVML does not honour it).

CUDA Programming Guide, "CUDA environment variables": a comma-separated list of ordinals or of unambiguous starts of
UUIDs; what follows the first invalid entry is ignored; empty hides all devices.
"""

from __future__ import annotations

from collections.abc import Sequence


def visible(value: str | None, uuids: Sequence[str]) -> list[int]:
    """Positions of the devices that a CUDA program sees, in its order.

    Args:
        value: of the variable; None when it is not set.
        uuids: of all devices as NVML writes them ("GPU-..."), in the order of PCI bus ids.
    """
    if value is None:
        return list(range(len(uuids)))
    found: list[int] = []
    for entry in value.split(","):
        position = _position(entry.strip(), uuids)
        if position is None or position in found:
            return [] if position in found else found
        found.append(position)
    return found


def _position(entry: str, uuids: Sequence[str]) -> int | None:
    if entry.isascii() and entry.isdigit():
        return int(entry) if int(entry) < len(uuids) else None
    if entry.startswith("MIG-"):
        return 0 if len(uuids) == 1 else None  # an instance of a device; which one only the driver knows
    if entry.startswith("GPU-"):
        fitting = [i for i, uuid in enumerate(uuids) if uuid.startswith(entry)]
        return fitting[0] if len(fitting) == 1 else None
    return None
