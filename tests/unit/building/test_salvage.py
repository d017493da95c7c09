"""`shim patch` of a wheel that only a rebuild can save: what it says, and what --rebuild does."""

from __future__ import annotations

import json
import platform
import zipfile
from pathlib import Path

import pytest

from shim.__main__ import main
from tests.unit.building.packages import TINY, sdist
from tests.unit.scan.files import library, sass, wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, which pip's own configuration names."""
    page = tmp_path / "simple" / "tiny-cuda"
    page.mkdir(parents=True)
    source = sdist(page / "tiny_cuda-1.0.tar.gz", TINY)
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="{source.name}">{source.name}</a>')
    monkeypatch.setenv("PIP_INDEX_URL", page.parent.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SHIM_OFFLINE", raising=False)
    return page


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """Machine code of another device only: nothing that a binary patch could compile."""
    made = wheel(tmp_path, {"tiny_cuda/unit.so": library((sass("90"),))}, name="tiny_cuda")
    platforms = f"manylinux_2_28_{platform.machine()}"
    return made.rename(made.with_name(f"tiny_cuda-1.0-py3-none-{platforms}.whl"))


def test_the_plan_says_what_a_rebuild_would_take(index, dead, capsys) -> None:
    assert main(["patch", str(dead), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "[machine-code-only]" in said
    assert "instead: a rebuild from tiny_cuda-1.0.tar.gz would do: 1 CUDA source: about " in said
    assert "pass --rebuild, or call `shim rebuild tiny_cuda==1.0`" in said
    assert main(["patch", str(dead), "--dry-run", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["rebuild"]["possible"] is True


def test_the_error_says_it_too(index, dead, tmp_path, capsys) -> None:
    assert main(["patch", str(dead), "-o", str(tmp_path / "out")]) == 5
    assert "pass --rebuild, or call" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.whl"))


def test_no_source_distribution(index, dead, capsys) -> None:
    (index / "index.html").write_text("<!DOCTYPE html>")
    assert main(["patch", str(dead), "--dry-run"]) == 0
    assert "instead: no source distribution of tiny_cuda==1.0 on the index" in capsys.readouterr().out
    assert main(["patch", str(dead), "--rebuild"]) == 5


def test_rebuild_is_done(index, dead, tmp_path, capsys) -> None:
    assert main(["patch", str(dead), "--rebuild", "--dry-run"]) == 0
    assert "unit.cu: sm_121" in capsys.readouterr().out
    assert main(["patch", str(dead), "--rebuild", "-o", str(tmp_path / "out")]) == 0
    (built,) = (tmp_path / "out").glob("tiny_cuda-1.0-1sm121-*.whl")
    with zipfile.ZipFile(built) as archive:
        assert "tiny_cuda/unit.so" in archive.namelist()
    assert main(["scan", str(built), "--platform", "native", "--require", "native"]) == 0


def test_rebuild_is_not_used_where_patching_will_do(index, tmp_path, capsys) -> None:
    fine = wheel(tmp_path, {"tiny_cuda/unit.so": library((sass("121"),))}, name="tiny_cuda")
    assert main(["patch", str(fine), "--rebuild", "-o", str(tmp_path / "out")]) == 0
    assert "nothing to do" in capsys.readouterr().out
