"""Codes of findings, for `--fail-on` and its help. A code never changes its meaning."""

from __future__ import annotations

from typing import Final

FINDING_CODES: Final = {
    "wrong-platform": "made for another processor or system than the target's",
    "glibc-too-new": "needs a newer glibc than the target has",
    "cuda-major-missing": "links CUDA libraries of a major that the target's environment does not have",
    "kernel-missing": "the image that will be chosen lacks a kernel that older code has (--kernels)",
    "suspicious-empty-kernel": "a kernel is empty, or nearly so, in the image that will be chosen (--kernels)",
    "other-arch-kernels": "kernels that exist for other GPU families only (--kernels)",
    "unknown-device-bytes": "bytes of a device-code section that no known format explains",
    "unreadable": "an installed distribution or file that could not be read (--env)",
}
