"""The probe of CMake projects, with a program that stands for CMake."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from shim.building.backend import BackendRun, BuildError
from shim.building.cmake_probe import is_cmake_project, probe_cmake
from shim.building.environment import build_environment
from shim.errors import InputError
from tests.unit.building.packages import TINY, folder, with_backend

CALLS = """    import subprocess
    subprocess.run(["cmake", "-S", ".", "-Bout", "-DX=1"], check=True)
    subprocess.run(["cmake", "--build", "out"], check=True)
    raise RuntimeError("no library was built")
"""
FLAGS = "nvcc --generate-code=arch=compute_121,code=[sm_121,compute_121] -std=c++17 -c {}/a.cu"


def run(tmp_path: Path, *, cmake: str, body: str = CALLS) -> BackendRun:
    work = tmp_path / "work"
    source = folder(work / "source", with_backend(body))
    program = tmp_path / "bin" / "cmake"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {work}/called\n{cmake}\n')
    program.chmod(0o755)
    return BackendRun(
        program=Path(sys.executable),
        source=source,
        environ=build_environment(work, present={"PATH": f"{program.parent}{os.pathsep}/usr/bin:/bin"}),
        writable=(work,),
        port=None,
        log=work / "build.log",
        timeout=60,
    )


def test_the_commands_are_kept_and_nothing_is_built(tmp_path: Path) -> None:
    source = tmp_path / "work" / "source"
    listed = [
        {"file": f"{source}/a.cu", "command": FLAGS.format(source), "directory": "/"},
        {"file": f"{source}/b.cpp", "command": "c++ -c b.cpp", "directory": "/"},
    ]
    (tmp_path / "list.json").write_text(json.dumps(listed))
    backend = run(tmp_path, cmake=f"mkdir -p out && cp {tmp_path}/list.json out/compile_commands.json")
    (unit,) = probe_cmake(backend, tmp_path / "work" / "probe")
    assert (unit.source, unit.asked, unit.standard) == ("a.cu", ("sm_121", "compute_121"), "c++17")
    assert (tmp_path / "work" / "called").read_text().splitlines() == ["-S . -Bout -DX=1"]


def test_a_failed_configuration_is_the_error(tmp_path: Path) -> None:
    backend = run(tmp_path, cmake='echo "CMake Error at CMakeLists.txt:4 (find_package):"; exit 1')
    with pytest.raises(BuildError, match="find_package"):
        probe_cmake(backend, tmp_path / "work" / "probe")


@pytest.mark.parametrize("text", ["[", "[3]", '[{"command": "x"}]', "[" * 100_000])
def test_a_broken_list_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.json").write_text(text)
    backend = run(tmp_path, cmake=f"mkdir -p out && cp {tmp_path}/list.json out/compile_commands.json")
    with pytest.raises(InputError, match="list of commands"):
        probe_cmake(backend, tmp_path / "work" / "probe")


def test_which_projects_run_cmake(tmp_path: Path) -> None:
    cmake = {"csrc/CMakeLists.txt": "", "setup.py": 'call(["cmake", "csrc"])\n'}
    assert is_cmake_project(folder(tmp_path / "a", cmake), "setuptools.build_meta")
    assert is_cmake_project(folder(tmp_path / "b", {"CMakeLists.txt": ""}), "scikit_build_core.build")
    assert not is_cmake_project(folder(tmp_path / "c", {"CMakeLists.txt": "", "setup.py": ""}), "setuptools.build_meta")
    assert not is_cmake_project(folder(tmp_path / "d", dict(TINY)), "scikit_build_core.build")
