"""Bringing sources in: hostile archives, folders, missing facts."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from shim.building.metadata import read_metadata
from shim.building.source import bring, find_source
from shim.errors import InputError, ShimError, ToolError, UsageError
from shim.source.tree import FolderTree
from shim.wheels.limits import Limits
from tests.unit.building.packages import TINY, folder, sdist


def brought(path: Path, tmp_path: Path) -> Path:
    target = tmp_path / "in"
    target.mkdir()
    return bring(find_source(str(path)), target, Limits())


def test_an_sdist_is_unpacked_to_its_inner_folder(tmp_path: Path) -> None:
    root = brought(sdist(tmp_path / "tiny_cuda-1.0.tar.gz", {**TINY, "run.sh": "#!/bin/sh\n"}), tmp_path)
    assert root.name == "tiny_cuda-1.0"
    assert (root / "run.sh").stat().st_mode & 0o111
    assert not (root / "unit.cu").stat().st_mode & 0o111


def test_a_zip_is_an_sdist_too(tmp_path: Path) -> None:
    path = tmp_path / "tiny_cuda-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in TINY.items():
            archive.writestr(f"tiny_cuda-1.0/{name}", text)
    assert (brought(path, tmp_path) / "unit.cu").is_file()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = sdist(tmp_path / "x-1.0.tar.gz", {name: "x"}, top="")
    with pytest.raises(InputError, match="relative path"):
        brought(path, tmp_path)
    assert list(tmp_path.rglob("evil")) == []


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = sdist(tmp_path / "x-1.0.tar.gz", {"x": "0" * (96 << 20)})
    target = tmp_path / "in"
    target.mkdir()
    with pytest.raises(InputError, match="from each compressed byte"):
        bring(find_source(str(path)), target, Limits(max_ratio=10, ratio_floor=1 << 20))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08\x00broken"])
def test_a_damaged_archive_is_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x-1.0.tar.gz"
    path.write_bytes(content)
    with pytest.raises(InputError):
        brought(path, tmp_path)


def test_a_folder_is_copied_without_builds_and_links(tmp_path: Path) -> None:
    root = folder(tmp_path / "mine", {**TINY, "build/x.o": "x", ".git/config": "x", "__pycache__/a.pyc": "x"})
    (root / "out").symlink_to("/etc")
    (root / "passwd").symlink_to("/etc/passwd")
    assert {path.name for path in brought(root, tmp_path).iterdir()} == set(TINY)


def test_the_digest_follows_the_contents(tmp_path: Path) -> None:
    root = folder(tmp_path / "mine", TINY)
    first = find_source(str(root)).sha256
    assert find_source(str(root)).sha256 == first
    (root / "unit.cu").write_text("// other\n")
    assert find_source(str(root)).sha256 != first


def test_what_is_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "x-1.0-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    with pytest.raises(UsageError, match="not a source distribution"):
        find_source(str(wheel))
    with pytest.raises(UsageError):
        find_source("no such thing at all")
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ToolError, match="SHIM_OFFLINE"):
        find_source("torchsort==0.1.10")


def metadata(tmp_path: Path, files: dict[str, str], filename: str = "") -> tuple[str, str, str]:
    found = read_metadata(FolderTree(folder(tmp_path / "m", files)), label="it", filename=filename)
    return found.name, found.version, found.known_from


def test_name_and_version(tmp_path: Path) -> None:
    assert metadata(tmp_path, dict(TINY)) == ("tiny-cuda", "1.0", "PKG-INFO")


def test_without_pkg_info_pyproject_tells_then_the_file_name(tmp_path: Path) -> None:
    rest = {name: text for name, text in TINY.items() if name != "PKG-INFO"}
    assert metadata(tmp_path / "a", rest) == ("tiny-cuda", "1.0", "pyproject.toml")
    setup = {"setup.py": "", "x.cu": ""}
    assert metadata(tmp_path / "b", setup, "old_thing-0.4.tar.gz") == ("old_thing", "0.4", "file name")
    with pytest.raises(InputError, match="only setup"):
        metadata(tmp_path / "c", setup)


@pytest.mark.parametrize(
    "text",
    [
        "[build-system",
        "build-system = 3",
        "[build-system]\nrequires = 'x'",
        "[build-system]\nrequires = [3]",
        "[build-system]\nbuild-backend = 3",
        "a = " + "[" * 3000 + "]" * 3000,
    ],
)
def test_a_broken_pyproject_is_one_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ShimError, match=r"pyproject\.toml"):
        metadata(tmp_path, {"pyproject.toml": text, "PKG-INFO": TINY["PKG-INFO"]})


def test_nothing_to_build(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither pyproject"):
        metadata(tmp_path, {"README": "x"})
