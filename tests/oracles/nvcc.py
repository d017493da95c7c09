"""Real CUDA libraries, compiled by nvcc: one translation unit, or two that are device-linked."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from tests.builders.kernels import build_shared

PLAIN = """
#include <stdexcept>
__device__ int counter;
template <class T> __global__ void scale(T* x, T by) { x[threadIdx.x] *= by; atomicAdd(&counter, 1); }
template __global__ void scale<float>(float*, float);
template __global__ void scale<double>(double*, double);
extern "C" int shim_exception() {
  try { throw std::runtime_error("x"); } catch (const std::exception& e) { return e.what()[0] == 'x'; }
}
"""
CALLEE = "__device__ float twice(float x) { return 2 * x; }"
CALLER = """
extern __device__ float twice(float);
__global__ void apply(float* x) { x[threadIdx.x] = twice(x[threadIdx.x]); }
extern "C" void launch(float* x) { apply<<<1, 32>>>(x); }
"""


@cache
def _workspace() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nvcc-samples-")


@cache
def library(*sources: str, relocatable: bool = False) -> Path:
    """A shared object for x86-64 of these CUDA sources, with SASS and PTX of 8.0. The CUDA runtime is static."""
    folder = Path(tempfile.mkdtemp(dir=_workspace().name))
    named = {f"unit{number}.cu": text for number, text in enumerate(sources)}
    return build_shared(folder, named, rdc=relocatable, extra=["-O1"], name="library.so")
