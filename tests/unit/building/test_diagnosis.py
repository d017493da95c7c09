"""First errors, from lines that real builds printed."""

from __future__ import annotations

import pytest

from shim.building.diagnosis import diagnose

NOISE = "running build_ext\nbuilding 'x' extension\n/usr/include/x.h:3:4: warning: unused\n"


@pytest.mark.parametrize(
    ("line", "code", "hint"),
    [
        ("nvcc fatal   : Unsupported gpu architecture 'compute_53'", "nvcc-fatal", "shim exec"),
        ("/v/include/ATen/cuda/CUDAContextLight.h:8:10: fatal error: cusparse.h: No such file or directory",
         "missing-header", "nvidia-cusparse"),
        ("knn.cu:12:10: fatal error: cub/iterator/counting_input_iterator.cuh: No such file or directory",
         "missing-header", "CUDA 13 dropped"),
        ("/v/c10/util/C++20.h:4:2: error: #error C++20 or later compatible compiler is needed", "cxx-standard", "C++"),
        ("ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'", "ptxas", "sm80"),
        ('unit.cu(3): error: identifier "x" is undefined', "nvcc-error", ""),
        ("a/b.cpp:3:4: error: redefinition of 'int f()'", "cxx-error", ""),
        ("/usr/bin/ld: cannot find -lcublas: No such file or directory", "link-error", ""),
        ("CMake Error at CMakeLists.txt:4 (find_package):", "cmake-error", ""),
        ("ModuleNotFoundError: No module named 'numpy.core'", "missing-module", "--with numpy"),
        ("implicit/cpu/_als.pyx:8:8: 'scipy/linalg/cython_blas.pxd' not found", "cython", "--with"),
        ("c++: fatal error: Killed signal terminated program cc1plus", "out-of-memory", "--jobs 1"),
        ("OSError: [Errno 28] No space left on device", "disk-full", "space"),
    ],
)  # fmt: skip
def test_first_error(line: str, code: str, hint: str) -> None:
    found = diagnose(f"{NOISE}{line}\nTraceback (most recent call last):\n  File x\nRuntimeError: later\n")
    assert found is not None
    assert (found.code, found.line) == (code, 4)
    assert hint in found.hint


def test_the_last_exception_when_nothing_else_is_known() -> None:
    trace = "Traceback (most recent call last):\nKeyError: 'a'\nDuring handling\nRuntimeError: no GPU\n"
    log = f"{NOISE}{trace}subprocess died\n"
    found = diagnose(log)
    assert found is not None
    assert found.text == "RuntimeError: no GPU"


def test_the_last_line_when_there_is_no_exception() -> None:
    found = diagnose("one\n\ntwo\n\n")
    assert found is not None
    assert (found.code, found.text) == ("failed", "two")
    assert diagnose("\n \n") is None
