"""Questions to an assembler."""

from __future__ import annotations

import pytest

from shim.errors import ToolError
from shim.toolchain import accepts, ask_version, newest_isa, refusal
from tests.builders import kernels
from tests.builders.fake_tools import fake_ptxas


@pytest.fixture(scope="module")
def real():
    return kernels.tool("ptxas")


def test_a_real_ptxas_knows_the_spark(real):
    assert accepts(real, isa=(8, 8), arch="sm_121")
    assert accepts(real, isa=(8, 8), arch="sm_121a")
    assert accepts(real, isa=(7, 8), arch="sm_121")


@pytest.mark.parametrize("isa", [(2, 3), (3, 0), (4, 1), (6, 0), (6, 3), (7, 0)])
def test_old_ptx_is_taken(real, isa):
    assert refusal(real, isa=isa, arch="sm_121") == ""


def test_a_real_refusal_says_why(real):
    assert "Unsupported .version 99.0" in refusal(real, isa=(99, 0), arch="sm_121")
    assert "'sm_999' is not defined" in refusal(real, isa=(8, 0), arch="sm_999")
    assert not accepts(real, isa=(8, 0), arch="sm_999")


def test_newest_isa_follows_the_toolkit(real):
    """CUDA 12.9 has PTX 8.8, and 13.N has 9.N: PTX ISA, release notes."""
    expected = (8, 8) if real.version[0] == 12 else (9, real.version[1])
    assert newest_isa(real, arch="sm_121") == expected


def test_newest_isa_for_an_unknown_target(real):
    assert newest_isa(real, arch="sm_999") is None


def fake(tmp_path, **options):
    path = fake_ptxas(tmp_path / "ptxas", **options)
    return ask_version(path, name="ptxas", origin="test")


def test_the_version_is_not_believed(tmp_path):
    """It says 13.0.88 and that 9.0 is its newest, yet takes neither 9.0 nor sm_121."""
    liar = fake(tmp_path, isas="8.0 9.0", archs="sm_120")
    assert newest_isa(liar, arch="sm_121") is None
    assert not accepts(liar, isa=(9, 0), arch="sm_121")
    assert newest_isa(liar, arch="sm_120") == (9, 0)


def test_success_without_output_is_a_refusal(tmp_path):
    assert refusal(fake(tmp_path, body="exit 0"), isa=(9, 0), arch="sm_121") == "ptxas wrote no output"


def test_a_crash_is_a_refusal(tmp_path):
    assert "SIGSEGV" in refusal(fake(tmp_path, body="kill -11 $$"), isa=(9, 0), arch="sm_121")


def test_a_hang_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("shim.toolchain.ask._ANSWER_SECONDS", 0.3)
    with pytest.raises(ToolError, match="did not finish"):
        refusal(fake(tmp_path, body="sleep 600"), isa=(9, 0), arch="sm_121")
