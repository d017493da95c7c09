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
    "gate-refuses": "source code refuses the target",
    "gate-disables": "source code keeps the target from a path that it could take",
    "gate-misleads": "source code sends the target down a path that is broken or not compiled for it",
    "arch-dropped": "a build would not compile for the target, or would leave PTX only",
    "build-breaks": "a build fails with CUDA 13, a new torch, or where no GPU is in sight",
    "cpu-only-build": "a build leaves the CUDA part out, and says nothing, where no GPU is in sight",
    "prebuilt-download": "a build takes a prebuilt wheel instead of compiling",
    "sources-missing": "the package lacks sources that its build lists or includes",
    "compiled-guard": "compiled code holds the text of a guard that stops the target, or feeds it wrong results",
    "triton-ptxas-too-old": "the ptxas that Triton brought does not take the target",
    "triton-variable-unused": "TRITON_PTXAS_PATH is set, and this Triton does not look at it for the target",
    "triton-ptxas-fits": "the ptxas that Triton brought takes the target (or cannot be told)",
    "unreadable": "an installed distribution or file that could not be read (--env)",
}

GATE_CODES: Final = frozenset(
    {
        "gate-refuses",
        "gate-disables",
        "gate-misleads",
        "arch-dropped",
        "build-breaks",
        "cpu-only-build",
        "prebuilt-download",
        "sources-missing",
        "compiled-guard",
    }
)
"""Findings that stand for a gate each."""
