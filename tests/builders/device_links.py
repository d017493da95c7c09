"""Shared libraries with several device links: each link is made on its own, as libraries of a project are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from shim.process import run
from shim.toolchain import nvcc_environment
from tests.builders import kernels

FIRST = {
    "a1.cu": """
__device__ int seen_a;
__shared__ float tile_a[32];  // a symbol before the link only
extern __device__ float twice(float);
__global__ void apply_a(float* x) {
  tile_a[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = twice(tile_a[31 - threadIdx.x]);
  atomicAdd(&seen_a, 1);
}
extern "C" void launch_a(float* x) { apply_a<<<1, 32>>>(x); }
""",
    "a2.cu": "__device__ __noinline__ float twice(float x) { return 2 * x; }\n",
}
SECOND = {
    "b1.cu": """
__constant__ float factor_b[4];
extern __device__ float thrice(float);
__global__ void apply_b(float* x) { x[threadIdx.x] = thrice(x[threadIdx.x]) * factor_b[0]; }
extern "C" void launch_b(float* x) { apply_b<<<1, 32>>>(x); }
""",
    "b2.cu": "__device__ __noinline__ float thrice(float x) { return 3 * x; }\n",
}
SASS_AND_PTX = ("arch=compute_80,code=sm_80", "arch=compute_80,code=compute_80")


def build_links(
    path: Path,
    links: Sequence[Mapping[str, str]],
    *,
    codes: Sequence[str] = SASS_AND_PTX,
    adjacent: bool = False,
    strip: bool = True,
) -> Path:
    """Compile and link; kept between runs.

    Args:
        links: sources by file name, for each device link. codes: values of nvcc's -gencode.
        adjacent: results of the device links come after all other objects, instead of each after its own.
    """
    options = [f"-gencode={code}" for code in codes]
    texts = [word for link in links for item in link.items() for word in item]
    words = (
        "device-links-2",
        kernels.tool("nvcc").banner,
        *texts,
        *options,
        str(len(links)),
        str(adjacent),
        str(strip),
    )
    path.write_bytes(kernels.kept(kernels.make_key(*words), lambda: _build(links, options, adjacent, strip)))
    path.chmod(0o755)
    return path


def _build(links: Sequence[Mapping[str, str]], options: Sequence[str], adjacent: bool, strip: bool) -> bytes:
    compiler = kernels.tool("nvcc")
    common = [compiler.path, "-Xcompiler=-fPIC", "-O1", *options]
    with tempfile.TemporaryDirectory() as work:

        def call(*argv: str | os.PathLike[str]) -> None:
            run([*map(str, argv)], cwd=Path(work), env=nvcc_environment(compiler), timeout=300).check()

        objects: list[str] = []
        results: list[str] = []
        for number, link in enumerate(links):
            own = []
            for name, text in link.items():
                Path(work, name).write_text(text)
                own.append(name.replace(".cu", ".o"))
                call(*common, "-dc", name, "-o", own[-1])
            call(*common, "-dlink", *own, "-o", f"link{number}.o")
            objects += own
            (results if adjacent else objects).append(f"link{number}.o")
        call(*common, "-shared", "-nodlink", *objects, *results, "-o", "out.so")
        if strip:
            call("strip", "out.so")
        return Path(work, "out.so").read_bytes()
