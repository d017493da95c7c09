""".fatbin files through the command line, judged by NVIDIA's tools; .ptx and .cubin members; Triton's ptxas."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from builders.fake_tools import ptxas_text
from builders.kernels import build_cubin, build_fatbin, build_ptx
from builders.wheels import make_wheel
from e2e.conftest import Shim
from oracles.cuobjdump import count_images
from oracles.nvjitlink import Choice, choose

from shim.devicecode import read_path

SOURCE = """
__device__ int counter;
__global__ void k(int* a) { *a = 1; }
__global__ void j(float* a, int n) { if (threadIdx.x < n) a[threadIdx.x] *= 2.f; counter = n; }
"""
PTX_80 = ("-gencode", "arch=compute_80,code=[sm_80,compute_80]")
PTX_90 = ("-gencode", "arch=compute_90,code=[sm_90,compute_90]")


@pytest.fixture(scope="session")
def two() -> bytes:
    """Two containers, one after the other."""
    return build_fatbin(SOURCE, *PTX_80) + build_fatbin(SOURCE, *PTX_90)


def containers(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[one.offset : one.offset + one.size] for one in read_path(path).containers]


def patch(shim: Shim, path: Path, out: Path, *more: object, code: int = 0) -> dict[str, object]:
    ran = shim("patch", path, "-o", out, "--format", "json", "--platform", "x86_64", *more)
    assert ran.code == code, ran.err
    return json.loads(ran.out)


def test_a_fatbin_file_is_rewritten_and_given_back(shim: Shim, tmp_path: Path, two: bytes) -> None:
    path = tmp_path / "two.fatbin"
    path.write_bytes(two)
    assert [choose(one, "121a") for one in containers(path)] == [Choice.JIT, Choice.JIT]
    result = patch(shim, path, tmp_path / "out")
    (library,) = result["libraries"]
    assert (library["after"], library["layout"]["name"], library["images"], library["kernels"]) == (
        "native",
        "repack",
        2,
        4,
    )
    new = tmp_path / "out" / "two.fatbin"
    assert [choose(one, "121a") for one in containers(new)] == [Choice.SASS, Choice.SASS]
    assert [choose(one, "90") for one in containers(new)] == [Choice.JIT, Choice.SASS]  # as before
    for data in containers(new):  # cuobjdump reads a file of one container
        (tmp_path / "one.fatbin").write_bytes(data)
        assert count_images(tmp_path / "one.fatbin")["ELF", "121"] == 1
    document = json.loads((tmp_path / "out" / "two.fatbin.shim.json").read_text())
    (member,) = document["members"]
    assert member["patched"]["sha256"] == hashlib.sha256(new.read_bytes()).hexdigest()
    assert [one["images"][0]["arch"] for one in member["containers"]] == ["sm_121", "sm_121"]
    undone = shim("undo", new, "-o", tmp_path / "back")
    assert undone.code == 0, undone.err
    assert (tmp_path / "back" / "two.fatbin").read_bytes() == two


def test_a_wheel_with_fatbin_ptx_and_cubin_members(shim: Shim, tmp_path: Path, two: bytes) -> None:
    ptx = build_ptx(SOURCE)
    members = {
        "demo/k.fatbin": two,
        "demo/k.ptx": ptx,
        "demo/a.cubin": build_cubin(ptx, arch="sm_80"),
        "demo/b.cubin": build_cubin(ptx, arch="sm_120"),
    }
    wheel = make_wheel(tmp_path, members, tag="py3-none-linux_x86_64")
    result = patch(shim, wheel, tmp_path / "out", code=1)  # the .ptx file stays text
    assert [(one["member"], one["after"]) for one in result["libraries"]] == [("demo/k.fatbin", "native")]
    assert [(one["member"], one["code"]) for one in result["refusals"]] == [("demo/k.ptx", "ptx-file")]
    new = tmp_path / "out" / "demo-1.0-1sm121-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(new) as archive:
        for name in ("demo/k.ptx", "demo/a.cubin", "demo/b.cubin"):
            assert archive.read(name) == members[name]
        patched = Path(archive.extract("demo/k.fatbin", tmp_path / "unpacked"))
    assert [choose(one, "121a") for one in containers(patched)] == [Choice.SASS, Choice.SASS]
    verified = shim("verify", new)
    assert verified.code == 0, verified.err
    assert "2 new images are in place" in verified.out
    assert shim("undo", new, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / wheel.name).read_bytes() == wheel.read_bytes()


def test_relocatable_fatbin_files_stay(shim: Shim, tmp_path: Path) -> None:
    path = tmp_path / "part.fatbin"
    path.write_bytes(build_fatbin(SOURCE, "-rdc=true", *PTX_80))
    ran = shim("patch", path, "-o", tmp_path / "out")
    assert ran.code == 5
    assert "[relocatable-file]" in ran.err


def test_only_cubins_of_other_devices(shim: Shim, tmp_path: Path) -> None:
    cubin = build_cubin(build_ptx(SOURCE), arch="sm_80")
    wheel = make_wheel(tmp_path, {f"demo/{i}.cubin": cubin for i in range(300)}, tag="py3-none-any")
    ran = shim("patch", wheel, "-o", tmp_path / "out")
    assert ran.code == 5
    assert "[cubin-file] 300 files of sm_80" in ran.err


def test_patching_a_triton_wheel_leaves_its_ptxas(shim: Shim, tmp_path: Path, libraries: dict[str, bytes]) -> None:
    old = ptxas_text("12.8.93")
    members = {
        "triton/_C/libtriton.so": libraries["jit"],
        "triton/backends/nvidia/bin/ptxas": old,
        "triton/backends/nvidia/bin/ptxas-blackwell": old,
    }
    wheel = make_wheel(tmp_path, members, name="triton", version="3.4.0", tag="py3-none-linux_x86_64")
    result = patch(shim, wheel, tmp_path / "out", "--no-recipes")
    (note,) = result["notes"]
    assert "triton 3.4.0 calls its own ptxas 12.8.93 for 12.1, which does not take sm_121a" in note
    assert "(by version); set TRITON_PTXAS_PATH to a ptxas of CUDA 12.9" in note
    (new,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(new) as archive:
        for name in ("ptxas", "ptxas-blackwell"):
            assert archive.read(f"triton/backends/nvidia/bin/{name}").decode() == old


def test_warm_then_patch_compiles_nothing(shim: Shim, wheel: Path, tmp_path: Path) -> None:
    warmed = shim("warm", wheel, "--format", "json")
    assert warmed.code == 0, warmed.err
    (package,) = json.loads(warmed.out)["packages"]
    assert package["compiled"] == package["modules"] == 4
    work = patch(shim, wheel, tmp_path / "out")["work"]
    assert (work["compiled"], work["cached"]) == (0, 4)
