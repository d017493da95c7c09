"""Which Python a command runs in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders.fake_tools import program

from shim.toolchain.interpreter import import_path, installed, interpreter_of


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """PATH with a Python and scripts, and an active environment elsewhere."""
    program(tmp_path / "path" / "python3", "#!/bin/sh\n")
    program(tmp_path / "other" / "python", "#!/bin/sh\n")
    program(tmp_path / "path" / "pip", f"#!{tmp_path}/other/python\nimport pip\n")
    program(tmp_path / "path" / "longpip", f"#!/bin/sh\n'''exec' \"{tmp_path}/other/python\" \"$0\" \"$@\"\n' '''\n")
    for name in ("make", "env", "nice"):
        program(tmp_path / "path" / name, "#!/bin/sh\n")
    return {"PATH": str(tmp_path / "path")}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python3 -m x", "path/python3"),
        ("pip wheel x", "other/python"),
        ("longpip wheel x", "other/python"),
        ("env -u X A=b nice -n 19 pip wheel x", "other/python"),
        ("make pip", "path/python3"),
        ("", "path/python3"),
    ],
)
def test_interpreter(places, tmp_path, command, expected):
    assert interpreter_of(command.split(), places) == tmp_path / expected


def test_the_active_environment_comes_before_path(places, tmp_path):
    program(tmp_path / "venv" / "bin" / "python", "#!/bin/sh\n")
    places["VIRTUAL_ENV"] = str(tmp_path / "venv")
    assert interpreter_of(["make"], places) == tmp_path / "venv" / "bin" / "python"
    assert interpreter_of(["pip"], places) == tmp_path / "other" / "python"


def test_no_python_at_all(tmp_path):
    assert interpreter_of(["make"], {"PATH": str(tmp_path)}) is None


def test_import_path_has_what_pth_files_add(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (extra := tmp_path / "extra").mkdir()
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "extra.pth").write_text(f"{extra}\n")
    info = extra / "Some_Thing-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.5\n")
    (site / "broken-1.dist-info").mkdir()
    paths = import_path(tmp_path / "venv" / "bin" / "python", os.environ)
    assert {site, extra} <= set(paths)
    found = installed(["some-thing"], paths)
    assert found is not None
    assert found.version == "1.5"
    assert installed(["other"], paths) is None


def test_a_python_that_does_not_run(tmp_path):
    assert import_path(program(tmp_path / "python", "#!/bin/sh\nexit 3\n")) == ()
    assert import_path(program(tmp_path / "python", "#!/bin/sh\necho no\n")) == ()
