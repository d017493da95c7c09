"""`no-ptx`: PTX beside the machine code, when it is asked for.

nvcc takes further architectures from NVCC_APPEND_FLAGS, beside `-arch`, `-gencode` and CMake's lists alike, so no
file has to be changed (measured with nvcc 13.0.88). TORCH_CUDA_ARCH_LIST could not do it: `8.0+PTX` also makes
machine code for 8.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shim.source.rules.model import BuildSetting, RuleContext

CODE: Final = "no-ptx"


def settings(context: RuleContext) -> Iterator[BuildSetting]:
    """NVCC_APPEND_FLAGS with one -gencode for each PTX."""
    if context.ptx:
        flags = " ".join(f"-gencode=arch=compute_{ptx},code=compute_{ptx}" for ptx in context.ptx)
        why = "PTX is what later GPUs, and the driver's compiler, start from"
        yield BuildSetting(name="NVCC_APPEND_FLAGS", value=flags, origin=CODE, why=why)
