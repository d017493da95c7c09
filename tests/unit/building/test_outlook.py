"""What a rebuild could do, said without building; and the command line of `rebuild`."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from shim.__main__ import main
from shim.building.compiler_cache import cache_settings, stop_words
from shim.building.headers import wheels_for_headers
from shim.building.outlook import outlook_of, outlook_of_file, rebuild_outlook
from shim.source.tree import FolderTree
from tests.unit.building.packages import TINY, folder, sdist


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SHIM_OFFLINE", "1")


def test_an_sdist_with_cuda_sources(tmp_path: Path) -> None:
    found = outlook_of_file(sdist(tmp_path / "tiny_cuda-1.0.tar.gz", TINY))
    assert found.possible
    assert found.text.startswith("a rebuild from tiny_cuda-1.0.tar.gz would do: 1 CUDA source: about ")


def test_sdists_that_cannot_help(tmp_path: Path) -> None:
    plain = {name: text for name, text in TINY.items() if name != "unit.cu"}
    assert "no CUDA sources" in outlook_of_file(sdist(tmp_path / "a-1.0.tar.gz", plain)).text
    broken = tmp_path / "b-1.0.tar.gz"
    broken.write_bytes(b"no archive")
    found = outlook_of_file(broken)
    assert not found.possible
    assert "cannot be rebuilt" in found.text


def test_nothing_raises() -> None:
    found = outlook_of("torchsort", "0.1.10")
    assert not found.possible
    assert "SHIM_OFFLINE" in found.text
    assert rebuild_outlook("torchsort", "0.1.10") == found.text


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = sdist(tmp_path / "tiny_cuda-1.0.tar.gz", TINY)
    assert main(["rebuild", str(source), "--dry-run", "--format", "json", "--with-ptx", "8.0"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["outcome"], document["arch"], document["ptx"]) == ("planned", "sm_121", ["80"])
    assert document["probe"]["units"][0]["reaches"]
    assert main(["rebuild", str(source), "--dry-run", "--as-is"]) == 1
    assert "short  unit.cu: sm_80, unknown to nvcc: sm_53" in capsys.readouterr().out
    assert main(["rebuild", str(source), "--set", "X"]) == 2
    other = "x86_64" if platform.machine() == "aarch64" else "aarch64"
    assert main(["rebuild", str(source), "--platform", other]) == 5


def test_sccache_has_a_cache_for_each_package(tmp_path: Path) -> None:
    program = folder(tmp_path / "bin", {"sccache": "#!/bin/sh\n"}) / "sccache"
    program.chmod(0o755)
    environ = {"PATH": str(program.parent), "CUDA_HOME": "/cuda"}
    found = cache_settings(environ, Path("/w"), "Some_Package", salt="sm_121")
    assert found["SCCACHE_DIR"] == str(tmp_path / "cache" / "sccache" / "some-package")
    assert stop_words(found) == [str(program), "--stop-server"]
    assert cache_settings(environ, Path("/" + "w" * 120), "x", salt="") == {}
    assert cache_settings({"PATH": "", "CUDA_HOME": ""}, Path("/w"), "x", salt="") == {}


def test_wheels_for_headers_that_the_toolkit_lacks(tmp_path: Path) -> None:
    tree = FolderTree(folder(tmp_path / "s", {"a.cu": "#include <curand.h>\n#  include <cublas_v2.h>\n"}))
    have = folder(tmp_path / "include", {"cublas_v2.h": ""})
    assert wheels_for_headers(tree, major=13, folders=[have]) == ("nvidia-curand",)
    assert wheels_for_headers(tree, major=12, folders=[]) == ("nvidia-cublas-cu12", "nvidia-curand-cu12")
