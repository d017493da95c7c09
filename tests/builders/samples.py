"""Small real files of every kind that nvcc makes: libraries, objects, archives, executables, and bare images.

The CUDA runtime is left out (its symbols stay open), so that the files are some tens of kilobytes; not so for the
device-linked library and program, as nvcc links device code only together with it.
"""

from __future__ import annotations

from functools import cache

from tests.builders.kernels import _nvcc

_ONE = """
__constant__ float factor;
template <class T> __global__ void scale(T* x, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) x[i] *= factor;
}
template __global__ void scale<float>(float*, int);
template __global__ void scale<double>(double*, int);
void launch(float* x) { scale<float><<<1, 32>>>(x, 32); }
"""
_TWO = """
extern __device__ float twice(float);
__global__ void apply(float* x) { x[threadIdx.x] = %s; }
void launch_apply(float* x) { apply<<<1, 32>>>(x); }
"""
_THREE = "__device__ float twice(float x) { return 2 * x; }\n"
WHOLE = {"one.cu": _ONE, "two.cu": _TWO.replace("extern __device__ float twice(float);", "") % "x[0]"}
RELOCATABLE = {"two.cu": _TWO % "twice(x[threadIdx.x])", "three.cu": _THREE}
ONE = {"one.cu": _ONE}
MAIN = {"main.cu": _ONE + "int main() { launch(nullptr); }\n"}
MAIN_RDC = {**RELOCATABLE, "main.cu": "void launch_apply(float*);\nint main() { launch_apply(nullptr); }\n"}

# SASS of two architectures, one of them with a suffix, and PTX: what each container of the samples holds.
CODES = (
    "-gencode=arch=compute_80,code=[sm_80,compute_80]",
    "-gencode=arch=compute_121a,code=sm_121a",
    "-gencode=arch=compute_120f,code=[sm_120f,compute_120f]",
)
IMAGES = {("sass", "80"), ("ptx", "80"), ("sass", "121a"), ("sass", "120f"), ("ptx", "120f")}
_NO_RUNTIME = ("--cudart=none", "-cudadevrt=none")
_SHARED = ("-shared", "-Xcompiler=-fPIC", *_NO_RUNTIME)
_PROGRAM = ("-Xlinker=--unresolved-symbols=ignore-all", *_NO_RUNTIME)
_RDC = "-rdc=true"

# name -> (sources, options of nvcc)
_BUILDS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "whole.so": (WHOLE, (*_SHARED, *CODES)),
    "rdc.so": (RELOCATABLE, ("-shared", "-Xcompiler=-fPIC", _RDC, *CODES)),
    "stripped.so": (WHOLE, (*_SHARED, "-Xlinker=-s", *CODES)),
    "relr.so": (WHOLE, (*_SHARED, "-Xlinker=-z,pack-relative-relocs", *CODES)),
    "lz4.so": (WHOLE, (*_SHARED, "--compress-mode=speed", *CODES)),
    "plain.so": (WHOLE, (*_SHARED, "--no-compress", *CODES)),
    "small.so": (WHOLE, (*_SHARED, "--compress-mode=size", *CODES)),
    "debug.so": (WHOLE, (*_SHARED, "-lineinfo", *CODES)),
    "program": (MAIN, (*_PROGRAM, *CODES)),
    "program-rdc": (MAIN_RDC, (_RDC, *CODES)),
    "program-no-pie": (MAIN, (*_PROGRAM, "-Xcompiler=-fno-pie", "-Xlinker=-no-pie", *CODES)),
    "whole.o": (ONE, ("-c", *CODES)),
    "rdc.o": (ONE, ("-c", _RDC, *CODES)),
    "whole.a": (WHOLE, ("-lib", *CODES)),
    "rdc.a": (RELOCATABLE, ("-lib", _RDC, *CODES)),
    "images.fatbin": (ONE, ("-fatbin", *CODES)),
    "images.cubin": (ONE, ("-cubin", "-arch=sm_121a")),
    "relocatable.cubin": (ONE, ("-cubin", _RDC, "-arch=sm_120f")),
    "text.ptx": (ONE, ("-ptx", "-arch=compute_120f")),
    "link.ltoir": (ONE, ("-ltoir", "-dlto", "-arch=sm_90")),
    "link.fatbin": (ONE, ("-fatbin", "-gencode=arch=compute_90a,code=lto_90a")),
}
NAMES = tuple(_BUILDS)


@cache
def sample(name: str) -> bytes:
    """The bytes of one sample (a name of NAMES), compiled once and kept between test runs."""
    sources, options = _BUILDS[name]
    return _nvcc(sources, ["-std=c++17", *options], "out." + name.rpartition(".")[2])
