"""Triton in a wheel, as a distribution, and in an environment."""

from __future__ import annotations

import pytest
from builders.fake_tools import fake_ptxas, ptxas_text

from shim.model import Finding, Severity
from shim.scan.environment import scan_environment
from shim.scan.options import ScanOptions
from shim.scan.targets import TargetOptions, scan_target
from shim.scan.wheel import scan_wheel
from tests.unit.scan.files import install, wheel

SPARK = ScanOptions(machine="aarch64")
PROGRAMS = "triton/backends/nvidia/bin"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH", "TRITON_PTXAS-BLACKWELL_PATH"):
        monkeypatch.delenv(name, raising=False)


def triton(folder, version: str, ptxas: str, **answers: str):
    """A wheel whose both programs are of this version."""
    text = ptxas_text(ptxas, **answers)
    members = {f"{PROGRAMS}/{name}": text for name in ("ptxas", "ptxas-blackwell")}
    return wheel(folder, {"triton/__init__.py": "x = 1\n" * 300, **members}, name="triton", version=version)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings if finding.code.startswith("triton")]


def test_a_wheel_is_judged_by_version_and_nothing_of_it_is_run(tmp_path):
    ran = tmp_path / "ran"
    path = triton(tmp_path, "3.4.0", "12.8.93", body=f"touch {ran}")
    (finding,) = [one for one in scan_wheel(path, SPARK).report.findings if one.code.startswith("triton")]
    assert (finding.code, finding.severity, finding.evidence) == (
        "triton-ptxas-too-old",
        Severity.ERROR,
        "by version",
    )
    assert finding.where == f"{PROGRAMS}/ptxas"
    assert "TRITON_PTXAS_PATH" in finding.hint
    assert not ran.exists()


def test_a_wheel_that_is_new_enough(tmp_path, monkeypatch):
    path = triton(tmp_path, "3.6.0", "12.9.86")
    assert codes(scan_wheel(path, SPARK).report.findings) == ["triton-ptxas-fits"]
    monkeypatch.setenv("TRITON_PTXAS_PATH", "/somewhere/ptxas")
    assert codes(scan_wheel(path, SPARK).report.findings) == ["triton-ptxas-fits", "triton-variable-unused"]


def test_other_packages_with_a_file_of_that_name(tmp_path):
    path = wheel(tmp_path, {f"{PROGRAMS}/ptxas": ptxas_text("12.8.93")}, name="tritonic")
    assert codes(scan_wheel(path, SPARK).report.findings) == []


def test_an_installed_one_is_asked(tmp_path):
    site = install(tmp_path / "env", triton(tmp_path, "3.4.0", "12.8.93"))
    # Says 12.8 and takes sm_121a all the same: the answer counts, not the number.
    fake_ptxas(site / PROGRAMS / "ptxas", "12.8.93", archs="sm_121a")
    where = TargetOptions(prefix=tmp_path / "env")
    (finding,) = [
        one for one in scan_target("triton", SPARK, where).reports[0].findings if one.code.startswith("triton")
    ]
    assert (finding.code, finding.evidence) == ("triton-ptxas-fits", "asked")


def test_an_environment_says_it_with_the_variables_of_now(tmp_path, monkeypatch):
    site = install(tmp_path / "env", triton(tmp_path, "3.6.0", "12.9.86"))
    for name in ("ptxas", "ptxas-blackwell"):
        fake_ptxas(site / PROGRAMS / name, "12.9.86", archs="sm_121a")

    def found() -> list[str]:
        return codes(scan_environment(tmp_path / "env", SPARK, root=tmp_path / "cache").findings)

    assert found() == ["triton-ptxas-fits"]
    monkeypatch.setenv("TRITON_PTXAS_PATH", "/somewhere/ptxas")  # the report of the package is from the cache now
    assert found() == ["triton-ptxas-fits", "triton-variable-unused"]


def test_one_that_does_not_run_here_is_judged_by_version(tmp_path):
    site = install(tmp_path / "env", triton(tmp_path, "3.5.1", "12.8.93"))
    program = site / PROGRAMS / "ptxas"
    program.write_bytes(b"\x7fELF...release 12.8, V12.8.93...")
    program.chmod(0o755)
    (finding,) = scan_environment(tmp_path / "env", SPARK, root=tmp_path / "cache").findings
    assert (finding.code, finding.evidence) == ("triton-ptxas-too-old", "by version")
