"""Real packages that fail on CUDA 13 as they are, rebuilt without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.building.rebuild import rebuild
from shim.building.request import RebuildOutcome, RebuildRequest
from shim.scan.options import ScanOptions
from shim.scan.wheel import scan_wheel

pytestmark = pytest.mark.real


def test_implicit_reaches_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path))
    result = rebuild(RebuildRequest(subject="implicit==0.4.8", folder=tmp_path / "out", dry_run=True))
    assert result.outcome is RebuildOutcome.PLANNED
    assert result.probe is not None
    assert len(result.probe.units) == 6
    assert {"retired-arch", "implicit-cuda13-headers"} == {edit.origin for edit in result.prepared.edits}
    assert "setuptools<74" in str(result.isolation.install[0])


def test_kage_cucounter_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    result = rebuild(RebuildRequest(subject="kage-cucounter==1.0.1", folder=tmp_path / "out"))
    assert result.path is not None
    assert "1sm121" in result.path.name
    assert "manylinux" in result.path.name
    (library,) = scan_wheel(result.path, ScanOptions()).report.libraries
    assert library.sass == ("121",)


def test_implicit_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    result = rebuild(RebuildRequest(subject="implicit==0.4.8", folder=tmp_path / "out"))
    assert result.path is not None
    (library,) = scan_wheel(result.path, ScanOptions()).report.libraries
    assert (library.sass, library.ptx) == (("121",), ("121",))
