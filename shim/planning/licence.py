"""Which files NVIDIA's licence keeps anybody from modifying.

The CUDA EULA forbids to modify the redistributable libraries; shim refuses by default, by licence metadata and by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Libraries that NVIDIA's licences cover, as they are called in wheels; other projects' wheels may bundle them.
_LIBRARIES = re.compile(
    r"^lib(cublas|cublasLt|cudart|cudnn\w*|cufft|cufftw|cufile|cupti|curand|cusolver|cusolverMg|cusparse|cusparseLt"
    r"|cutensor\w*|cuvs|custatevec|cutensornet|nccl|nvblas|nvfatbin|nvinfer\w*|nvJitLink|nvjpeg\w*|nvonnxparser"
    r"|nvptxcompiler\w*|nvrtc\w*|nvrtc-builtins|nvshmem\w*|nvToolsExt|nvtiff|nvvm|npp\w*|nvperf\w*|checkpoint)"
    r"(-[0-9a-f]{8})?(_static)?\.(so|a)\b"
)


def is_nvidia_library(member: str) -> bool:
    """Whether a file is, by its name, one of NVIDIA's own libraries."""
    return _LIBRARIES.match(member.rpartition("/")[2]) is not None


def is_nvidia_distribution(name: str, licences: Iterable[str]) -> bool:
    """Whether a whole distribution is NVIDIA's: by name, or by the licence its metadata states.

    Args:
        name: normalized name. licences: License, License-Expression and licence classifiers.
    """
    return name.startswith("nvidia-") or any(
        "nvidia" in text.lower() and "proprietary" in text.lower() for text in licences
    )
