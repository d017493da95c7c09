"""A gate that `scan` reports names the recipe that deals with it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from shim.__main__ import main
from shim.arch import Target
from shim.recipes.advice import recipe_for
from shim.recipes.load import load_recipes

LINE = 'set(CMAKE_CUDA_ARCHITECTURES "75")'
FOUND = "recipe kage-cucounter-arch-list: `shim rebuild`"


@pytest.mark.parametrize(
    ("package", "version", "path", "text", "words"),
    [
        ("kage-cucounter", "1.0.1", "CMakeLists.txt", LINE, FOUND),
        ("kage_cucounter", "0.0.2", "CMakeLists.txt", LINE, FOUND),
        ("kage-cucounter", "0.0.1", "CMakeLists.txt", LINE, ""),  # before the range
        ("kage-cucounter", "1.0.1", "sub/CMakeLists.txt", LINE, ""),
        ("kage-cucounter", "1.0.1", "CMakeLists.txt", "set(OTHER 75)", ""),
        ("other", "1.0.1", "CMakeLists.txt", LINE, ""),
        ("kage-cucounter", "no version", "CMakeLists.txt", LINE, ""),
    ],
)
def test_the_recipe_for_a_line(package: str, version: str, path: str, text: str, words: str) -> None:
    found = recipe_for(load_recipes(), package=package, version=version, target=Target(), path=path, text=text)
    assert found == words


def test_scan_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sdist = tmp_path / "kage_cucounter-1.0.1.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name, text in (
            (
                "CMakeLists.txt",
                f"cmake_minimum_required(VERSION 3.24)\n{LINE}\nproject(k LANGUAGES CXX CUDA)\nadd_library(k k.cu)\n",
            ),
            (
                "pyproject.toml",
                '[build-system]\nrequires = ["scikit-build-core"]\nbuild-backend = "scikit_build_core.build"\n',
            ),
            ("k.cu", "__global__ void k() {}\n"),
        ):
            entry = tarfile.TarInfo(f"kage_cucounter-1.0.1/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    assert main(["scan", str(sdist), "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert FOUND in [gate["advice"] for gate in report["gates"]]
