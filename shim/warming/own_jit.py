"""Packages that compile on the user's machine with compilers of their own, and why that cannot be done for them.

Their caches are keyed by their own source, by the arguments of a call, and by their own version: nothing but their own
code, run with the arguments of the user's program, can fill them. Shapes of caches and commands: the projects' own
documentation, as linked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnJit:
    """One such package.

    Attributes:
        names: distributions, normalized, without a CUDA suffix.
        what: what it compiles, and with what.
        cache: where results are kept; the variable that moves it.
        command: what would fill it (runs the package's code), or "" where the project has nothing of the kind.
        evidence: where that is written.
    """

    names: tuple[str, ...]
    what: str
    cache: str
    command: str
    evidence: str


TABLE: Final = (
    OwnJit(
        names=("triton", "pytorch-triton", "triton-nightly"),
        what="kernels in Python, with its own ptxas, for each signature they are called with",
        cache="~/.triton/cache (TRITON_CACHE_DIR)",
        command="",
        evidence="triton.compile(ASTSource, GPUTarget) needs the kernel and its signature, that is the package's code",
    ),
    OwnJit(
        names=("torch",),
        what="graphs of torch.compile, as Triton kernels and C++",
        cache="/tmp/torchinductor_USER (TORCHINDUCTOR_CACHE_DIR)",
        command="run the program once, then torch.compiler.save_cache_artifacts(); elsewhere load_cache_artifacts()",
        evidence="docs.pytorch.org: Compile Time Caching in torch.compile",
    ),
    OwnJit(
        names=("flashinfer-python", "flashinfer"),
        what="CUDA C++ with nvcc, a module for each kind of attention that is used",
        cache="~/.cache/flashinfer (FLASHINFER_WORKSPACE_BASE)",
        command="in its source tree: FLASHINFER_CUDA_ARCH_LIST=12.1a python -m flashinfer.aot",
        evidence="flashinfer-ai/flashinfer: flashinfer/aot.py",
    ),
    OwnJit(
        names=("deep-gemm", "sgl-deep-gemm"),
        what="CUDA C++ with nvcc or NVRTC, a kernel for each shape",
        cache="~/.deep_gemm (DG_JIT_CACHE_DIR)",
        command="with SGLang: python -m sglang.compile_deep_gemm --model MODEL",
        evidence="sgl-project/sglang: python/sglang/compile_deep_gemm.py; for vLLM: vllm-project/vllm#25619",
    ),
    OwnJit(
        names=("cupy",),
        what="CUDA C++ with NVRTC, beside the kernels in its libraries",
        cache="~/.cupy/kernel_cache (CUPY_CACHE_DIR)",
        command="",
        evidence="docs.cupy.dev: Environment variables",
    ),
    OwnJit(
        names=("numba", "numba-cuda"),
        what="kernels in Python with NVVM, for each signature; kept only where the decorator says cache=True",
        cache="__pycache__ beside the source (NUMBA_CACHE_DIR)",
        command="",
        evidence="nvidia.github.io/numba-cuda: On-disk Kernel Caching",
    ),
    OwnJit(
        names=("warp-lang",),
        what="kernels in Python with NVRTC, a module at a time",
        cache="the user's cache folder (WARP_CACHE_PATH)",
        command='in Python: import warp, MODULE; warp.compile_aot_module(MODULE, device="cuda:0", arch=121)',
        evidence="nvidia.github.io/warp: warp.compile_aot_module",
    ),
    OwnJit(
        names=("tilelang",),
        what="kernels in Python as CUDA C++, with nvcc or NVRTC",
        cache="~/.tilelang/cache (TILELANG_CACHE_DIR)",
        command="",
        evidence="its autotuner keeps results under $TILELANG_CACHE_DIR/autotuner, keyed by source and configuration",
    ),
)

_CUDA_SUFFIX: Final = re.compile(r"-(cu\d+|cuda\d+x?)$")


def own_jit(name: str) -> OwnJit | None:
    """The entry for a distribution, by its name in any spelling; None when it has none."""
    normal = _CUDA_SUFFIX.sub("", re.sub(r"[-_.]+", "-", name).lower())
    return next((entry for entry in TABLE if normal in entry.names), None)
