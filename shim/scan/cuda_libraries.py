"""Which CUDA major a library that a file links belongs to, and which distribution brings it."""

from __future__ import annotations

import re
from typing import Final

# NVIDIA's packages: shared object name -> middle of the distribution name `nvidia-<...>-cu12`.
_PACKAGES: Final = {
    "libcudart": "cuda-runtime",
    "libnvrtc": "cuda-nvrtc",
    "libcupti": "cuda-cupti",
    "libnvJitLink": "nvjitlink",
    "libcublas": "cublas",
    "libcublasLt": "cublas",
    "libcufft": "cufft",
    "libcusolver": "cusolver",
    "libcusparse": "cusparse",
    "libnvjpeg": "nvjpeg",
}

# Libraries whose soname does not carry the CUDA major: soname number -> the CUDA majors that ship it.
# Absent here and above: those that serve several majors unchanged, such as libcurand.so.10 and libcudnn.so.9.
_NUMBERS: Final[dict[str, dict[int, tuple[int, ...]]]] = {
    "libcufft": {10: (11,), 11: (12,), 12: (13,)},
    "libcusolver": {11: (11, 12), 12: (13,)},
    "libcusparse": {11: (11,), 12: (12, 13)},
}

_FIRST_WITHOUT_SUFFIX: Final = 13  # nvidia-cuda-runtime 13.0 follows nvidia-cuda-runtime-cu12

_SONAME: Final = re.compile(r"(lib\w+)\.so\.(\d+)(?:\.\d+)*")


def cuda_majors(soname: str) -> tuple[int, ...]:
    """CUDA majors that ship a library of this name; () when the name does not tell.

    `libcudart.so.12` -> (12,); `libcusparse.so.12` -> (12, 13).
    """
    match = _SONAME.fullmatch(soname)
    if match is None:
        return ()
    name, number = match[1], int(match[2])
    if name in _NUMBERS:
        return _NUMBERS[name].get(number, ())
    return (number,) if name in _PACKAGES or name.startswith("libnpp") else ()


def providers(soname: str) -> frozenset[str]:
    """Normalised names of NVIDIA's distributions that bring the library."""
    match = _SONAME.fullmatch(soname)
    if match is None:
        return frozenset()
    middle = "npp" if match[1].startswith("libnpp") else _PACKAGES.get(match[1])
    if middle is None:
        return frozenset()
    majors = cuda_majors(soname)
    names = {f"nvidia-{middle}-cu{major}" for major in majors}
    if max(majors, default=0) >= _FIRST_WITHOUT_SUFFIX:
        names.add(f"nvidia-{middle}")
    return frozenset(names)
