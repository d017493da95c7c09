from __future__ import annotations

import io

import pytest

from shim.cli import progress
from shim.cli.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch) -> Terminal:
    """Called by the test itself: pytest puts its own standard error back after fixtures."""
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return screen


def test_line_comes_and_goes(monkeypatch):
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_DELAY", -1)
    with ProgressLine() as line:
        line("torch", 500_000_000, 1_000_000_000)
    assert terminal.getvalue() == "\r\x1b[Kscanning torch: 50 % of 1.0 GB\r\x1b[K"


def test_short_scans_show_nothing(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with ProgressLine() as line:
        line("torch", 1, 2)
    assert terminal.getvalue() == ""


def test_not_too_often(monkeypatch):
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(progress, "_DELAY", -1)
    with ProgressLine() as line:
        for done in range(100):
            line("torch", done, 100)
    assert terminal.getvalue().count("scanning") == 1


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_off(monkeypatch, name, value):
    on_terminal(monkeypatch)
    assert ProgressLine().enabled
    monkeypatch.setenv(name, value)
    assert not ProgressLine().enabled


def test_off_in_a_pipe(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.delenv("CI", raising=False)
    assert not ProgressLine().enabled
