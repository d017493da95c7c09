"""Asking a program for its version, and telling builds apart."""

from __future__ import annotations

import pytest

from shim.errors import ToolError
from shim.toolchain import ask_version, tool_digest
from tests.builders import kernels
from tests.builders.fake_tools import fake_ptxas, program


def ask(path):
    return ask_version(path, name="ptxas", origin="test")


@pytest.mark.parametrize("name", ["ptxas", "nvlink", "nvcc", "fatbinary"])
def test_real_tools_tell_their_version(name):
    tool = kernels.tool(name)
    assert tool.version >= (12, 9, 0)
    assert "Cuda compilation tools" in tool.banner
    assert str(tool).startswith(f"{name} {tool.version[0]}.")


def test_a_version(tmp_path):
    tool = ask(fake_ptxas(tmp_path / "ptxas", "12.9.86"))
    assert tool.version == (12, 9, 86)
    assert tool.origin == "test"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho GNU assembler 2.40\n", "it says: GNU assembler 2.40"),
        ("#!/bin/sh\n", "it says: nothing"),
        ("#!/bin/sh\nhead -c 100000 /dev/urandom\n", "does not tell the version"),
        ("#!/bin/sh\necho no >&2; exit 7\n", "exit code 7\nno"),
        ("#!/bin/sh\nkill -11 $$\n", "SIGSEGV"),
    ],
)
def test_what_is_no_tool(tmp_path, text, words):
    with pytest.raises(ToolError, match=words):
        ask(program(tmp_path / "ptxas", text))


def test_a_tool_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr("shim.toolchain.tool._ANSWER_SECONDS", 0.3)
    with pytest.raises(ToolError, match=r"did not finish within 0\.3 s"):
        ask(program(tmp_path / "ptxas", "#!/bin/sh\nsleep 600\n"))


def test_builds_are_told_apart_by_content_and_by_banner(tmp_path):
    """A script that starts the real program stays the same when the program changes; its banner does not."""
    real = fake_ptxas(tmp_path / "real", "13.0.88")
    wrapper = program(tmp_path / "wrapper", f'#!/bin/sh\nexec {real} "$@"\n')
    before = tool_digest(ask(wrapper))
    assert tool_digest(ask(wrapper)) == before
    assert tool_digest(ask(real)) != before
    fake_ptxas(real, "13.2.86")
    assert tool_digest(ask(wrapper)) != before


def test_a_tool_that_vanished(tmp_path):
    tool = ask(fake_ptxas(tmp_path / "ptxas"))
    tool.path.unlink()
    with pytest.raises(ToolError, match="cannot read"):
        tool_digest(tool)
