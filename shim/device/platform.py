"""The machine around the GPU, from files alone: DGX OS release, DMI, device tree, /proc, WSL and container signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shim.arch import ComputeCapability
from shim.device.model import Platform

_SPARK: Final = ComputeCapability(12, 1)
# Device tree models of Jetson boards and their GPUs (NVIDIA, "Jetson modules").
_JETSONS: Final = (
    ("thor", ComputeCapability(11, 0)),
    ("orin", ComputeCapability(8, 7)),
    ("xavier", ComputeCapability(7, 2)),
    ("tx2", ComputeCapability(6, 2)),
    ("nano", ComputeCapability(5, 3)),
)
_MOST: Final = 1 << 16


def read_platform(root: Path = Path("/")) -> Platform:
    """Read the signs under `root`. Files that are missing or cannot be read say nothing."""
    kind, why, likely, model = next(_kinds(root), ("", "", None, ""))
    model = model or next(_models(root), "")
    return Platform(
        kind=kind,
        why=why,
        likely=likely or (_SPARK if "GB10" in model else None),
        model=model,
        kernel_driver=kernel_driver(root),
        available_memory=_available_memory(root),
    )


def kernel_driver(root: Path = Path("/")) -> str:
    """Version of the loaded kernel module, "" when none is."""
    version = _read(root / "sys/module/nvidia/version").strip()
    if version:
        return version
    match = re.search(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", _read(root / "proc/driver/nvidia/version"))
    return match[1] if match else ""


def _kinds(root: Path) -> Iterator[tuple[str, str, ComputeCapability | None, str]]:
    release = _read(root / "etc/fastos-release")
    if "SPARK" in release.upper():
        yield "dgx-spark", "/etc/fastos-release", _SPARK, ""
    for name in ("product_name", "board_name", "product_family"):
        text = _read(root / "sys/class/dmi/id" / name).strip()
        if re.search(r"DGX.?Spark|GB10", text, re.IGNORECASE):
            yield "dgx-spark", f"/sys/class/dmi/id/{name}: {text}", _SPARK, ""
    board = _read(root / "proc/device-tree/model").strip("\0\n ")
    if "jetson" in board.lower() or (root / "etc/nv_tegra_release").exists():
        likely = next((capability for word, capability in _JETSONS if word in board.lower()), None)
        yield "jetson", f"/proc/device-tree/model: {board}" if board else "/etc/nv_tegra_release", likely, board
    if "microsoft" in _read(root / "proc/version").lower():
        yield "wsl", "/proc/version", None, ""
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        yield "container", "/.dockerenv" if (root / ".dockerenv").exists() else "/run/.containerenv", None, ""


def _models(root: Path) -> Iterator[str]:
    """Names of the GPUs as the kernel module has them."""
    folder = root / "proc/driver/nvidia/gpus"
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        match = re.search(r"^Model:\s*(.+?)\s*$", _read(entry / "information"), re.MULTILINE)
        if match:
            yield match[1]


def _available_memory(root: Path) -> int | None:
    match = re.search(r"^MemAvailable:\s*(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""
