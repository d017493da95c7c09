"""nvcc from a toolkit and from wheels."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.toolchain import Tool, nvcc_environment
from tests.builders import kernels


def nvcc_at(home: Path) -> Tool:
    return Tool(name="nvcc", path=home / "bin" / "nvcc", version=(13, 0, 88), origin="package", banner="")


@pytest.mark.parametrize(
    ("files", "before", "expected"),
    [
        (["lib/libcudart_static.a"], None, "-L{home}/lib"),
        (["lib/libcudart_static.a"], "-O1", "-O1 -L{home}/lib"),
        (["lib/libcudart_static.a", "lib64/libcudart_static.a"], None, None),
        (["lib64/libcudart_static.a"], "-O1", "-O1"),
        ([], None, None),
    ],
)
def test_the_folder_of_the_wheels_is_added(tmp_path, files, before, expected):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    environ = {"PATH": "/bin"} | ({"NVCC_APPEND_FLAGS": before} if before else {})
    got = nvcc_environment(nvcc_at(tmp_path), environ)
    assert got["PATH"] == "/bin"
    assert got.get("NVCC_APPEND_FLAGS") == (expected.format(home=tmp_path) if expected else None)


def test_this_machines_nvcc_links_with_it(tmp_path):
    """Without -L the wheels' nvcc ends in `cannot find -lcudart_static`."""
    sources = {"a.cu": "extern __device__ int f(); __global__ void k(int* a) { *a = f(); }"}
    sources["b.cu"] = "__device__ int f() { return 1; }"
    assert kernels.build_shared(tmp_path, sources, rdc=True).stat().st_size > 10_000
