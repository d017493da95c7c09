"""What environment variables of builds are for, by their names."""

from __future__ import annotations

import re
from typing import Final

_NOT_NVIDIA: Final = re.compile(r"ROCM|HIP|AMD|OFFLOAD|MUSA|ARCHFLAGS|OSX|HOST|CXX11")
_ROLES: Final = (
    (
        "archs",
        re.compile(r"(CUDA|GPU|NVCC|TORCH|NVTE|SM)\w*ARCH|ARCH\w*(CUDA|LIST)|COMPUTE_CAPABILIT|GENCODE|GENERATE_CODE"),
    ),
    ("force-cuda", re.compile(r"FORCE\w*CUDA$|^FORCE_GPU|^WITH_CUDA$")),
    ("force-build", re.compile(r"FORCE_(SOURCE_)?(BUILD|COMPILE)$")),
    ("skip-cuda", re.compile(r"(SKIP|NO|DISABLE)_CUDA(?!_CHECK)")),
    ("jobs", re.compile(r"MAX_JOBS|N_WORKERS|NVCC_THREADS|BUILD_PARALLEL_LEVEL|_JOBS$")),
    ("nvcc-flags", re.compile(r"NVCC\w*FLAGS|CUDA\w*FLAGS")),
    ("toolkit", re.compile(r"^CUDA_?HOME$|^CUDA_PATH$|^CUDACXX$|^CUDA_ROOT$")),
)


def role_of(name: str) -> str:
    """Role of an environment variable, as `Variable.role`."""
    if _NOT_NVIDIA.search(name):
        return ""
    return next((role for role, pattern in _ROLES if pattern.search(name)), "")


def names_archs(name: str) -> bool:
    """Whether a name in a program is one for architectures: "DEFAULT_COMPUTE_CAPABILITIES", "cuda_archs"."""
    return _ARCH_NAME.search(name) is not None and not _LIMIT.search(name) and _NOT_NVIDIA.search(name.upper()) is None


_LIMIT: Final = re.compile(r"(^|_)(max|min|newest|highest|lowest|latest)(_|$)", re.IGNORECASE)
_ARCH_NAME: Final = re.compile(
    r"arch(?!ive|itect)|compute_?cap|gencode|(^|_)sm_?(s|list|targets?|versions?)$|capabilit", re.IGNORECASE
)
