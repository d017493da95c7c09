"""Retargeting and restamping through the command line, on libraries that nvcc makes here."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from builders.kernels import build_shared
from builders.wheels import make_wheel
from e2e.conftest import Shim
from oracles.nvjitlink import Choice, choose

from shim.devicecode import DeviceCode, read_path

SOURCE = """
static __constant__ float table[4];
template <class T> __global__ void scale(T* x, T f) { x[threadIdx.x] = x[threadIdx.x] * f + T(table[threadIdx.x & 3]); }
extern "C" int entry() { scale<float><<<1, 32>>>(nullptr, 2.f); scale<double><<<1, 32>>>(nullptr, 2.0); return 7; }
"""
# nvcc checks PTX that it embeds, so an instruction that 12.x does not have is put in afterwards.
FENCED = """
__global__ void k() { asm volatile("bar.warp.sync 0xffffffff;"); }
extern "C" int entry() { k<<<1, 1>>>(); return 7; }
"""
KNOWN, UNKNOWN = b"bar.warp.sync 0xffffffff;", b"wgmma.fence.sync.aligned;"
SASS_120A = (("compute_120a", "sm_120a"), ("compute_90", "sm_90"))
NAME = "demo-1.0-1sm121-py3-none-linux_x86_64.whl"


def wheel_of(folder: Path, library: Path) -> Path:
    folder.mkdir()
    members = {"demo/__init__.py": "", "demo/lib.so": library.read_bytes()}
    return make_wheel(folder, members, tag="py3-none-linux_x86_64")


def live(path: Path) -> tuple[DeviceCode, list[bytes]]:
    """Containers that a wrapper points at and that hold a kernel image."""
    code, data = read_path(path), path.read_bytes()
    targets = {wrapper.target for wrapper in code.wrappers}
    found = [c for c in code.containers if c.offset in targets and c.role.value == "whole"]
    return code, [data[c.offset : c.offset + c.size] for c in found]


def unpacked(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract("demo/lib.so", folder))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shared(tmp_path_factory.mktemp("a"), {"k.cu": SOURCE}, archs=(), ptx=("compute_120a",))


@pytest.fixture(scope="module")
def machine_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shared(tmp_path_factory.mktemp("b"), {"k.cu": SOURCE}, archs=SASS_120A, ptx=())


def test_retarget_by_default(shim: Shim, texts: Path, tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path / "in", texts)
    assert {choose(container, "121a") for container in live(texts)[1]} == {Choice.REJECT}
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--load", "--format", "json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    (library,) = result["libraries"]
    assert (library["before"], library["after"], library["load"]) == ("none", "native", "loads")
    assert result["plan"][0]["steps"][0]["makes"][0]["act"] == "retarget"
    assert "not run on a GB10" in library["remarks"][0]
    new = tmp_path / "out" / NAME
    assert {choose(c, "121a") for c in live(unpacked(new, tmp_path))[1]} == {Choice.SASS}
    assert shim("verify", new).code == 0
    assert shim("undo", new, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / wheel.name).read_bytes() == wheel.read_bytes()


def test_an_instruction_that_is_not_accepted_is_refused_in_ptxas_words(shim: Shim, tmp_path: Path) -> None:
    library = build_shared(tmp_path, {"k.cu": FENCED}, archs=(), ptx=("compute_120a",), extra=("--no-compress",))
    assert library.read_bytes().count(KNOWN) == 1
    library.write_bytes(library.read_bytes().replace(KNOWN, UNKNOWN))
    wheel = wheel_of(tmp_path / "in", library)
    ran = shim("patch", wheel, "-o", tmp_path / "out")
    assert ran.code == 5
    assert "[retarget-refused] for sm_121a ptxas says:" in ran.err
    assert "wgmma" in ran.err
    assert not (tmp_path / "out" / NAME).exists()


def test_restamp_only_when_asked(shim: Shim, machine_code: Path, tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path / "in", machine_code)
    without = shim("patch", wheel, "-o", tmp_path / "out")
    assert without.code == 5
    assert "--experimental-restamp" in without.err
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--experimental-restamp", "--load", "--format", "json")
    assert ran.code == 0, ran.err
    (library,) = json.loads(ran.out)["libraries"]
    assert (library["before"], library["after"], library["load"]) == ("none", "native", "loads")
    assert (library["images"], library["kernels"]) == (1, 2)
    assert "not an act that NVIDIA supports, not run on a GB10" in library["remarks"][0]
    assert "of the release that made it, gives equal bytes" in library["remarks"][0]
    new = tmp_path / "out" / NAME
    code, containers = live(unpacked(new, tmp_path))
    assert {choose(container, "121a") for container in containers} == {Choice.SASS}
    assert {choose(container, "120a") for container in containers} == {Choice.SASS}  # the original is beside it
    changed = [c for c in code.containers if any(str(image.arch) == "121a" for image in c.images)]
    assert [str(image.arch) for image in changed[0].images] == ["121a", "120a", "90"]
    with zipfile.ZipFile(new) as archive:
        document = json.loads(archive.read("demo-1.0.dist-info/shim/provenance.json"))
    (image,) = document["members"][0]["containers"][0]["images"]
    assert (image["act"], image["arch"], image["remarks"]) == ("restamp", "sm_121a", library["remarks"])
    assert document["request"]["restamp"] is True
    assert shim("verify", new).code == 0
    assert shim("undo", new, "-o", tmp_path / "back").code == 0
    assert (tmp_path / "back" / wheel.name).read_bytes() == wheel.read_bytes()


def test_debug_code_keeps_its_mark(shim: Shim, tmp_path: Path) -> None:
    library = build_shared(tmp_path, {"k.cu": SOURCE}, archs=SASS_120A, ptx=(), extra=("-G",))
    wheel = wheel_of(tmp_path / "in", library)
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--experimental-restamp")
    assert ran.code == 0, ran.err
    code, containers = live(unpacked(tmp_path / "out" / NAME, tmp_path))
    assert {choose(container, "121a") for container in containers} == {Choice.SASS}
    flags = {str(image.arch): image.flags & 0x2 for c in code.containers for image in c.images}
    assert flags == {"121a": 0x2, "120a": 0x2, "90": 0x2}


def test_relocatable_code_is_left_alone(shim: Shim, tmp_path: Path) -> None:
    library = build_shared(tmp_path, {"k.cu": SOURCE}, archs=SASS_120A, ptx=(), rdc=True)
    wheel = wheel_of(tmp_path / "in", library)
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--experimental-restamp")
    assert ran.code == 5
    assert "relocatable" in ran.err


def test_two_targets_get_one_image_each(shim: Shim, texts: Path, tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path / "in", texts)
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--target", "12.0", "--target", "12.1", "--format", "json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    makes = [make for step in result["plan"][0]["steps"] for make in step["makes"]]
    assert {(make["act"], make["arch"]) for make in makes} == {("compile", "sm_120a"), ("retarget", "sm_121a")}
    containers = live(unpacked(Path(result["path"]), tmp_path))[1]
    assert {choose(c, arch) for c in containers for arch in ("120a", "121a")} == {Choice.SASS}


def test_restamp_without_a_compiler_of_that_release_is_refused(shim: Shim, machine_code: Path, tmp_path: Path) -> None:
    """`--ptxas` names one that does not stand for the release: nothing is taken on trust."""
    wheel = wheel_of(tmp_path / "in", machine_code)
    other = tmp_path / "ptxas"
    other.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.9, V12.9.86'\n")
    other.chmod(0o755)
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--experimental-restamp", "--ptxas", other)
    assert ran.code == 5
    assert "[restamp-refused]" in ran.err
    assert "does not stand for ptxas of CUDA" in ran.err


def test_code_of_a_newer_major_than_the_driver_is_refused(shim: Shim, tmp_path: Path) -> None:
    library = build_shared(tmp_path, {"k.cu": SOURCE}, archs=(), ptx=("compute_80",))  # nvcc of CUDA 13
    wheel = wheel_of(tmp_path / "in", library)
    ran = shim("patch", wheel, "-o", tmp_path / "out", "--driver-cuda", "12.9")
    assert ran.code == 5
    assert "[driver-too-old] its PTX is of CUDA 13" in ran.err
