"""The builder of kernels that other tests stand on."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tests.builders import kernels

SOURCE = '__global__ void k(int* a) { *a = 1; }\nextern "C" int answer() { return 42; }\n'


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(kernels, "_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_a_library_loads_and_holds_what_was_asked_for(tmp_path):
    path = kernels.build_shared(tmp_path, {"a.cu": SOURCE}, archs=[("compute_120", "sm_120")], ptx=["compute_80"])
    assert ctypes.CDLL(str(path)).answer() == 42
    data = path.read_bytes()
    assert data.count(b"\x50\xed\x55\xba") == 2, "a container for the unit, and nvcc's empty one"


def test_relocatable_code_is_linked(tmp_path):
    sources = {
        "a.cu": "extern __device__ int f(); __global__ void k(int* a) { *a = f(); }",
        "b.cu": "__device__ int f() { return 7; }",
    }
    path = kernels.build_shared(tmp_path, sources, rdc=True, ptx=[], name="libr.so")
    assert path.name == "libr.so"
    assert b"__nv_relfatbin" in path.read_bytes()


def test_results_are_kept(tmp_path, fresh_cache, monkeypatch):
    first = kernels.build_ptx(SOURCE)
    assert b".visible .entry _Z1kPi" in first
    monkeypatch.setattr(kernels, "run", None)
    assert kernels.build_ptx(SOURCE) == first
    with pytest.raises(TypeError):
        kernels.build_ptx(SOURCE + "\n")


def test_ptx_text_assembles():
    assert kernels.build_cubin(kernels.ptx_text(["a", "b"], steps=3))[:4] == b"\x7fELF"
    assert len(kernels.ptx_text(steps=1000)) > 37_000
