"""Fetching with pip: what it is asked, what is kept, what happens without a wheel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shim.errors import InputError, ToolError, UsageError
from shim.process import Completed
from shim.scan import fetch as module
from shim.scan import index
from shim.scan.fetch import fetch, parse_requirement, platform_tags

NONE_FOUND = "ERROR: Could not find a version that satisfies x\nERROR: No matching distribution found for demo\n"


class Pip:
    """Stands in for `run`: writes a file where pip would, or fails."""

    def __init__(self, file: str = "demo-1.0-py3-none-any.whl", *, fails: str = "") -> None:
        self.file = file
        self.fails = fails
        self.commands: list[list[str]] = []

    def __call__(self, argv: Sequence[str]) -> Completed:
        self.commands.append([str(word) for word in argv])
        if not self.fails:
            (Path(argv[argv.index("--dest") + 1]) / self.file).write_bytes(b"wheel")
        code = 1 if self.fails else 0
        return Completed(
            argv=tuple(argv), returncode=code, stdout="", stderr=self.fails, seconds=0, cpu_seconds=0, max_rss=0
        )


@pytest.fixture
def pip(monkeypatch):
    monkeypatch.delenv("SHIM_OFFLINE", raising=False)
    fake = Pip()
    monkeypatch.setattr(module, "run", fake)
    return fake


def get(text: str, root: Path, machine: str | None = "aarch64", python: str | None = None) -> module.Fetched:
    return fetch(parse_requirement(text), machine=machine, python=python, root=root)


class TestRequirements:
    @pytest.mark.parametrize("text", ["demo", "demo==1.0", "demo[cuda]>=1,<2", "demo ~= 1.0"])
    def test_good(self, text):
        assert parse_requirement(text).name == "demo"

    @pytest.mark.parametrize("text", ["!!", "-r file", "--index-url=x", "demo=1", "", "demo @ http://x/demo.zip"])
    def test_bad(self, text):
        with pytest.raises(UsageError):
            parse_requirement(text)


class TestPip:
    def test_no_code_runs_and_nothing_is_installed(self, pip, tmp_path):
        fetched = get("demo==1.0", tmp_path, machine=None)
        (command,) = pip.commands
        assert command[-1] == "demo==1.0"
        assert {"download", "--only-binary=:all:", "--no-deps", "--no-input"} <= set(command)
        assert "--platform" not in command
        assert (fetched.path.name, fetched.note) == ("demo-1.0-py3-none-any.whl", "")

    def test_another_machine_and_python(self, pip, tmp_path):
        get("demo", tmp_path, python="3.12")
        (command,) = pip.commands
        tags = [command[i + 1] for i, word in enumerate(command) if word == "--platform"]
        assert tags == list(platform_tags("aarch64"))
        assert command[command.index("--python-version") + 1] == "3.12"

    def test_pinned_ones_are_fetched_once(self, pip, tmp_path):
        first, second = get("demo==1.0", tmp_path), get("demo == 1.0", tmp_path)
        assert (first, len(pip.commands)) == (second, 1)
        get("demo==1.0", tmp_path, machine="x86_64")
        get("demo==1.0", tmp_path, python="3.13")
        assert len(pip.commands) == 3

    @pytest.mark.parametrize("text", ["demo", "demo==1.*", "demo>=1"])
    def test_others_are_asked_for_again(self, pip, tmp_path, text):
        get(text, tmp_path)
        pip.file = "demo-2.0-py3-none-any.whl"
        assert get(text, tmp_path).path.name == "demo-2.0-py3-none-any.whl"

    def test_offline(self, pip, tmp_path, monkeypatch):
        kept = get("demo==1.0", tmp_path)
        monkeypatch.setenv("SHIM_OFFLINE", "1")
        assert get("demo==1.0", tmp_path) == kept
        with pytest.raises(ToolError, match="SHIM_OFFLINE forbids"):
            get("demo==2.0", tmp_path)

    def test_pip_fails(self, monkeypatch, tmp_path):
        monkeypatch.setattr(module, "run", Pip(fails="ERROR: connection refused"))
        with pytest.raises(ToolError, match="connection refused"):
            get("demo==1.0", tmp_path)
        assert [path.name for path in (tmp_path / "downloads").iterdir()] == []

    def test_no_pip(self, pip, monkeypatch, tmp_path):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setattr(module.shutil, "which", lambda name: None)
        with pytest.raises(ToolError, match=r"demo==1\.0 is needed, and there is no pip"):
            get("demo==1.0", tmp_path)
        assert pip.commands == []


class TestSourceDistributions:
    def test_when_there_is_no_wheel(self, monkeypatch, tmp_path):
        monkeypatch.setattr(module, "run", Pip(fails=NONE_FOUND))

        def sdist(requirement, *, python, folder):
            assert (str(requirement), python) == ("demo==1.0", "3.12")
            (folder / "demo-1.0.tar.gz").write_bytes(b"sdist")
            return folder / "demo-1.0.tar.gz"

        monkeypatch.setattr(index, "fetch_sdist", sdist)
        fetched = get("demo==1.0", tmp_path, python="3.12")
        assert fetched.path.read_bytes() == b"sdist"
        assert (
            fetched.note == "no wheel for aarch64: this is the source distribution, unpacked without running its code"
        )

    def test_nothing_at_all(self, monkeypatch, tmp_path):
        monkeypatch.setattr(module, "run", Pip(fails=NONE_FOUND))
        monkeypatch.setattr(index, "fetch_sdist", lambda *args, **kwargs: None)
        with pytest.raises(InputError, match="neither a wheel nor a source distribution fits"):
            get("demo==1.0", tmp_path)


class TestTags:
    def test_arm(self):
        tags = platform_tags("aarch64")
        assert tags[0] == "manylinux_2_39_aarch64"
        assert {"manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"} <= set(tags)
        assert "manylinux1_aarch64" not in tags

    def test_intel(self):
        assert {"manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64"} <= set(platform_tags("x86_64"))
