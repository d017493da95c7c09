"""What an installed torch accepts, read from files of its shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.arch import ComputeCapability
from shim.toolchain.torch_arch import accepted_archs, read_torch

SOURCE = """
supported_arches = ['9.9']  # not this one
def _get_cuda_arch_flags(cflags=None):
    named_arches = {'Hopper': '9.0'}
    supported_arches = ['8.0', '9.0', '9.0a',
                        %s]
    valid_arch_strings = supported_arches + [s + "+PTX" for s in supported_arches]
raise SystemExit('this file is read, not run')
"""


def torch(site: Path, archs: str, version: str = "cuda: Optional[str] = '12.8'\n") -> Path:
    (site / "torch" / "utils").mkdir(parents=True)
    (site / "torch" / "version.py").write_text(version)
    (site / "torch" / "utils" / "cpp_extension.py").write_text(SOURCE % archs)
    return site


@pytest.mark.parametrize(
    ("archs", "feature", "best"),
    [
        ("'12.0', '12.0a', '12.1', '12.1a'", "", "12.1"),
        ("'12.0', '12.0a', '12.1', '12.1a'", "a", "12.1a"),
        ("'12.0', '12.0a'", "", "12.0"),
        ("'10.0', '12.0a'", "", "10.0"),
        ("'13.0'", "", "9.0"),
    ],
)
def test_the_nearest_entry(tmp_path, archs, feature, best):
    found = read_torch([tmp_path / "none", torch(tmp_path, archs)])
    assert found is not None
    assert found.accepted[:3] == ("8.0", "9.0", "9.0a")
    assert found.best_for(ComputeCapability(12, 1), feature) == best
    assert found.takes("9.0a+PTX")
    assert not found.takes("9.0f")
    assert found.best_for(ComputeCapability(7, 5)) is None


@pytest.mark.parametrize(
    ("version", "cuda"),
    [
        ("cuda: Optional[str] = '12.8'\n", (12, 8)),
        ("cuda = '13.0'\n", (13, 0)),
        ("cuda: Optional[str] = None\n", None),
        ("cuda = 'x.y'\n", None),
        ("", None),
        ("def (\n", None),
    ],
)
def test_the_cuda_it_was_built_with(tmp_path, version, cuda):
    found = read_torch([torch(tmp_path, "'12.0'", version)])
    assert found is not None
    assert found.cuda == cuda


@pytest.mark.parametrize(
    "source",
    [b"", b"\xff\xfe", b"def _get_cuda_arch_flags(:\n", b"(" * 100_000, b"def _get_cuda_arch_flags(): pass\n", b"\0"],
)
def test_files_of_another_shape_give_nothing(source):
    assert accepted_archs(source) == ()


def test_a_list_that_is_computed_is_not_guessed():
    assert accepted_archs(b"def _get_cuda_arch_flags():\n    supported_arches = sorted(x)\n") == ()


def test_no_torch(tmp_path):
    assert read_torch([tmp_path]) is None
