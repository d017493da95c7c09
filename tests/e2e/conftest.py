"""A small wheel with real CUDA libraries in it, made once a session by nvcc."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from builders.kernels import build_shared
from builders.wheels import make_wheel

WHOLE = """
static __device__ int counter;
static __constant__ float table[4];
template <class T> __global__ void scale(T* x, T f, int n) {
  int i = threadIdx.x;
  if (i < n) x[i] = x[i] * f + table[i & 3];
}
static __global__ void count(int n) { atomicAdd(&counter, n); }
extern "C" int entry_%(name)s() { scale<float><<<1, 32>>>(nullptr, 2.f, 0); scale<double><<<1, 32>>>(nullptr, 2.0, 0);
  count<<<1, 1>>>(1); return 7; }
"""
RELOCATABLE = {
    "part.cu": "__device__ float twice(float x) { return x + x; }\n__device__ int only_here = 3;\n",
    "main.cu": "extern __device__ float twice(float);\n__global__ void use(float* x) { x[0] = twice(x[0]); }\n"
    'extern "C" int entry_linked() { use<<<1, 1>>>(nullptr); return 9; }\n',
}


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Shim = Callable[..., Ran]


@pytest.fixture
def shim(tmp_path: Path) -> Shim:
    """Run `python -m shim ...` in a folder of its own, as a user would."""
    cache = tmp_path / "cache"

    def run(*arguments: object, env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> Ran:
        shown = {"COLUMNS": "120", "NO_COLOR": "1"}
        environment = {**os.environ, "SHIM_CACHE_DIR": str(cache), "SHIM_OFFLINE": "1", **shown, **(env or {})}
        done = subprocess.run(
            [*prefix, sys.executable, "-m", "shim", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """jit: two containers, PTX 80; linked: -rdc; native: sm_121; old: sm_80 without PTX."""
    folder = tmp_path_factory.mktemp("libraries")
    two = {f"{name}.cu": WHOLE % {"name": name} for name in ("first", "second")}
    native = [("compute_121", "sm_121")]
    made = {
        "jit": build_shared(folder, two, name="jit.so"),
        "linked": build_shared(folder, RELOCATABLE, rdc=True, name="linked.so"),
        "native": build_shared(folder, {"n.cu": WHOLE % {"name": "n"}}, archs=native, ptx=(), name="native.so"),
        "old": build_shared(folder, {"o.cu": WHOLE % {"name": "o"}}, ptx=(), name="old.so"),
    }
    return {name: path.read_bytes() for name, path in made.items()}


@pytest.fixture
def wheel(tmp_path: Path, libraries: dict[str, bytes]) -> Path:
    """demo-1.0: a JIT library, a relocatable one and Python code."""
    members = {
        "demo/__init__.py": "VALUE = 41\n",
        "demo/jit.so": libraries["jit"],
        "demo/linked.so": libraries["linked"],
        "demo/data.txt": "x" * 5000,
    }
    return make_wheel(tmp_path, members, name="demo", version="1.0", tag="py3-none-linux_x86_64")


TORCH = ("torch==2.14.1", "setuptools", "wheel", "ninja", "packaging", "numpy")


@pytest.fixture(scope="session")
def torch_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with torch: the one that SHIM_TEST_TORCH names, else one made now (5.5 GB)."""
    if named := os.environ.get("SHIM_TEST_TORCH"):
        return Path(named)
    home = Path(os.environ.get("SHIM_TEST_CACHE") or tmp_path_factory.mktemp("torch")) / "torch"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        venv.create(home, with_pip=True, symlinks=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *TORCH], check=True)
        (home / "complete").touch()
    return python
