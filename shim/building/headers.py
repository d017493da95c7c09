"""Headers of CUDA libraries that a toolkit may lack, and the wheels of NVIDIA that have them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from shim.source.rules.files import cuda_files, read_small
from shim.source.tree import SourceTree

# Header -> distribution that has it, for CUDA 13 (the wheels lost their -cu13 suffix, but for cuDNN and NCCL).
HEADERS: Final = {
    "cusparse.h": "nvidia-cusparse",
    "cublas_v2.h": "nvidia-cublas",
    "cublas.h": "nvidia-cublas",
    "cublasLt.h": "nvidia-cublas",
    "cusolverDn.h": "nvidia-cusolver",
    "cusolverSp.h": "nvidia-cusolver",
    "curand.h": "nvidia-curand",
    "curand_kernel.h": "nvidia-curand",
    "cufft.h": "nvidia-cufft",
    "nvrtc.h": "nvidia-cuda-nvrtc",
    "cupti.h": "nvidia-cuda-cupti",
    "nvml.h": "nvidia-nvml-dev",
    "cuda_profiler_api.h": "nvidia-cuda-profiler-api",
    "nvJitLink.h": "nvidia-nvjitlink",
    "cudnn.h": "nvidia-cudnn-cu13",
    "nccl.h": "nvidia-nccl-cu13",
}

_INCLUDE: Final = re.compile(rb"^[ \t]*#[ \t]*include[ \t]*[<\"]([\w.]+)[>\"]", re.MULTILINE)


def wheels_for_headers(tree: SourceTree, *, major: int, folders: Iterable[Path]) -> tuple[str, ...]:
    """Distributions for the CUDA headers that the sources include and none of the include folders has.

    Args:
        major: of the toolkit: the wheels of CUDA 12 have the suffix `-cu12`.
        folders: include folders of the toolkit and of NVIDIA's wheels in the environment.
    """
    wanted = {
        match.decode("ascii")
        for name in (*cuda_files(tree), *(name for name in tree.names() if name.endswith((".pyx", ".pxd"))))
        for match in _INCLUDE.findall(read_small(tree, name))
        if match.decode("ascii") in HEADERS
    }
    present = list(folders)
    lacking = sorted(name for name in wanted if not any((folder / name).exists() for folder in present))
    return tuple(dict.fromkeys(_named(HEADERS[name], major) for name in lacking))


def _named(name: str, major: int) -> str:
    if major >= 13:
        return name
    plain = name.removesuffix("-cu13")
    return f"{plain}-cu{major}"
