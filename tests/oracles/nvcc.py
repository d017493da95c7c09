"""Real CUDA libraries, compiled by nvcc: one translation unit, or two that are device-linked."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.oracles.nvidia import program

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
    files = []
    for number, text in enumerate(sources):
        files.append(folder / f"unit{number}.cu")
        files[-1].write_text(text)
    out = folder / "library.so"
    mode = [f"-rdc={str(relocatable).lower()}", "-shared", "-Xcompiler", "-fPIC", "-O1"]
    command = [program("nvcc"), *mode, "-gencode=arch=compute_80,code=[sm_80,compute_80]", *files, "-o", out]
    run = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"nvcc: {run.stderr}")
    return out
