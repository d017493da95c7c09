"""Exit codes and what errors look like: nothing but `shim.__main__` decides either."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import shim
from shim import errors
from shim.__main__ import main
from shim.cli import COMMANDS, group
from shim.cli.render.error import error_text

ROOT = Path(shim.__file__).parents[1]


def chained(error: BaseException, *causes: BaseException) -> BaseException:
    """`error` as if raised from the first cause, that from the next, and so on."""
    for one, cause in zip((error, *causes), causes, strict=False):
        one.__cause__ = cause
    return error


@pytest.fixture
def command(monkeypatch):
    """Puts a command `scan` in place that raises or returns what it is told."""

    def put(result: object) -> None:
        @click.command("scan")
        def fake() -> object:
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(type(group), "get_command", lambda self, ctx, name: fake if name in COMMANDS else None)

    return put


class TestExitCodes:
    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            (errors.UsageError, 2),
            (errors.InputError, 3),
            (errors.RecipeError, 4),
            (errors.PlanError, 5),
            (errors.ToolError, 6),
            (errors.VerifyError, 7),
            (errors.PublishError, 8),
            (errors.DeviceError, 9),
        ],
    )
    def test_errors(self, command, capsys, kind, code):
        command(kind("it went wrong", hint="try that"))
        assert main(["scan"]) == code
        assert capsys.readouterr().err == "error: it went wrong\n  next: try that\n"

    @pytest.mark.parametrize(("result", "code"), [(0, 0), (1, 1), (None, 0)])
    def test_results(self, command, result, code):
        command(result)
        assert main(["scan"]) == code

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt(), click.Abort()])
    def test_interrupted(self, command, capsys, interruption):
        command(interruption)
        assert main(["scan"]) == 130
        assert capsys.readouterr().err == "\ninterrupted\n"

    def test_operating_system(self, command, capsys):
        command(OSError(28, "No space left on device", "/out/x.whl"))
        assert main(["scan"]) == 3
        assert capsys.readouterr().err == "error: /out/x.whl: No space left on device\n"

    def test_a_bug(self, command, capsys):
        command(ZeroDivisionError("division by zero"))
        assert main(["scan"]) == 70
        told = capsys.readouterr().err
        assert told.startswith("error: ZeroDivisionError: division by zero\n  next: this is a fault of shim itself")
        assert "Traceback" not in told

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["nosuch"], "error: No such command 'nosuch'.\n  next: see shim --help\n"),
            (["--nosuch"], "error: No such option '--nosuch'.\n  next: see shim --help\n"),
            (["scan", "--jobs", "0", "x"], "next: see shim scan --help\n"),
        ],
    )
    def test_usage(self, capsys, arguments, text):
        assert main(arguments) == 2
        assert text in capsys.readouterr().err

    def test_help_and_version(self, capsys):
        assert main(["--help"]) == 0
        told = capsys.readouterr().out
        assert all(name in told and text in " ".join(told.split()) for name, text in COMMANDS.items())
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"shim, version {shim.__version__}\n"


class TestTrace:
    @pytest.mark.parametrize("arguments", [["scan", "-v", "gone.whl"], ["-v", "scan", "gone.whl"]])
    def test_on_demand(self, capsys, arguments):
        assert main(arguments) == 3
        assert "Traceback (most recent call last)" in capsys.readouterr().err

    def test_not_otherwise(self, capsys):
        assert main(["scan", "gone.whl"]) == 3
        assert "Traceback" not in capsys.readouterr().err


class TestErrorText:
    def test_causes(self):
        error = chained(errors.InputError("a.whl: broken", hint="fetch it"), ValueError("bad magic"), OSError("disk"))
        assert error_text(error).splitlines() == [
            "error: a.whl: broken",
            "  because ValueError: bad magic",
            "  because OSError: disk",
            "  next: fetch it",
        ]

    @pytest.mark.parametrize(
        "cause",
        [
            ValueError("bad magic", 17),
            OSError(13, "bad magic", "/x"),
            errors.InputError("bad magic"),
            ValueError("bad magic\nand more"),
        ],
    )
    def test_causes_that_are_told_already(self, cause):
        error = chained(errors.InputError("a.whl: bad magic (at offset 0x11)"), cause)
        assert error_text(error) == "error: a.whl: bad magic (at offset 0x11)"

    def test_trace(self):
        error = chained(errors.InputError("outer"), ValueError("inner"))
        assert "The above exception was the direct cause" in error_text(error, trace=True)


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, **options
    )


class TestProcess:
    def test_as_a_module(self):
        done = run("-m", "shim", "scan", "gone.whl")
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("error: gone.whl: there is no such file or folder\n")

    @pytest.mark.parametrize(
        ("arguments", "absent"),
        [
            (["--help"], {"rich", "packaging", "zstandard", "lz4", "libcst", "isal", "shim.scan", "shim._core"}),
            (["scan", "--help"], {"rich", "packaging", "zstandard", "lz4", "libcst", "isal"}),
            (["scan", "{lib}"], {"packaging", "zstandard", "lz4", "libcst", "concurrent.futures"}),
        ],
    )
    def test_only_what_is_needed_is_imported(self, tmp_path, arguments, absent):
        from tests.unit.scan.files import library, sass

        (tmp_path / "lib.so").write_bytes(library((sass("121"),)))
        words = [word.format(lib=tmp_path / "lib.so") for word in arguments]
        code = f"import sys, shim.__main__ as m; c = m.main({words!r}); print('LOADED', c, *sys.modules)"
        loaded = run("-c", code).stdout.rpartition("LOADED ")[2].split()
        assert loaded[0] == "0"
        assert absent.isdisjoint(loaded)

    def test_a_reader_that_leaves(self, tmp_path):
        code = (
            "import os, sys, shim.__main__ as m, shim.scan.batch\n"
            "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
            f"sys.exit(m.main(['scan', '--format', 'json', {str(tmp_path)!r}]))"
        )
        (tmp_path / "k.ptx").write_text(".version 8.0\n.target sm_80\n.address_size 64\n")
        done = run("-c", code)
        assert (done.returncode, done.stderr) == (141, "")
