"""The tool store against the package index, with the pins that come with shim."""

from __future__ import annotations

import platform

import pytest

from shim.toolchain import ToolStore, library_pins, newest_isa, own_pins

pytestmark = pytest.mark.real


@pytest.mark.parametrize("pin", own_pins(), ids=lambda pin: pin.name)
def test_the_pinned_wheel_is_there_and_holds_what_the_pin_says(pin, tmp_path, monkeypatch):
    monkeypatch.delenv("SHIM_OFFLINE", raising=False)
    if platform.machine() not in pin.wheels:
        pytest.skip(f"NVIDIA has no compiler wheel for {platform.machine()}")
    tool = ToolStore(tmp_path / "tools").fetch(pin, "ptxas")
    assert tool.version == pin.version
    assert newest_isa(tool, arch="sm_121") == pin.ptx_isa
    assert (tool.path.parent / "License.txt").stat().st_size > 10_000


@pytest.mark.parametrize("pin", library_pins(), ids=lambda pin: pin.name)
def test_the_pinned_library_is_there_and_loads(pin, tmp_path, monkeypatch):
    monkeypatch.delenv("SHIM_OFFLINE", raising=False)
    tool = ToolStore(tmp_path / "tools", pins=(pin,)).fetch(pin, "libnvJitLink.so.13")
    assert tool.version[:2] == pin.version[:2]
    assert (tool.path.parent / "License.txt").stat().st_size > 10_000
