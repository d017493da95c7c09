"""The front before the real nvcc: what it then compiles, and what we say of its command line."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from builders.kernels import tool

from shim.devicecode import read_path
from shim.toolchain.front import ArchRequest, Mode, environment, install
from shim.toolchain.front.standin import words

from .conftest import LISTED, Front

SOURCE = "__global__ void k(int* a) { *a = 1; }\n"


def make(tmp_path: Path, mode: Mode = Mode.ADD) -> Front:
    log = tmp_path / "log"
    toolkit = tool("nvcc").path.parent.parent
    home = install(tmp_path / "home", toolkit=toolkit, archs=ArchRequest(sass=("121",), mode=mode), log=log)
    return Front(home, log)


def planned(said: str) -> set[str]:
    """The images that a --dryrun would put into the fatbin: sm_80 for machine code, compute_80 for PTX."""
    return {f"{'sm' if kind == 'elf' else 'compute'}_{arch}" for kind, arch in re.findall(r"kind=(\w+),sm=(\w+)", said)}


@pytest.mark.parametrize(
    ("line", "images"),
    [
        ("-gencode arch=compute_53,code=sm_53 -gencode arch=compute_80,code=sm_80", "sm_80 sm_121"),
        ("-arch=sm_80", "sm_80 compute_80 sm_121"),
        ("--gpu-architecture compute_80 --gpu-code=sm_80,sm_86", "sm_80 sm_86 sm_121"),
        ("--generate-code=arch=compute_70,code=[compute_70,sm_70]", "sm_121"),
        ('-gencode arch=compute_80,code="sm_80,compute_80"', "sm_80 compute_80 sm_121"),
        ("-arch=native", "sm_121"),
        ("", "sm_121"),
        ("-arch=all-major", "sm_75 sm_80 sm_90 sm_100 sm_110 sm_120 compute_120 sm_121"),
        ("-arch=compute_120f -code=sm_121", "sm_121f"),  # nvcc stamps it with the suffix; 12.1 runs it
        ("-optf flags.rsp", "sm_86 compute_86 sm_121"),
        ("-Xcompiler -march=native -arch=sm_90a", "sm_90a compute_90a sm_121"),
    ],
)
def test_images(tmp_path, line, images):
    (tmp_path / "k.cu").write_text(SOURCE)
    (tmp_path / "flags.rsp").write_text("-arch=sm_86 -arch=sm_86 -O1")
    front = make(tmp_path)
    done = front.run("-dryrun", "-c", "k.cu", *line.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert planned(done.stderr) == set(images.split())
    after = set(front.calls[-1].archs_after)
    assert "sm_121" in after
    assert after >= set(images.split()) - {"sm_121f"} or "all-major" in after


def test_a_flags_variable_with_a_retired_architecture(tmp_path):
    (tmp_path / "k.cu").write_text(SOURCE)
    front = make(tmp_path)
    env = {"NVCC_APPEND_FLAGS": '-gencode arch=compute_60,code=sm_60 -DX="1"'}
    done = front.run("-dryrun", "-c", "k.cu", cwd=tmp_path, env=env)
    assert planned(done.stderr) == {"sm_121"}
    assert re.search(r"-D *\"?X=", done.stderr)


@pytest.mark.parametrize("line", ["-ptx -arch=compute_80", "-cubin -arch=sm_80", "-cubin", "-ptx -arch=sm_60"])
@pytest.mark.parametrize("mode", list(Mode))
def test_calls_for_one_architecture(tmp_path, line, mode):
    (tmp_path / "k.cu").write_text(SOURCE)
    done = make(tmp_path, mode).run("-dryrun", *line.split(), "k.cu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", ["-dlto -dc -arch=sm_80", "-dlto -dc -arch=sm_60", "-dlto -shared -arch=sm_60"])
@pytest.mark.parametrize("mode", list(Mode))
def test_link_time_optimization(tmp_path, line, mode):
    (tmp_path / "k.cu").write_text(SOURCE)
    done = make(tmp_path, mode).run("-dryrun", *line.split(), "k.cu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_separate_compilation_links_for_the_target(tmp_path):
    """With the default architecture of nvcc the device link would find nothing to link."""
    (tmp_path / "a.cu").write_text("extern __device__ int f(); __global__ void k(int* a) { *a = f(); }")
    (tmp_path / "b.cu").write_text("__device__ int f() { return 1; }")
    front = make(tmp_path, Mode.REPLACE)
    for line in ("-dc a.cu -o a.o", "-dc b.cu -o b.o", "-shared -arch=sm_70 a.o b.o -o x.so"):
        done = front.run(*line.split(), "-Xcompiler=-fPIC", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    code = read_path(tmp_path / "x.so")
    assert {str(image.arch) for container in code.containers for image in container.images} == {"121"}


def test_the_table_of_options_is_nvccs():
    """Every option that takes a value, and no other, is known to; else its value could pass for an option."""
    said = subprocess.run([tool("nvcc").path, "--help"], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^(--[\w-]+)( (?:[<{\[]|entry)\S*.*?)? +\((-[\w-]+)\) *$", said, re.MULTILINE)
    assert len(rows) > 100
    for long, value, short in rows:
        takes = bool(value) or long == "--dependency-output"  # whose row in the help lacks the value
        assert ((long in words.WITH_VALUE), (short in words.WITH_VALUE)) == (takes, takes), long
        if not takes:
            assert list(words.options([short])) == [(short, None, 1)]


def test_known_architectures_are_asked_for(tmp_path):
    import json

    front = make(tmp_path)
    known = json.loads((front.home / "shim" / "config.json").read_text())["known"]
    if tool("nvcc").version[:2] == (13, 0):
        assert known == list(LISTED)
    assert 121 in known


CMAKE = """\
cmake_minimum_required(VERSION 3.18)
project(x LANGUAGES CXX CUDA)
find_package(CUDAToolkit REQUIRED)
add_library(k SHARED k.cu)
set_target_properties(k PROPERTIES CUDA_SEPARABLE_COMPILATION ON)
file(WRITE ${CMAKE_BINARY_DIR}/seen "${CMAKE_CUDA_COMPILER_VERSION};${CMAKE_CUDA_ARCHITECTURES};${CUDAToolkit_BIN_DIR}")
"""


@pytest.mark.parametrize(
    ("archs", "before"),
    [("70;80-real", ("compute_70", "sm_70", "sm_80")), (None, ("compute_121", "sm_121"))],
)
def test_cmake(tmp_path, archs, before):
    """Identification (CMake reads `#$` lines), compilation, and the device link with its options files."""
    (tmp_path / "k.cu").write_text(SOURCE)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    front = make(tmp_path)
    env = environment(front.home)
    env.pop("CUDAARCHS", None)
    options = [f"-DCMAKE_CUDA_ARCHITECTURES={archs}"] if archs else []
    build = tmp_path / "build"
    for words_ in (["cmake", "-S", tmp_path, "-B", build, *options], ["cmake", "--build", build]):
        done = subprocess.run(words_, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    version, seen, folder = (build / "seen").read_text().split(";", 2)[0], archs or "121", str(front.home / "bin")
    assert (build / "seen").read_text() == f"{version};{seen};{folder}"
    assert version == ".".join(map(str, tool("nvcc").version))
    compiled = [call for call in front.calls if call.output and call.output.endswith("k.cu.o")]
    assert [call.archs_before for call in compiled] == [before]
    links = [call for call in front.calls if call.kind == "device-link"]
    assert links
    assert "sm_121" in links[-1].archs_after
