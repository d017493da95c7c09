"""Builds of which only the command lines are wanted: they end, and nothing was compiled."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest
from builders.kernels import tool
from elftools.elf.elffile import ELFFile

from shim.errors import ToolError
from shim.toolchain.front import ArchRequest, environment, install, read_log
from shim.toolchain.front.stubs import empty_object, host_compilers

from .conftest import Front


@pytest.fixture
def front(tmp_path: Path) -> Front:
    home = install(
        tmp_path / "home",
        toolkit=tool("nvcc").path.parent.parent,
        archs=ArchRequest(sass=("121",)),
        log=tmp_path / "log",
        record_only=True,
    )
    return Front(home, tmp_path / "log")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "a.cu").write_text("#error nobody compiles this\n")
    (folder / "b.cpp").write_text("#error nor this\n")
    return folder


def test_objects_and_depfiles(front, work):
    words = ["-c", "a.cu", "-o", "a.o", "-MD", "-MF", "a.d", "-arch=sm_60", "-std=c++17"]
    assert front.run(*words, cwd=work).returncode == 0
    with (work / "a.o").open("rb") as file:
        assert ELFFile(file)["e_type"] == "ET_REL"
    assert (work / "a.d").read_text() == "a.o: a.cu\n"
    (call,) = front.calls
    assert (call.recorded, call.kind, call.archs_before, call.archs_after) == (
        *(True, "compile"),
        ("sm_60", "compute_60"),
        ("sm_121",),
    )


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["-c", "a.cu"], "a.o"),
        (["-dc", "a.cu", "-odir", "out"], "out/a.o"),
        (["-ptx", "a.cu"], "a.ptx"),
        (["-cubin", "a.cu", "-o", "x.cubin"], "x.cubin"),
        (["-fatbin", "a.cu"], "a.fatbin"),
        (["-c", "a.cu", "-MMD"], "a.d"),
        (["-dlink", "a.o", "-o", "link.o"], "link.o"),
        (["-lib", "a.o", "-o", "x.a"], "x.a"),
        (["-shared", "a.o", "-o", "x.so"], "x.so"),
        (["a.cu"], "a.out"),
    ],
)
def test_what_a_build_waits_for_is_there(front, work, words, made):
    (work / "out").mkdir()
    assert front.run(*words, cwd=work).returncode == 0
    assert (work / made).exists()


def test_questions_are_still_answered(front, work):
    assert "release" in front.run("--version", cwd=work).stdout
    assert "compute_121" in front.run("--list-gpu-arch", cwd=work).stdout
    assert front.run("-E", "a.cu", cwd=work).returncode != 0  # the preprocessor is nvcc's own
    assert "-arch=sm_121" in front.run("-dryrun", "-c", "a.cu", cwd=work).stderr.replace("-arch sm_121", "-arch=sm_121")
    assert not (work / "a.o").exists()


def test_the_whole_way_to_a_library(front, work):
    env = environment(front.home, os.environ)
    for line in (
        "nvcc -c a.cu -o a.o",
        "$CXX -MMD -MF b.d -c b.cpp -o b.o -fPIC",
        "ar rcs x.a a.o b.o",
        "$CXX -shared a.o b.o -L/nowhere -lcublas_that_is_not_here -o lib.so",
        "strip --strip-debug lib.so",
        "$CXX --version > version",
        "g++ -shared -o real.so a.o b.o",  # what was written is good enough for the system's own linker
    ):
        subprocess.run(line, shell=True, cwd=work, env=env, check=True)
    with (work / "lib.so").open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_type"] == "ET_DYN"
        assert elf.get_machine_arch() == {"x86_64": "x64", "aarch64": "AArch64"}[platform.machine()]
    assert "b.cpp" in (work / "b.d").read_text()
    assert (work / "version").read_text()
    assert [(call.tool, call.kind) for call in read_log(front.log)] == [
        ("nvcc", "compile"),
        ("c++", "compile"),
        ("c++", "link"),
        ("c++", "query"),
    ]


def test_objects_of_both_machines():
    for machine, number in (("x86_64", "EM_X86_64"), ("aarch64", "EM_AARCH64")):
        import io

        elf = ELFFile(io.BytesIO(empty_object(machine)))
        assert elf["e_machine"] == number
        assert [section.name for section in elf.iter_sections()] == ["", ".note.GNU-stack", ".shstrtab"]
    with pytest.raises(ToolError, match="riscv64"):
        empty_object("riscv64")


def test_without_a_host_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="no cc on PATH"):
        host_compilers()
