"""What published sdists that need torch would be compiled for: as they are, and as `rebuild` makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.building.rebuild import rebuild
from shim.building.request import RebuildOutcome, RebuildRequest, RebuildResult

pytestmark = [pytest.mark.real, pytest.mark.slow]

UNITS = {"causal-conv1d==1.5.2": 3, "torchsort==0.1.10": 1, "torch-scatter==2.1.2": 3, "chamferdist==1.0.3": 1}
TURBO = "turbo-gnn==0.1.0rc4"


@pytest.fixture
def probe(torch_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))

    def run(subject: str, *, as_is: bool = False) -> RebuildResult:
        return rebuild(
            RebuildRequest(subject=subject, folder=tmp_path / "out", dry_run=True, as_is=as_is, python=torch_python)
        )

    return run


@pytest.mark.parametrize(("subject", "units"), [*UNITS.items(), (TURBO, 5)])
def test_every_unit_reaches_the_target(probe, subject: str, units: int) -> None:
    result = probe(subject)
    assert result.outcome is RebuildOutcome.PLANNED
    assert result.probe is not None
    assert len(result.probe.units) == units
    assert all("sm_121" in unit.asked for unit in result.probe.units)


@pytest.mark.parametrize("subject", ["causal-conv1d==1.5.2", TURBO])
def test_as_published_they_do_not(probe, subject: str) -> None:
    result = probe(subject, as_is=True)
    assert result.outcome is RebuildOutcome.SHORT
    assert result.probe is not None
    assert not any("sm_121" in unit.asked for unit in result.probe.units)


def test_torch_scatter_leaves_its_cuda_part_out_without_a_device(probe) -> None:
    result = probe("torch-scatter==2.1.2", as_is=True)
    assert result.outcome is RebuildOutcome.SHORT
    assert result.probe is not None
    assert result.probe.units == ()
