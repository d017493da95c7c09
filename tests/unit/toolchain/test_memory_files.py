"""Files in memory that a tool sees by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from shim.errors import ToolError
from shim.process import run
from shim.toolchain import MemoryFiles

COPY = "open('out.bin', 'wb').write(open('in.bin', 'rb').read() * 2)"


def test_a_program_reads_and_writes_them_by_name():
    data = os.urandom(3 << 20)
    with MemoryFiles() as files:
        files.add("in.bin", data)
        files.add("out.bin")
        run([sys.executable, "-c", COPY], cwd=files.folder, pass_fds=files.descriptors).check()
        assert files.read("out.bin") == data * 2
        assert files.read("in.bin") == data


def test_nothing_is_left():
    before = set(os.listdir("/proc/self/fd"))
    with MemoryFiles() as files:
        files.add("x", b"1")
        folder = files.folder
        assert [path.name for path in folder.iterdir()] == ["x"]
    assert not folder.exists()
    assert set(os.listdir("/proc/self/fd")) == before


def test_nothing_is_left_after_an_error():
    def fail() -> None:
        with MemoryFiles() as files:
            folders.append(files.folder)
            files.add("x", b"1")
            raise KeyboardInterrupt

    folders: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not folders[0].exists()


def test_the_content_takes_no_place_on_the_disk():
    with MemoryFiles() as files:
        files.add("x", bytes(1 << 20))
        assert (files.folder / "x").lstat().st_size < 100


def test_no_more_descriptors_is_said(monkeypatch):
    def none_left(name: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", none_left)
    with MemoryFiles() as files, pytest.raises(ToolError, match="Too many open files") as caught:
        files.add("x")
    assert "ulimit -n" in caught.value.hint
