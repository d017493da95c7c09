"""shim: does this CUDA wheel run on that GPU, and how can it be made to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shim.device.detect import detect as detect
    from shim.device.model import Detection as Detection
    from shim.device.model import GpuDevice as GpuDevice

__version__ = "0.1.0"
__all__ = ["Detection", "GpuDevice", "__version__", "detect"]

_HOMES = {"detect": "shim.device.detect", "Detection": "shim.device.model", "GpuDevice": "shim.device.model"}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: `import shim` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'shim' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
