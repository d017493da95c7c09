"""The search order, with a made-up machine."""

from __future__ import annotations

import pytest

from shim.errors import ToolError
from shim.toolchain import Surroundings, find_tools, survey
from tests.builders.fake_tools import fake_ptxas, program


@pytest.fixture
def machine(tmp_path):
    """A ptxas in every place, the version telling which."""
    places = {
        "shim_home/bin": "13.1.1",
        "cuda_home/bin": "13.1.2",
        "cuda_path/bin": "13.1.3",
        "path": "13.1.4",
        "site/nvidia/cu13/bin": "13.1.5",
        "site/nvidia/cuda_nvcc/bin": "12.9.6",
        "conda/bin": "13.1.7",
        "prefix/bin": "13.1.8",
        "standard/cuda/bin": "13.1.9",
        "standard/cuda-13.0/bin": "13.1.10",
        "standard/cuda-12.9/bin": "13.1.11",
    }
    for place, version in places.items():
        fake_ptxas(tmp_path / place / "ptxas", version)
    (tmp_path / "prefix" / "conda-meta").mkdir()
    environ = {
        "SHIM_CUDA_HOME": str(tmp_path / "shim_home"),
        "CUDA_HOME": str(tmp_path / "cuda_home"),
        "CUDA_PATH": str(tmp_path / "cuda_path"),
        "PATH": f"{tmp_path}/path:relative::/nonexistent",
        "CONDA_PREFIX": str(tmp_path / "conda"),
    }
    return Surroundings(
        environ=environ,
        import_path=("", str(tmp_path / "site"), "/nonexistent.zip"),
        prefix=tmp_path / "prefix",
        standard=tmp_path / "standard",
    )


def versions(found):
    return [(tool.origin, tool.version[2]) for tool in found.tools]


def test_order(machine, tmp_path):
    explicit = fake_ptxas(tmp_path / "mine", "13.1.0")
    assert versions(survey("ptxas", explicit=explicit, around=machine)) == [
        ("--ptxas", 0),
        ("SHIM_CUDA_HOME", 1),
        ("CUDA_HOME", 2),
        ("CUDA_PATH", 3),
        ("PATH", 4),
        ("package", 5),
        ("package", 6),
        ("conda", 7),
        ("conda", 8),
        ("standard", 9),
        ("standard", 11),
        ("standard", 10),
    ]


def test_one_file_is_listed_once_under_its_first_place(machine, tmp_path):
    link = tmp_path / "cuda_home" / "bin" / "ptxas"
    link.unlink()
    link.symlink_to(tmp_path / "standard" / "cuda" / "bin" / "ptxas")
    found = versions(survey("ptxas", around=machine))
    assert ("CUDA_HOME", 9) in found
    assert ("standard", 9) not in found


def test_an_explicit_one_is_not_listed_again(machine, tmp_path):
    found = versions(survey("ptxas", explicit=tmp_path / "path" / "ptxas", around=machine))
    assert found[0] == ("--ptxas", 4)
    assert ("PATH", 4) not in found


def test_what_does_not_work_is_passed_over_with_its_reason(machine, tmp_path):
    program(tmp_path / "shim_home" / "bin" / "ptxas", "#!/bin/sh\necho broken >&2\nexit 3\n")
    (tmp_path / "cuda_home" / "bin" / "ptxas").chmod(0o644)
    found = survey("ptxas", around=machine)
    assert versions(found)[0] == ("CUDA_PATH", 3)
    assert found.broken == (f"{tmp_path}/shim_home/bin/ptxas (from SHIM_CUDA_HOME): ptxas ended with exit code 3",)


def test_an_explicit_one_that_does_not_work_is_an_error(machine, tmp_path):
    with pytest.raises(ToolError, match="no such program"):
        survey("ptxas", explicit=tmp_path / "nowhere", around=machine)


def test_an_empty_machine(tmp_path):
    nothing = Surroundings(environ={}, import_path=(), prefix=tmp_path, standard=tmp_path)
    assert survey("ptxas", around=nothing).tools == ()


def test_the_current_folder_is_never_searched(machine, tmp_path, monkeypatch):
    """An empty entry of PATH means the current folder, which may be an unpacked stranger's archive."""
    fake_ptxas(tmp_path / "here" / "ptxas", "13.1.99")
    fake_ptxas(tmp_path / "here" / "relative" / "ptxas", "13.1.99")
    fake_ptxas(tmp_path / "here" / "nvidia" / "cu13" / "bin" / "ptxas", "13.1.99")
    monkeypatch.chdir(tmp_path / "here")
    assert all(patch != 99 for _, patch in versions(survey("ptxas", around=machine)))


def test_this_machine_has_the_tools_tests_need():
    for name in ("ptxas", "nvlink", "nvcc", "fatbinary"):
        assert find_tools(name), f"{name} is missing: pip install '.[nvcc]'"
