"""The variables that a command under `shim exec` gets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from builders.fake_tools import banner, fake_ptxas, program
from builders.kernels import tool

from shim.arch import Arch
from shim.errors import ToolError
from shim.toolchain.find import Survey
from shim.toolchain.front import Mode
from shim.toolchain.session import prepare
from shim.toolchain.tool import ask_version

from .test_torch_arch import torch

NEW = "75 80 120 121"


def toolkit(root: Path, version: str = "13.0.88", archs: str = NEW) -> Path:
    listed = f"[ \"$1\" = --list-gpu-arch ] && {{ printf 'compute_%s\\n' {archs}; exit; }}"
    top = f"[ \"$1\" = -v ] && {{ echo '#$ TOP={root}' >&2; exit 1; }}"
    program(root / "bin" / "nvcc", f"#!/bin/sh\n{listed}\n{top}\ncat <<'E'\n{banner(version, 'nvcc')}E\n")
    return root


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """`prepare` for a Python whose packages are in `tmp_path/site`, on a machine with these toolkits."""
    monkeypatch.setattr("shim.toolchain.session.import_path", lambda *_: (tmp_path / "site",))

    def run(*roots: Path, environ: dict[str, str] | None = None, arch: str = "121", **options):
        tools = tuple(ask_version(root / "bin" / "nvcc", name="nvcc", origin="PATH") for root in roots)
        monkeypatch.setattr("shim.toolchain.session.survey", lambda name: Survey(tools=tools, broken=()))
        return prepare(
            [sys.executable],
            {"PATH": "/bin", "KEPT": "yes", **(environ or {})},
            arch=Arch.parse(arch),
            mode=Mode.ADD,
            folder=tmp_path / "cuda",
            log=tmp_path / "log",
            offline=True,
            **options,
        )

    return run


def test_variables(prepared, tmp_path):
    session = prepared(toolkit(tmp_path / "toolkit"))
    home = tmp_path / "cuda"
    assert session.environ == {
        "PATH": f"{home}/bin:/bin",
        "KEPT": "yes",
        "CUDA_HOME": str(home),
        "CUDA_PATH": str(home),
        "CUDACXX": f"{home}/bin/nvcc",
        "CUDAARCHS": "121",
        "TORCH_CUDA_ARCH_LIST": "12.1",
    }
    assert (session.toolkit, session.notes) == (tmp_path / "toolkit", ())


def test_the_users_own_values_are_kept(prepared, tmp_path):
    own = {"CUDAARCHS": "80;121", "TORCH_CUDA_ARCH_LIST": "8.0;12.1", "MAX_JOBS": "3", "CUDA_HOME": "/else"}
    got = prepared(toolkit(tmp_path / "toolkit"), environ=own).environ
    assert {name: got[name] for name in own} == own | {"CUDA_HOME": str(tmp_path / "cuda")}


def test_flags_for_other_nvccs(prepared, tmp_path):
    got = prepared(toolkit(tmp_path / "t"), environ={"NVCC_APPEND_FLAGS": "-O1"}, append_flags=True).environ
    assert got["NVCC_APPEND_FLAGS"] == "-O1 -gencode=arch=compute_121,code=sm_121"


@pytest.mark.parametrize(
    ("arch", "accepted", "value", "told"),
    [
        ("121", "'12.0', '12.1', '12.1a'", "12.1", False),
        ("121a", "'12.0', '12.1', '12.1a'", "12.1a", False),
        ("120f", "'12.0', '12.1'", "12.0", False),  # no torch takes an f
        ("121", "'12.0', '12.0a'", "12.0", True),
        ("121", "'10.0'", "10.0", True),
    ],
)
def test_torch_gets_what_it_takes(prepared, tmp_path, arch, accepted, value, told):
    torch(tmp_path / "site", accepted)
    session = prepared(toolkit(tmp_path / "t", "12.9.86"), arch=arch)
    assert session.environ["TORCH_CUDA_ARCH_LIST"] == value
    assert any("does not take" in note for note in session.notes) == told


def test_the_toolkit_is_of_torchs_cuda_major(prepared, tmp_path):
    torch(tmp_path / "site", "'12.1'", "cuda = '12.9'\n")
    new, old = toolkit(tmp_path / "new"), toolkit(tmp_path / "old", "12.9.86")
    assert prepared(new, old).toolkit == old


def test_another_major_is_said_to_be_one(prepared, tmp_path):
    torch(tmp_path / "site", "'12.1'", "cuda = '12.9'\n")
    session = prepared(toolkit(tmp_path / "new"))
    assert session.toolkit == tmp_path / "new"
    assert "torch may refuse it" in session.notes[0]


def test_a_toolkit_that_does_not_know_the_target_is_passed_over(prepared, tmp_path):
    old, new = toolkit(tmp_path / "old", "12.8.93", "75 120"), toolkit(tmp_path / "new")
    assert prepared(old, new).toolkit == new


def test_without_any_only_variables_are_set(prepared, tmp_path):
    session = prepared(toolkit(tmp_path / "old", "12.8.93", "75 120"))
    assert session.toolkit is None
    assert "no nvcc on this machine knows sm_121" in session.notes[0]
    assert session.environ["TORCH_CUDA_ARCH_LIST"] == "12.1"
    assert "CUDA_HOME" not in session.environ


def test_a_named_toolkit_is_used_or_refused(prepared, tmp_path):
    good, old = toolkit(tmp_path / "good"), toolkit(tmp_path / "old", "12.8.93", "75 120")
    with pytest.raises(ToolError, match="does not know sm_121; its newest is sm_120"):
        prepared(good, toolkit=old)


def test_triton_is_looked_after(prepared, tmp_path):
    info = tmp_path / "site" / "triton-3.6.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: triton\nVersion: 3.6.0\n")
    fake_ptxas(tmp_path / "site" / "triton/backends/nvidia/bin/ptxas-blackwell", archs="sm_121a")
    session = prepared(toolkit(tmp_path / "t"), environ={"TRITON_PTXAS_PATH": "/x"})
    assert "does not look at TRITON_PTXAS_PATH" in session.notes[0]


def test_this_machine(tmp_path):
    session = prepare(
        [sys.executable],
        os.environ,
        arch=Arch.parse("121"),
        mode=Mode.ADD,
        folder=tmp_path / "cuda",
        log=tmp_path / "log",
        toolkit=tool("nvcc").path.parent.parent,
        offline=True,
    )
    assert Path(session.environ["CUDACXX"]).is_file()
