"""File names, METADATA and WHEEL."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.wheels import make_wheel
from packaging.utils import parse_wheel_filename

from shim.errors import InputError, UsageError
from shim.wheels.archive import WheelArchive
from shim.wheels.metadata import parse_metadata, parse_wheel_file, read_metadata, read_wheel_file, with_build
from shim.wheels.name import parse_wheel_name, patched_build, patched_name

BNB = "bitsandbytes-0.50.2-py3-none-manylinux_2_24_aarch64.whl"


@pytest.mark.parametrize(
    "filename",
    [
        BNB,
        "torch-2.9.1+cu130-cp312-cp312-manylinux_2_28_x86_64.whl",
        "Some_Name-1!2.0rc1-2foo-cp310.cp311-abi3-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
    ],
)
def test_names_keep_their_spelling(filename: str) -> None:
    assert str(parse_wheel_name(filename)) == filename


def test_parts() -> None:
    name = parse_wheel_name("Some_Name-1.0-2foo-cp310.cp311-abi3-linux_aarch64.whl")
    assert (name.normalized, str(name.parsed_version), name.build_number) == ("some-name", "1.0", 2)
    assert {str(tag) for tag in name.tags} == {"cp310-abi3-linux_aarch64", "cp311-abi3-linux_aarch64"}


@pytest.mark.parametrize("filename", ["x.whl", "a-1.0.whl", "a-1.0-foo-py3-none-any.whl", "a-1.0-py3-none-any.zip", ""])
def test_no_wheel_name(filename: str) -> None:
    with pytest.raises(InputError, match="not the file name of a wheel"):
        parse_wheel_name(filename)


PATCHED = [
    (BNB, ["121"], "bitsandbytes-0.50.2-1sm121-py3-none-manylinux_2_24_aarch64.whl"),
    ("a-1.0-2-py3-none-any.whl", ["121"], "a-1.0-2sm121-py3-none-any.whl"),
    ("a-1.0-2foo-py3-none-any.whl", ["121"], "a-1.0-2sm121-py3-none-any.whl"),
    ("a-1.0-0-py3-none-any.whl", ["121"], "a-1.0-1sm121-py3-none-any.whl"),
    ("a-1.0-1sm121-py3-none-any.whl", ["121"], "a-1.0-1sm121-py3-none-any.whl"),
    ("a-1.0-py3-none-any.whl", ["121", "120"], "a-1.0-1sm121_sm120-py3-none-any.whl"),
]


@pytest.mark.parametrize(("upstream", "targets", "patched"), PATCHED)
def test_patched_name(upstream: str, targets: list[str], patched: str) -> None:
    assert str(patched_name(parse_wheel_name(upstream), targets)) == patched


def test_patched_name_wins_over_the_upstream_one() -> None:
    old = parse_wheel_filename("a-1.0-2foo-py3-none-any.whl")
    new = parse_wheel_filename(str(patched_name(parse_wheel_name("a-1.0-2foo-py3-none-any.whl"), ["121"])))
    assert new[:2] == old[:2]
    assert new[2] > old[2]


@pytest.mark.parametrize("targets", [[], ["12.1"], ["sm_121"], ["121", ""]])
def test_targets_are_numbers(targets: list[str]) -> None:
    with pytest.raises(UsageError, match="expected targets such as '121'"):
        patched_build(parse_wheel_name(BNB), targets)


WHEEL_FILE = b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: cp312-cp312-linux_aarch64\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WHEEL_FILE, WHEEL_FILE + b"Build: 1sm121\n"),
        (WHEEL_FILE + b"\n", WHEEL_FILE + b"Build: 1sm121\n\n"),
        (WHEEL_FILE + b"Build: 7\nX-Other: y\n", WHEEL_FILE + b"Build: 1sm121\nX-Other: y\n"),
        (WHEEL_FILE + b"build:7foo", WHEEL_FILE + b"Build: 1sm121"),
        (WHEEL_FILE[:-1], WHEEL_FILE + b"Build: 1sm121\n"),
        (WHEEL_FILE.replace(b"\n", b"\r\n"), (WHEEL_FILE + b"Build: 1sm121\n").replace(b"\n", b"\r\n")),
        (WHEEL_FILE + b"\nBuild: body\n", WHEEL_FILE + b"Build: 1sm121\n\nBuild: body\n"),
    ],
)
def test_with_build_changes_nothing_else(before: bytes, after: bytes) -> None:
    assert with_build(before, "1sm121") == after
    assert parse_wheel_file(after).build == "1sm121"
    assert with_build(after, "1sm121") == after


def test_wheel_file(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, tag="cp312.cp313-cp312-linux_aarch64")
    with WheelArchive.open(path) as wheel:
        found = read_wheel_file(wheel)
    assert {str(tag) for tag in found.tags} == {"cp312-cp312-linux_aarch64", "cp313-cp312-linux_aarch64"}
    assert (found.wheel_version, found.root_is_purelib, found.build) == ("1.0", False, "")


def test_faults_of_a_wheel_file_come_together(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo-1.0.dist-info/WHEEL": "Wheel-Version: 2.0\nRoot-Is-Purelib: maybe\nTag: py3\n"})
    with WheelArchive.open(path) as wheel, pytest.raises(InputError) as caught:
        read_wheel_file(wheel)
    for text in ("demo-1.0.dist-info/WHEEL", "expected 1.x, found 2.0", "found 'maybe'", "found ['py3']"):
        assert text in str(caught.value)


def test_tags_that_multiply() -> None:
    """A few kilobytes that stand for a thousand million tags."""
    part = b".".join([b"x"] * 1000)
    with pytest.raises(InputError, match="expected at most 10000 tags, found 1000000001"):
        parse_wheel_file(WHEEL_FILE + b"Tag: " + b"-".join([part] * 3) + b"\n")


METADATA = b"""Metadata-Version: 2.4
Name: Demo_Wheel
Version: 1.0
Summary: something
License-Expression: MIT
Requires-Python: >=3.11
Requires-Dist: numpy>=2
Requires-Dist: nvidia-cublas ; sys_platform == "linux"

Body
"""


def test_metadata() -> None:
    found = parse_metadata(METADATA)
    assert (found.name, found.version, found.license, found.summary) == (
        "Demo_Wheel",
        "1.0",
        "MIT",
        "something",
    )
    assert str(found.requires_python) == ">=3.11"
    assert [r.name for r in found.requires_dist] == ["numpy", "nvidia-cublas"]
    assert found.faults == ()


def test_bad_fields_of_metadata_are_told_and_left_out() -> None:
    data = METADATA.replace(b">=3.11", b"three").replace(b"numpy>=2", b"numpy>=>2").replace(b"1.0", b"one")
    found = parse_metadata(data.replace(b"Summary", b"X-Unheard-Of"))
    assert [r.name for r in found.requires_dist] == ["nvidia-cublas"]
    assert (found.requires_python, found.parsed_version, found.version) == (None, None, "one")
    assert [fault.partition(":")[0] for fault in found.faults] == [
        "x-unheard-of",
        "version",
        "requires_python",
        "requires_dist",
    ]


def test_metadata_without_name(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, {"demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\n"})
    with (
        WheelArchive.open(path) as wheel,
        pytest.raises(InputError, match=r"METADATA': METADATA has no Name and no Version"),
    ):
        read_metadata(wheel)
