"""Building for another processor is refused, with the reason."""

from __future__ import annotations

import platform

from shim.errors import PlanError


def check_machine(wanted: str | None, *, present: str | None = None) -> None:
    """Nothing when the wheel will run on this kind of processor.

    Raises:
        PlanError: it would not.
    """
    present = platform.machine() if present is None else present
    if wanted is None or wanted == present:
        return
    raise PlanError(
        f"a wheel for {wanted} cannot be built on {present}: its host code, and the Python and torch it is linked "
        f"against, are of the other processor",
        hint=f"run it on {wanted} (a DGX Spark builds its own wheels), or in a {wanted} container under qemu, where "
        f"nvcc takes 10 to 20 times as long; --platform native builds for {present}, and --dry-run shows the plan here",
    )
