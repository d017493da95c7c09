"""Packages without device code, told apart by what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.arch import Grade
from shim.model import Confidence, WheelReport
from shim.scan.evidence import compilers_used, cuda_is_none, cuda_sources
from shim.scan.known import GpuUse, gpu_use
from shim.scan.options import ScanOptions
from shim.scan.sources import TreeSource
from shim.scan.wheel import scan_wheel
from tests.unit.scan.files import library, wheel

CODE = "x = 1\n" * 400
HOST = library()


def scan(folder: Path, members: dict[str, bytes | str], name: str = "demo") -> WheelReport:
    return scan_wheel(wheel(folder, members, name=name), ScanOptions()).report


class TestKinds:
    def test_pure_python(self, tmp_path):
        report = scan(tmp_path, {"demo/__init__.py": CODE})
        assert (report.verdict.grade, report.libraries) == (Grade.NO_DEVICE_CODE, ())
        assert report.headline == "Holds no code for any GPU, and shows no sign that it should."

    def test_host_code_of_an_unknown_project(self, tmp_path):
        assert scan(tmp_path, {"demo/_C.so": HOST}).verdict.grade is Grade.NO_DEVICE_CODE

    def test_host_code_of_a_project_with_gpu_builds(self, tmp_path):
        report = scan(tmp_path, {"ctranslate2/_ext.so": HOST}, name="ctranslate2")
        assert (report.verdict.grade, report.verdict.confidence) == (Grade.CPU_ONLY, Confidence.MEDIUM)
        assert report.verdict.reasons == ("GPU builds of ctranslate2 carry device code, this one has none",)

    def test_a_library_that_says_so(self, tmp_path):
        # The sentence lies across the pieces that a member is read in.
        filler = b"\0" * ((1 << 20) - len(HOST) - 10)
        report = scan(tmp_path, {"demo/lib.so": HOST + filler + b"This package was not compiled with CUDA support"})
        assert (report.verdict.grade, report.verdict.confidence) == (Grade.CPU_ONLY, Confidence.HIGH)
        assert report.verdict.reasons == ('demo/lib.so can say "not compiled with CUDA"',)

    def test_torch_for_the_cpu(self, tmp_path):
        version = "from typing import Optional\n__version__ = '2.9.1'\ncuda: Optional[str] = None\n"
        members = {"torch/version.py": version, "torch/lib/libtorch_cpu.so": HOST, "torch/k.py": "import triton\n"}
        report = scan(tmp_path, members, name="torch")
        assert report.verdict.grade is Grade.CPU_ONLY
        assert report.verdict.reasons[0] == "torch/version.py says cuda = None"

    @pytest.mark.parametrize("content", [{}, {"vllm/__init__.py": "raise RuntimeError('soon')\n" * 200}])
    def test_placeholder(self, tmp_path, content):
        assert scan(tmp_path, content, name="vllm").verdict.grade is Grade.PLACEHOLDER

    def test_small_packages_are_no_placeholders(self, tmp_path):
        assert scan(tmp_path, {"demo/__init__.py": CODE}).verdict.grade is not Grade.PLACEHOLDER
        assert scan(tmp_path, {"demo/_C.so": HOST}).verdict.grade is not Grade.PLACEHOLDER

    def test_cuda_sources(self, tmp_path):
        report = scan(tmp_path, {"gsplat/csrc/raster.cu": CODE, "gsplat/csrc/x.cuh": CODE}, name="gsplat2")
        assert report.verdict.grade is Grade.JIT_AT_RUNTIME
        assert report.verdict.reasons == ("2 CUDA sources, such as gsplat/csrc/raster.cu",)

    def test_triton(self, tmp_path):
        code = f"import triton\nimport triton.language as tl\n@triton.jit\ndef k(): pass\n{CODE}"
        report = scan(tmp_path, {"demo/kernels.py": code, "demo/__init__.py": CODE})
        assert report.verdict.grade is Grade.JIT_AT_RUNTIME
        assert report.verdict.reasons == ("1 Python file uses Triton",)

    def test_nvrtc_by_linking(self, tmp_path):
        report = scan(tmp_path, {"demo/_C.so": library(needed=("libnvrtc.so.12",))})
        assert report.verdict.grade is Grade.JIT_AT_RUNTIME
        assert report.verdict.reasons == ("links libnvrtc.so.12",)

    def test_known_to_compile_at_run_time(self, tmp_path):
        report = scan(tmp_path, {"cumm/core.so": HOST, "cumm/__init__.py": CODE}, name="cumm_cu120")
        assert (report.verdict.grade, report.verdict.confidence) == (Grade.JIT_AT_RUNTIME, Confidence.HIGH)


class TestEvidence:
    def used(self, folder: Path, code: str) -> set[str]:
        (folder / "m.py").write_text(code)
        return set(compilers_used(TreeSource(folder, ["m.py"])))

    @pytest.mark.parametrize(
        ("code", "compilers"),
        [
            ("import triton", {"Triton"}),
            ("from triton import language", {"Triton"}),
            ("def f():\n    import triton.language as tl", {"Triton"}),
            ("from torch.utils import cpp_extension", {"torch's extension builder"}),
            ("from torch.utils.cpp_extension import load_inline", {"torch's extension builder"}),
            ("from cuda.bindings import nvrtc", {"NVRTC"}),
            ("from numba import cuda", {"numba"}),
            ("import numba", set()),
            ("import cupy as cp\nk = cp.RawKernel('', 'f')", {"CuPy"}),
            ("import cupy\ncupy.zeros(3)", set()),
            ("from . import triton", set()),
            ("import tritonclient", set()),
            ("'import triton'", set()),
            ("print 'triton'", set()),
            ("import triton\n\0", set()),
            ("x = '\\d'\nimport triton", {"Triton"}),
        ],
    )
    def test_compilers(self, tmp_path, code, compilers):
        assert self.used(tmp_path, code) == compilers

    @pytest.mark.parametrize(
        ("code", "found"),
        [
            ("cuda = None", True),
            ("cuda: str | None = None", True),
            ("cuda = '12.8'", False),
            ("hip = None", False),
            ("if x:\n    cuda = None", True),
        ],
    )
    def test_version_file(self, tmp_path, code, found):
        (tmp_path / "pkg").mkdir()
        (tmp_path / "pkg" / "version.py").write_text(code)
        assert cuda_is_none(TreeSource(tmp_path, ["pkg/version.py"])) == ("pkg/version.py" if found else "")

    def test_sources(self, tmp_path):
        for name in ("a.cu", "b.CUH", "c.cpp", "cu"):
            (tmp_path / name).touch()
        assert cuda_sources(TreeSource(tmp_path, ["a.cu", "b.CUH", "c.cpp", "cu"]).files) == ("a.cu", "b.CUH")


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("torch", GpuUse.BINARY),
        ("Llama_CPP.python", GpuUse.BINARY),
        ("cupy-cuda13x", GpuUse.BINARY),
        ("faiss-gpu-cu12", GpuUse.BINARY),
        ("spconv_cu120", GpuUse.BINARY),
        ("flashinfer-python", GpuUse.RUNTIME),
        ("cumm-cu126", GpuUse.RUNTIME),
        ("requests", None),
    ],
)
def test_known_projects(name, use):
    assert gpu_use(name) is use
