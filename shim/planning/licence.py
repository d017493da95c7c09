"""Which files NVIDIA's licence keeps anybody from modifying.

The CUDA EULA forbids to modify the redistributable libraries; shim refuses by default. Signs of such a file, each
enough: its name, its SONAME (a library under another file name), and what the metadata of the wheel around it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Libraries that NVIDIA's licences cover, as they are called in wheels; other projects' wheels may bundle them.
# auditwheel puts eight hexadecimal digits into the name. Not here: libcuvs and others of RAPIDS, which are Apache-2.0.
_LIBRARIES = re.compile(
    r"^lib(cublas|cublasLt|cublasMp|cuda|cudadevrt|cudart|cudla|cudnn\w*|cudss\w*|cufft|cufftw|cufftMp|cufile|cufile_rdma"
    r"|cuinj64|accinj64|cupti|curand|cusolver|cusolverMg|cusolverMp|cusparse|cusparseLt|custatevec|cutensor\w*"
    r"|cudensitymat|nccl|nvblas|nvcomp\w*|nvcuvid|nvdisasm|nvfatbin|nvinfer\w*|nvJitLink|nvjitlink|nvjpeg\w*"
    r"|nvonnxparser|nvperf\w*|nvptxcompiler\w*|nvrtc\w*|nvrtc-builtins|nvshmem\w*|nvtiff|nvToolsExt|nvvm|npp\w*"
    r"|pcsamplingutil|checkpoint)"
    r"(-[0-9a-f]{8})?(_static)?\.(so|a)\b"
)

# SPDX expressions and phrases of licences that allow changes. NVIDIA publishes some packages under them.
_OPEN = re.compile(r"\b(apache|mit|bsd|isc|mpl|lgpl|gpl)\b", re.IGNORECASE)
_NVIDIA_OWN = re.compile(
    r"licenseref-nvidia|nvidia (proprietary|software license|end user license|sdk)|nvidia.{0,80}\b(eula|proprietary)\b"
    r"|proprietary.{0,80}\bnvidia",
    re.IGNORECASE | re.DOTALL,
)
_CLASSIFIED_PROPRIETARY = "License :: Other/Proprietary License"


def is_nvidia_library(name: str) -> bool:
    """Whether a file is, by its path, file name or SONAME, one of NVIDIA's own libraries."""
    return _LIBRARIES.match(name.rpartition("/")[2]) is not None


def library_sign(path: str, soname: str) -> str:
    """By what a file is known for one of NVIDIA's own libraries, in words; "" when it is none."""
    if is_nvidia_library(path):
        return "it is one of NVIDIA's libraries by its name"
    if is_nvidia_library(soname):
        return f"it is one of NVIDIA's libraries by its SONAME {soname}"
    return ""


def distribution_sign(name: str, licences: Iterable[str]) -> str:
    """By what a whole distribution is known to be under NVIDIA's licence, in words; "" when nothing says so.

    Args:
        name: normalized name. licences: License, License-Expression and classifiers.
    """
    texts = [text for text in licences if text]
    for text in texts:
        if _NVIDIA_OWN.search(text):
            return f"the licence of the whole wheel is NVIDIA's ({_short(text)})"
    if not name.startswith("nvidia-"):
        return ""
    if _CLASSIFIED_PROPRIETARY not in texts and any(_OPEN.search(text) for text in texts):
        return ""
    return "the whole wheel is NVIDIA's by its name"


def is_nvidia_distribution(name: str, licences: Iterable[str]) -> bool:
    """Whether a whole distribution is under NVIDIA's licence."""
    return bool(distribution_sign(name, licences))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:60] + "..."
