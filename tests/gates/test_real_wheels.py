"""Gates in published wheels: Python and compiled ones together, and a text that must not be taken for one."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from shim.scan.fetch import fetch
from shim.scan.options import ScanOptions
from shim.scan.wheel import scan_wheel

ASKED = ScanOptions(machine="x86_64", gates=True)


def changing(requirement: str) -> dict[str, str]:
    """form -> where, of the gates that change what the target gets."""
    wheel = fetch(Requirement(requirement), machine="x86_64", python="3.12").path
    report = scan_wheel(wheel, ASKED).report
    return {gate.form: f"{gate.path}:{gate.line}" for gate in report.gates or () if gate.changes}


@pytest.mark.real
def test_xformers():
    found = changing("xformers==0.0.35")
    assert found["class-maximum"] == "xformers/ops/fmha/cutlass.py:170"
    assert found["compiled-torch-compute-capability-8x"] == "xformers/_C.so:0"
    assert found["compiled-cutlass-arch-conditional-mma"] == "xformers/_C.so:0"


@pytest.mark.real
@pytest.mark.slow
def test_torch_is_not_taken_for_a_build_with_the_old_range():
    """ "is for sm80-sm100" stands in its sm_70 images only, which 12.1 does not take."""
    found = changing("torch==2.9.1")
    assert "compiled-mem-efficient-attention" not in found
    assert found["cmake-fermi-replace"].endswith("select_compute_arch.cmake:141")
    assert found["compiled-torch-scaled-grouped-mm"] == "torch/lib/libtorch_cuda.so:0"
