"""torch's own files, as published: what they do with 12.1, and what they do after the edit that the recipes make."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from builders.torch_files import CPP_EXTENSION, SELECT_ARCH, cmake_flags, extension_flags
from builders.wheel_members import read_members

from shim.arch import ComputeCapability
from shim.toolchain.torch_arch import TorchArchs, accepted_archs

pytestmark = pytest.mark.real

SPARK = ComputeCapability(12, 1)
TAGS = {"2.5.1": "cp311-manylinux1_x86_64", "2.6.0": "cp311-manylinux1_x86_64"}
NATIVE = ("-gencode=arch=compute_121,code=sm_121",)
FERMI = b'string(REPLACE "2.1" "2.1(2.0)" compute_capabilities "${compute_capabilities}")'


@functools.cache
def published(version: str) -> dict[str, bytes]:
    """The two files; those of the wheels with and without CUDA are the same."""
    tag = TAGS.get(version, "cp311-manylinux_2_28_x86_64")
    return read_members("torch", version, f"-{tag}".split("cp311-", 1)[-1], (CPP_EXTENSION, SELECT_ARCH))


@pytest.mark.parametrize(
    ("version", "takes"),
    [("2.5.1", ""), ("2.6.0", ""), ("2.7.1", "12.0"), ("2.8.0", "12.0 12.1"), ("2.9.1", "12.0 12.1")],
)
def test_what_we_read_is_what_torch_does(version: str, takes: str, tmp_path: Path) -> None:
    source = published(version)[CPP_EXTENSION]
    archs = TorchArchs(folder=tmp_path, cuda=None, accepted=accepted_archs(source))
    assert [arch for arch in ("12.0", "12.1") if archs.takes(arch)] == takes.split()
    for asked in ("8.0", "9.0+PTX", "10.0", "12.0", "12.0a", "12.1", "12.1+PTX", "12.1a", "12.1f", "13.0"):
        answer = extension_flags(source, asked, tmp_path)
        assert bool(answer.flags) == archs.takes(asked), (asked, answer)
        if not answer.flags:
            assert answer.error == f"ValueError: Unknown CUDA arch ({asked}) or GPU not supported"
    best = archs.best_for(SPARK)
    assert best is not None
    assert extension_flags(source, best, tmp_path).flags


def test_torch_2_7_rejects_12_1_until_its_list_names_it(tmp_path: Path) -> None:
    source = published("2.7.1")[CPP_EXTENSION]
    before = extension_flags(source, "12.1", tmp_path)
    assert before.error == "ValueError: Unknown CUDA arch (12.1) or GPU not supported"
    place = b"'12.0', '12.0a']"
    assert source.count(place) == 1
    edited = source.replace(place, b"'12.0', '12.0a', '12.1', '12.1a']")
    assert extension_flags(edited, "12.1", tmp_path).flags == NATIVE
    assert extension_flags(edited, "12.1a", tmp_path).flags == ("-gencode=arch=compute_121a,code=sm_121a",)
    assert "12.1" in accepted_archs(edited)


def test_a_torch_without_12_1_code_clamps_the_gpu_it_finds(tmp_path: Path) -> None:
    """Unset, the variable gives the newest architecture of torch itself: 12.0 on a Spark, which runs that."""
    flags = extension_flags(published("2.9.1")[CPP_EXTENSION], None, tmp_path).flags
    assert flags == ("-gencode=arch=compute_120,code=compute_120", "-gencode=arch=compute_120,code=sm_120")


@pytest.mark.parametrize("version", ["2.6.0", "2.7.1", "2.9.1"])
def test_cmake_takes_a_spark_for_a_fermi_until_the_line_is_gone(version: str, tmp_path: Path) -> None:
    source = published(version)[SELECT_ARCH]
    before = cmake_flags(source, tmp_path)
    assert "12.1(2.0)" in before.said
    assert before.flags == ("-gencode", "arch=compute_20,code=sm_121")
    assert source.count(FERMI) == 1
    after = cmake_flags(source.replace(FERMI, b""), tmp_path)
    assert after.flags == ("-gencode", "arch=compute_121,code=sm_121")
    assert "2.0" not in after.said


def test_cmake_of_torch_2_5_reads_majors_of_one_digit_only(tmp_path: Path) -> None:
    """There the line is not all: no capability from 10.0 on is understood."""
    source = published("2.5.1")[SELECT_ARCH]
    for text in (source, source.replace(FERMI, b"")):
        assert "Unknown CUDA Architecture Name" in cmake_flags(text, tmp_path).error
    assert "Unknown CUDA Architecture Name" in cmake_flags(source, tmp_path, asked="12.0").error


def test_cmake_takes_a_named_12_1_as_it_is(tmp_path: Path) -> None:
    source = published("2.9.1")[SELECT_ARCH]
    for asked, number in (("12.1", "121"), ("12.1a", "121a")):
        flags = cmake_flags(source, tmp_path, asked=asked).flags
        assert flags == ("-gencode", f"arch=compute_{number},code=sm_{number}")
    assert cmake_flags(source, tmp_path, asked="12.1+PTX").flags[-1] == "arch=compute_121,code=compute_121"
