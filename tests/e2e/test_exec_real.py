"""A published sdist whose setup.py names architectures that CUDA 13 has dropped, built unmodified under `shim exec`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from builders.kernels import tool
from packaging.version import Version

from shim.devicecode import read_path
from shim.toolchain.front import ArchRequest, environment, install, read_log

pytestmark = [pytest.mark.real, pytest.mark.slow]

LISTED = ("sm_53", "sm_62", "sm_70", "sm_72", "sm_80", "sm_87", "sm_90", "sm_100")  # causal-conv1d 1.5.2, setup.py
RETIRED = LISTED[:4]


Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def build(torch_python: Path, tmp_path: Path) -> Build:
    """pip wheel of a requirement into `tmp_path/wheels`; no cache of pip's, which would hand out earlier wheels."""

    def run(requirement: str, *prefix: str, **variables: str) -> subprocess.CompletedProcess[str]:
        options = ("--no-cache-dir", "--no-build-isolation", "--no-deps", "--wheel-dir", str(tmp_path / "wheels"))
        argv = [*prefix, str(torch_python), "-m", "pip", "wheel", "--verbose", *options, requirement]
        environ = {**os.environ, "CAUSAL_CONV1D_FORCE_BUILD": "TRUE", "MAX_JOBS": "2", **variables}
        for name in ("TORCH_CUDA_ARCH_LIST", "NVCC_APPEND_FLAGS", "CUDAARCHS"):
            environ.pop(name, None)
        return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=3600, check=False)

    return run


def test_causal_conv1d_is_built_as_published(build, tmp_path):
    toolkit = tool("nvcc").path.parent.parent
    before = build("causal-conv1d==1.5.2", CUDA_HOME=str(toolkit))
    assert before.returncode != 0
    assert "Unsupported gpu architecture 'compute_53'" in before.stdout + before.stderr
    log = tmp_path / "calls"
    after = build(
        "causal-conv1d==1.5.2",
        *(
            sys.executable,
            "-m",
            "shim",
            "exec",
            "--mode",
            "replace",
            "--toolkit",
            str(toolkit),
            "--log",
            str(log),
            "--",
        ),
    )
    assert after.returncode == 0, after.stderr[-4000:]
    assert "shim: nvcc: 3 calls, 3 changed for sm_121" in after.stderr
    compiled = [call for call in read_log(log) if call.kind == "compile"]
    assert [(call.archs_before, call.archs_after, call.dropped) for call in compiled] == 3 * [
        (LISTED, ("sm_121",), RETIRED)
    ]
    (wheel,) = (tmp_path / "wheels").glob("causal_conv1d-1.5.2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if name.endswith(".so"))
        code = read_path(Path(archive.extract(member, tmp_path)))
    images = [[str(image.arch) for image in container.images] for container in code.containers]
    assert sorted(images) == [["121"]] * 3
    scan = [sys.executable, "-m", "shim", "scan", str(wheel), "--platform", "native", "--format", "json"]
    report = json.loads(subprocess.run(scan, capture_output=True, text=True, check=True).stdout)["reports"][0]
    assert report["verdict"]["grade"] == "native"


@pytest.mark.parametrize(
    ("requirement", "variables", "nvcc", "standard"),
    [
        ("causal-conv1d==1.5.2", {}, [(LISTED, RETIRED)] * 3, "-std=c++20"),
        ("chamferdist==1.0.3", {"FORCE_CUDA": "1"}, None, "-std=c++17"),  # fails to build with torch 2.12 and later
    ],
)
def test_a_recording_tells_what_would_be_compiled(
    build, torch_python, tmp_path, requirement, variables, nvcc, standard
):
    """In seconds, of which the most are pip's and torch's."""
    site = subprocess.run(
        [
            torch_python,
            "-c",
            "import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1], torch.__version__)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert Version(site[1]) >= Version("2.12")
    log = tmp_path / "calls"
    home = install(
        tmp_path / "cuda",
        toolkit=tool("nvcc").path.parent.parent,
        archs=ArchRequest(sass=("121",)),
        log=log,
        record_only=True,
        wheels=[Path(site[0])],
    )
    environ = environment(home, {**os.environ, **variables, "CAUSAL_CONV1D_FORCE_BUILD": "TRUE"})
    environ["TORCH_CUDA_ARCH_LIST"] = "12.1"
    options = ("--no-cache-dir", "--no-build-isolation", "--no-deps", "--wheel-dir", str(tmp_path / "wheels"))
    argv = [str(torch_python), "-m", "pip", "wheel", *options, requirement]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    calls = [call for call in read_log(log) if call.recorded]
    device = [(call.archs_before, call.dropped) for call in calls if call.tool == "nvcc"]
    assert device == (nvcc or [(("sm_121",), ())])
    host = [call for call in calls if call.tool == "c++" and call.kind == "compile"]
    assert host
    assert all(standard in call.argv for call in host)
    assert any(call.kind == "link" for call in calls)
