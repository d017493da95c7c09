"""The ptxas that is asked what a release writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.errors import ToolError
from shim.toolchain import Survey, ToolStore, ask_version, ptxas_of_release
from tests.builders.fake_tools import fake_ptxas, fake_wheel


@pytest.fixture
def present(tmp_path):
    def make(*versions: str) -> Survey:
        paths = [fake_ptxas(tmp_path / version / "ptxas", version) for version in versions]
        return Survey(tools=tuple(ask_version(path, name="ptxas", origin="PATH") for path in paths), broken=())

    return make


def store(tmp_path: Path, *versions: str) -> ToolStore:
    pins = tuple(fake_wheel(tmp_path / "wheels", version=version)[1] for version in versions)
    return ToolStore(tmp_path / "store", pins=pins, machine="x86_64")


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ((13, 0), (13, 0, 88)),
        ((13, 1), (13, 2, 86)),  # the nearest newer one
        ((12, 9), (12, 9, 86)),
        ((12, 8), (12, 9, 86)),  # 12.8 does not know 12.1
    ],
)
def test_the_release_itself_or_the_nearest_newer_one(tmp_path, present, release, expected) -> None:
    found = present("13.5.37", "13.2.86", "12.8.93", "12.9.86", "13.0.88")
    assert ptxas_of_release(release, found=found, store=store(tmp_path)).version == expected


def test_a_pinned_release_beats_a_newer_one_at_hand(tmp_path, present) -> None:
    with pytest.raises(ToolError, match="SHIM_OFFLINE forbids fetching"):
        ptxas_of_release((13, 1), found=present("13.2.86"), store=store(tmp_path, "13.1.115"), offline=True)
    assert ptxas_of_release(
        (13, 2), found=present("13.2.86"), store=store(tmp_path, "13.1.115"), offline=True
    ).version == (13, 2, 86)


@pytest.mark.parametrize("release", [(13, 6), (14, 0), (12, 9)])
def test_another_major_or_an_older_release_never_stands_in(tmp_path, present, release) -> None:
    with pytest.raises(ToolError, match=rf"no ptxas of CUDA {release[0]}\.{release[1]} or newer of that major"):
        ptxas_of_release(release, found=present("13.5.37"), store=store(tmp_path, "13.0.88"))


def test_an_explicit_one_is_used_or_refused(tmp_path, present) -> None:
    path = fake_ptxas(tmp_path / "own" / "ptxas", "13.2.86")
    empty = Survey(tools=(), broken=())
    assert ptxas_of_release((13, 2), explicit=path, found=empty, store=store(tmp_path)).path == path
    for release in ((13, 3), (12, 9)):
        with pytest.raises(ToolError, match="does not stand for ptxas of CUDA"):
            ptxas_of_release(release, explicit=path, found=present("13.5.37"), store=store(tmp_path))
