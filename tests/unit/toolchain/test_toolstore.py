"""The tool store, filled by the user's own pip from a local folder of wheels."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shim.errors import ToolError
from shim.toolchain import ToolStore, accepts, is_offline, own_pins
from shim.toolchain import toolstore as module
from tests.builders.fake_tools import fake_wheel


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """pip looks here and nowhere else, through its own settings."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("SHIM_OFFLINE", raising=False)
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path / "cache" / "tools"


def test_fetch_and_find_again(index, root, monkeypatch):
    _, pin = fake_wheel(index)
    store = ToolStore(root, pins=(pin,), machine="x86_64")
    assert store.tools("ptxas") == ()
    tool = store.fetch(pin, "ptxas")
    assert tool.origin == "store"
    assert tool.version == (13, 0, 88)
    assert accepts(tool, isa=(9, 0), arch="sm_121")
    assert store.tools("ptxas") == (tool,)
    assert [tool.name for tool in store.tools("nvlink")] == ["nvlink"]
    monkeypatch.setattr(module, "_download", None)
    assert store.fetch(pin, "ptxas") == tool, "the second time nothing is fetched"


def test_only_what_is_needed_is_unpacked(index, root):
    _, pin = fake_wheel(index)
    folder = ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas").path.parent
    assert sorted(path.name for path in folder.iterdir()) == ["License.txt", "nvlink", "ptxas"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (root, folder, *folder.iterdir()))
    assert sorted(path.name for path in root.iterdir()) == [folder.name, f"{folder.name}.lock"]


def test_releases_stand_side_by_side(index, root):
    pins = tuple(fake_wheel(index, version=version)[1] for version in ("12.9.86", "13.0.88"))
    store = ToolStore(root, pins=pins, machine="aarch64")
    for pin in pins:
        store.fetch(pin, "ptxas")
    assert [tool.version for tool in store.tools("ptxas")] == [(12, 9, 86), (13, 0, 88)]


def test_another_file_than_the_pinned_one_is_not_unpacked(index, root):
    path, pin = fake_wheel(index)
    with path.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ToolError, match=f"is not NVIDIA's file: sha256 .*expected {pin.wheels['x86_64'].sha256}"):
        ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas")
    assert [path for path in root.iterdir() if path.is_dir()] == []


def test_another_name_than_the_pinned_one(index, root):
    path, pin = fake_wheel(index)
    path.rename(path.with_name(path.name.replace("py3-none", "py2.py3-none")))
    with pytest.raises(ToolError, match=r"pip did not download .*, but shim_fake_nvcc-13\.0\.88-py2\.py3"):
        ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas")


def test_an_index_that_does_not_have_it(index, root):
    path, pin = fake_wheel(index)
    path.unlink()
    with pytest.raises(ToolError, match=r"pip could not download shim-fake-nvcc==13\.0\.88: ERROR: No match") as caught:
        ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas")
    assert "pip config list" in caught.value.hint
    assert [path for path in root.iterdir() if path.is_dir()] == []


def test_a_machine_without_a_wheel(index, root):
    _, pin = fake_wheel(index)
    with pytest.raises(ToolError, match=r"no shim-fake-nvcc==13\.0\.88 for riscv64"):
        ToolStore(root, pins=(pin,), machine="riscv64").fetch(pin, "ptxas")


def test_a_tool_that_does_not_run_here(index, root):
    _, pin = fake_wheel(index, text="\x7fELF of another machine")
    with pytest.raises(ToolError, match="not a program of this machine"):
        ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas")


def test_a_tool_the_wheel_does_not_hold(index, root):
    _, pin = fake_wheel(index)
    with pytest.raises(ToolError, match=r"shim-fake-nvcc==13\.0\.88 holds no fatbinary"):
        ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "fatbinary")


def test_a_damaged_tool_is_fetched_again(index, root):
    _, pin = fake_wheel(index)
    store = ToolStore(root, pins=(pin,), machine="x86_64")
    store.fetch(pin, "ptxas").path.write_text("")
    assert store.tools("ptxas") == ()
    assert accepts(store.fetch(pin, "ptxas"), isa=(9, 0), arch="sm_121")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline(index, root, monkeypatch, how):
    _, pin = fake_wheel(index)
    store = ToolStore(root, pins=(pin,), machine="x86_64")
    if how == "environment":
        monkeypatch.setenv("SHIM_OFFLINE", "1")
    with pytest.raises(ToolError, match="SHIM_OFFLINE forbids fetching") as caught:
        store.fetch(pin, "ptxas", offline=how == "argument")
    assert caught.value.exit_code == 6
    assert "pip install 'shim-fake-nvcc==13.0.88'" in caught.value.hint
    assert "sm121-shim[ptxas]" in caught.value.hint
    assert not root.exists()


def test_offline_uses_what_is_there(index, root, monkeypatch):
    _, pin = fake_wheel(index)
    store = ToolStore(root, pins=(pin,), machine="x86_64")
    tool = store.fetch(pin, "ptxas")
    monkeypatch.setenv("SHIM_OFFLINE", "1")
    assert store.fetch(pin, "ptxas", offline=True) == tool


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_offline_values(value, expected):
    assert is_offline({} if value is None else {"SHIM_OFFLINE": value}) is expected


def test_without_pip(index, root, monkeypatch):
    _, pin = fake_wheel(index)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(index))
    with pytest.raises(ToolError, match="there is no pip") as caught:
        ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas")
    assert "uv pip install pip" in caught.value.hint


def test_a_pip_on_the_path_serves_too(index, root, monkeypatch, tmp_path):
    _, pin = fake_wheel(index)
    script = tmp_path / "bin" / "pip3"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\ntouch {tmp_path}/used\nexec {sys.executable} -m pip "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setattr(module.shutil, "which", lambda name: str(script) if name == "pip3" else None)
    ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas")
    assert (tmp_path / "used").exists()


def test_what_a_killed_fetch_left_is_removed(index, root):
    _, pin = fake_wheel(index)
    left = root / ".shim-fake-nvcc-13.0.88-x86_64-dead"
    left.mkdir(parents=True, mode=0o700)
    root.chmod(0o700)
    (left / "half.whl").write_text("x")
    ToolStore(root, pins=(pin,), machine="x86_64").fetch(pin, "ptxas")
    assert not left.exists()


FETCH = """
import sys
from pathlib import Path
from shim.toolchain import Pin, ToolStore, WheelFile
pin = {pin!r}
print(ToolStore(Path(sys.argv[1]), pins=(pin,), machine='x86_64').fetch(pin, 'ptxas').path)
"""
SLOW_PIP = """
import shutil, sys, time
with open({calls!r}, 'a') as file:
    file.write('x')
time.sleep({seconds})
shutil.copy({wheel!r}, sys.argv[sys.argv.index('--dest') + 1])
"""


@pytest.fixture
def slow_pip(tmp_path, index):
    """Start a process that fetches with a pip of one module, which is slow and counts its calls."""
    wheel, pin = fake_wheel(index)
    package = tmp_path / "modules" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    path = f"{package.parent}:{Path(__file__).parents[3]}"

    def start(root: Path, seconds: float) -> subprocess.Popen:
        calls = str(tmp_path / "calls")
        main = SLOW_PIP.format(calls=calls, wheel=str(wheel), seconds=seconds)
        (package / "__main__.py").write_text(main)
        command = [sys.executable, "-c", FETCH.format(pin=pin), root]
        environment = os.environ | {"PYTHONPATH": path}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def test_two_processes_fetch_at_once(slow_pip, root, tmp_path):
    """The second waits for the first and finds the work done."""
    rivals = [slow_pip(root, 1.0) for _ in range(2)]
    outputs = [rival.communicate(timeout=60) for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert (tmp_path / "calls").read_text() == "x"


def test_a_killed_fetch_holds_nobody_up(slow_pip, root, tmp_path):
    first = slow_pip(root, 3.0)
    while not (tmp_path / "calls").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.01)
    first.kill()
    first.communicate()
    second = slow_pip(root, 0.0)
    out, said = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert Path(out.strip()).is_file()
    assert len([path for path in root.iterdir() if path.is_dir()]) == 1


def test_own_pins_are_complete():
    pins = own_pins()
    assert [pin.version[:2] for pin in pins] == [(13, minor) for minor in range(6)] + [(12, 9)]
    assert [pin.ptx_isa for pin in pins] == [(9, minor) for minor in range(6)] + [(8, 8)]
    for pin in pins:
        assert set(pin.wheels) == {"x86_64", "aarch64"}
        for machine, wheel in pin.wheels.items():
            assert wheel.file.startswith(f"{pin.distribution.replace('-', '_')}-{'.'.join(map(str, pin.version))}-")
            assert wheel.file.endswith(f"_{machine}.whl")
            assert len(bytes.fromhex(wheel.sha256)) == 32
    assert len({wheel.sha256 for pin in pins for wheel in pin.wheels.values()}) == 14
