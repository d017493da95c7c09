from __future__ import annotations

import platform

import pytest

from shim.arch import ComputeCapability, Target
from shim.model import Alternative
from shim.scan.cuda_libraries import cuda_majors, providers
from shim.scan.library import scan_library
from shim.scan.platform import (
    cuda_findings,
    glibc_floor,
    linked_cuda,
    machine_of,
    machines_of_tags,
    platform_findings,
)
from tests.unit.scan.make import library

GB10 = Target()


def reports(*needed: str, glibc: tuple[int, int] | None = (2, 17)) -> list:
    return [scan_library(library("sm_121", needed=needed, glibc=glibc), GB10).report]


def missing(needed: list[str], target: Target = GB10, **known: set[str]) -> list[str]:
    found = cuda_findings(
        reports(*needed), target, bundled=known.get("bundled", ()), required=known.get("required", ())
    )
    return [f"{finding.text} | {finding.evidence}" for finding in found]


class TestMachine:
    def test_a_spark_is_arm(self):
        assert machine_of(None, GB10) == "aarch64"
        assert machine_of("x86_64", GB10) == "x86_64"
        assert machine_of("native", GB10) == platform.machine()

    def test_other_targets_say_nothing(self):
        assert machine_of(None, Target(device=ComputeCapability(12, 0))) is None

    @pytest.mark.parametrize(
        ("tags", "machines"),
        [
            (["manylinux_2_28_aarch64"], ("aarch64",)),
            (["manylinux_2_27_x86_64", "manylinux_2_28_x86_64"], ("x86_64",)),
            (["manylinux2014_aarch64", "manylinux2014_x86_64"], ("aarch64", "x86_64")),
            (["any"], ("any",)),
            (["linux_aarch64"], ("aarch64",)),
            (["musllinux_1_2_x86_64"], ("x86_64",)),
            (["win_amd64"], ("win_amd64",)),
            (["macosx_11_0_arm64"], ("macosx_11_0_arm64",)),
        ],
    )
    def test_tags(self, tags, machines):
        assert machines_of_tags(tags) == machines


class TestFindings:
    def codes(self, *, machines=(), glibc=None, machine="aarch64", target=GB10):
        found = platform_findings(machines=machines, glibc=glibc, machine=machine, target=target, where="w")
        return [finding.code for finding in found]

    @pytest.mark.parametrize(
        ("machines", "machine", "codes"),
        [
            (("x86_64",), "aarch64", ["wrong-platform"]),
            (("win_amd64",), "x86_64", ["wrong-platform"]),
            (("aarch64",), "aarch64", []),
            (("x86_64", "aarch64"), "aarch64", []),
            (("any",), "aarch64", []),
            ((), "aarch64", []),
            (("x86_64",), None, []),
        ],
    )
    def test_platform(self, machines, machine, codes):
        assert self.codes(machines=machines, machine=machine) == codes

    def test_glibc(self):
        assert self.codes(glibc=(2, 40)) == ["glibc-too-new"]
        assert self.codes(glibc=(2, 39)) == []
        assert self.codes(glibc=(2, 40), target=Target(device=ComputeCapability(9, 0)), machine=None) == []


class TestGlibc:
    @pytest.mark.parametrize(
        ("tags", "wanted", "floor"),
        [
            (["manylinux_2_28_aarch64"], (2, 17), (2, 28)),
            (["manylinux_2_27_x86_64", "manylinux_2_28_x86_64"], (2, 14), (2, 27)),
            (["manylinux2014_x86_64"], (2, 34), (2, 34)),
            (["any"], None, None),
            ([], (2, 31), (2, 31)),
        ],
    )
    def test_floor(self, tags, wanted, floor):
        assert glibc_floor(tags, reports(glibc=wanted)) == floor


class TestCudaLibraries:
    @pytest.mark.parametrize(
        ("soname", "majors"),
        [
            ("libcudart.so.12", (12,)),
            ("libcudart.so.11.0", (11,)),
            ("libcublasLt.so.13", (13,)),
            ("libcufft.so.11", (12,)),
            ("libcusolver.so.11", (11, 12)),
            ("libcusparse.so.12", (12, 13)),
            ("libnppig.so.12", (12,)),
            ("libcurand.so.10", ()),
            ("libcudnn.so.9", ()),
            ("libcuda.so.1", ()),
            ("libc.so.6", ()),
            ("libcufft.so", ()),
        ],
    )
    def test_majors(self, soname, majors):
        assert cuda_majors(soname) == majors

    def test_providers(self):
        assert providers("libcudart.so.12") == {"nvidia-cuda-runtime-cu12"}
        assert providers("libcublas.so.13") == {"nvidia-cublas-cu13", "nvidia-cublas"}
        assert providers("libfoo.so.1") == frozenset()

    def test_missing(self):
        assert missing(["libcudart.so.12", "libcublas.so.12", "libc.so.6"]) == [
            "links libraries of CUDA 12, which a CUDA 13 environment does not have"
            " | libcudart.so.12, libcublas.so.12 needed by lib/libdemo.so"
        ]

    def test_not_missing(self):
        assert missing(["libcudart.so.13", "libcusparse.so.12", "libcurand.so.10"]) == []
        assert missing(["libcudart.so.12"], bundled={"libcudart.so.12"}) == []
        assert missing(["libcudart.so.12"], required={"nvidia-cuda-runtime-cu12"}) == []
        assert missing(["libcudart.so.12"], Target(driver_cuda=(12, 9))) == []

    def test_newer_than_the_driver(self):
        assert len(missing(["libcudart.so.13"], Target(driver_cuda=(12, 8)))) == 1
        assert missing(["libcudart.so.13"], Target(driver_cuda=(12, 8)), required={"nvidia-cuda-runtime"}) == []

    def test_the_unsuffixed_packages_do_not_bring_cuda_12(self):
        assert len(missing(["libcudart.so.12"], required={"nvidia-cuda-runtime"})) == 1

    def test_builds_not_taken_need_nothing(self):
        from dataclasses import replace

        (report,) = reports("libcudart.so.11.0")
        other = replace(report, alternative=Alternative(group="*", variant="CUDA 11.8", decides=False))
        assert list(cuda_findings([other], GB10, bundled=(), required=())) == []

    def test_summary(self):
        assert linked_cuda(reports("libcudart.so.12", "libcusparse.so.12", "libcufft.so.12")) == (12, 13)
