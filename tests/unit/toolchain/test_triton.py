"""Triton's table, with programs that answer like ptxas."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders.fake_tools import fake_ptxas, fake_wheel
from packaging.version import Version

from shim.arch import ComputeCapability
from shim.toolchain import ToolStore
from shim.toolchain.triton import TritonInstall, advise, find_triton, rule_for

SPARK = ComputeCapability(12, 1)
OLD = {"version": "12.8.93", "archs": "sm_90a sm_120a"}
GOOD = {"version": "12.9.86", "archs": "sm_120a sm_121a"}


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch):
    monkeypatch.setattr("shim.toolchain.triton.find_tools", lambda name: ())


def triton(folder: Path, version: str, /, **answers: str) -> TritonInstall:
    """Installed as its wheel does it; both programs answer alike."""
    info = folder / f"triton-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: triton\nVersion: {version}\n")
    programs = folder / "triton" / "backends" / "nvidia" / "bin"
    for name in ("ptxas", "ptxas-blackwell"):
        fake_ptxas(programs / name, **(answers or OLD))
    found = find_triton([folder])
    assert found == TritonInstall(version=Version(version), programs=programs)
    return found


def store(folder: Path, *versions: str) -> ToolStore:
    """A store that already holds these."""
    pins = []
    for version in versions:
        _, pin = fake_wheel(folder / "wheels", version=version)
        fake_ptxas(folder / "store" / f"{pin.name}-x86_64" / "ptxas", version, archs="sm_121 sm_121a")
        pins.append(pin)
    return ToolStore(folder / "store", pins=tuple(pins), machine="x86_64")


@pytest.mark.parametrize(
    ("version", "held", "variable", "taken"),
    [
        ("3.3.1", ["13.0.88", "12.9.86"], "TRITON_PTXAS-BLACKWELL_PATH", "12.9.86"),
        ("3.4.0", ["13.0.88", "12.9.86"], "TRITON_PTXAS_PATH", "12.9.86"),
        ("3.5.1", ["13.0.88", "12.9.86"], "TRITON_PTXAS_PATH", "12.9.86"),
        ("3.5.1", ["13.2.86", "13.0.88"], "TRITON_PTXAS_PATH", "13.0.88"),
        ("3.6.0", ["13.2.86"], "TRITON_PTXAS_BLACKWELL_PATH", "13.2.86"),
        ("3.4.0+git1", ["12.9.86"], "TRITON_PTXAS_PATH", "12.9.86"),
    ],
)
def test_the_variable_and_the_ptxas_of_each_release(tmp_path, version, held, variable, taken):
    advice = advise(triton(tmp_path / "site", version), SPARK, {}, store=store(tmp_path, *held))
    assert list(advice.variables) == [variable]
    assert f"-{taken}-" in advice.variables[variable]
    assert "refuses sm_121a" in advice.notes[-1]


@pytest.mark.parametrize("version", ["3.3.1", "3.4.0"])
def test_a_ptxas_of_cuda_13_is_never_given_to_old_ones(tmp_path, version):
    advice = advise(triton(tmp_path / "site", version), SPARK, {}, store=store(tmp_path, "13.0.88"))
    assert advice.variables == {}
    assert "cannot compile for 12.1" in advice.notes[0]


@pytest.mark.parametrize("version", ["3.3.1", "3.5.1", "3.6.0", "3.9.0"])
def test_one_that_takes_the_target_is_left_alone(tmp_path, version):
    advice = advise(triton(tmp_path / "site", version, **GOOD), SPARK, {}, store=store(tmp_path, "12.9.86"))
    assert (advice.variables, advice.notes) == ({}, ())


def test_devices_before_blackwell_need_nothing(tmp_path):
    assert advise(triton(tmp_path / "site", "3.4.0"), ComputeCapability(9, 0), {}).variables == {}


def test_older_ones_are_named(tmp_path):
    assert rule_for(Version("3.2.0")) is None
    advice = advise(triton(tmp_path / "site", "3.2.0"), SPARK, {})
    assert (advice.variables, "older than 3.3" in advice.notes[0]) == ({}, True)


def test_a_variable_that_is_not_looked_at(tmp_path):
    site = triton(tmp_path / "site", "3.6.0", **GOOD)
    (note,) = advise(site, SPARK, {"TRITON_PTXAS_PATH": "/x"}, store=store(tmp_path, "12.9.86")).notes
    assert "does not look at TRITON_PTXAS_PATH" in note


def test_the_users_own_is_kept_when_it_fits(tmp_path):
    own = fake_ptxas(tmp_path / "own", **GOOD)
    site = triton(tmp_path / "site", "3.4.0")
    held = store(tmp_path, "12.9.86")
    assert advise(site, SPARK, {"TRITON_PTXAS_PATH": str(own)}, store=held).variables == {}
    for bad, why in (
        (fake_ptxas(tmp_path / "old", **OLD), "sm_121a"),
        (fake_ptxas(tmp_path / "new", "13.0.88", archs="sm_121a"), "does not work with ptxas 13.0.88"),
        (tmp_path / "none", "none"),
    ):
        advice = advise(site, SPARK, {"TRITON_PTXAS_PATH": str(bad)}, store=held)
        assert "12.9.86" in advice.variables["TRITON_PTXAS_PATH"]
        assert "passed over" in advice.notes[0]
        assert why in advice.notes[0]


def test_offline_it_says_what_is_missing(tmp_path):
    _, pin = fake_wheel(tmp_path / "wheels", version="12.9.86")
    empty = ToolStore(tmp_path / "store", pins=(pin,), machine="x86_64")
    advice = advise(triton(tmp_path / "site", "3.4.0"), SPARK, {}, store=empty, offline=True)
    assert advice.variables == {}
    assert "SHIM_OFFLINE" in advice.notes[0]


def test_no_triton(tmp_path):
    assert find_triton([tmp_path]) is None
    (tmp_path / "triton-x.dist-info").mkdir()
    (tmp_path / "triton-x.dist-info" / "METADATA").write_text("Name: triton\nVersion: what\n")
    assert find_triton([tmp_path]) is None
