"""Which distributions a package depends on, on the machine that is judged for."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def names_for(requirements: Iterable[Requirement], machine: str | None) -> frozenset[str]:
    """Normalised names of the requirements that hold on Linux on that processor, without extras.

    Args:
        machine: "aarch64" or "x86_64"; None for the processor shim runs on.
    """
    from packaging.utils import canonicalize_name

    environment = {
        "platform_machine": machine or platform.machine(),
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "extra": "",
    }
    return frozenset(
        str(canonicalize_name(requirement.name))
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    )
