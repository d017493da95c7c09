"""`shim scan` from arguments to output and exit code, on small real files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from shim.__main__ import main
from shim.scan.codes import FINDING_CODES
from shim.scan.document import schema_text
from tests.unit.scan.files import install, library, sass, text, wheel

NATIVE = library((sass("121"),))
JIT = library((sass("80"), text("80")))
DEAD = library((sass("90"),))
HOST = library()


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """A folder with a file of each sort; also the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, data in (("native.so", NATIVE), ("jit.so", JIT), ("dead.so", DEAD), ("host.so", HOST)):
        (tmp_path / name).write_bytes(data)
    wheel(tmp_path, {"demo/_C.so": JIT}, tags="py3-none-manylinux_2_28_x86_64")
    return tmp_path


WHEEL = "demo-1.0-py3-none-manylinux_2_28_x86_64.whl"


def document(capsys, *arguments: str) -> tuple[int, dict]:
    code = main(["scan", "--format", "json", *arguments])
    made = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(json.loads(schema_text())).validate(made)
    assert made["exit_code"] == code
    return code, made


class TestExitCode:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["native.so"], 0),
            (["dead.so"], 0),
            (["host.so"], 0),
            (["native.so", "--require", "native"], 0),
            (["jit.so", "--require", "jit"], 0),
            (["jit.so", "--require", "same-major"], 1),
            (["dead.so", "--require", "none"], 0),
            (["dead.so", "--require", "partial"], 1),
            (["host.so", "--require", "none"], 1),
            (["native.so", "jit.so", "--require", "native"], 1),
            ([WHEEL, "--fail-on", "wrong-platform"], 1),
            ([WHEEL, "--fail-on", "glibc-too-new, cuda-major-missing"], 0),
            ([WHEEL, "--fail-on", "wrong-platform", "--platform", "x86_64"], 0),
            (["native.so", "--fail-on", "wrong-platform"], 0),
            (["gone.so"], 3),
            (["gone.so", "native.so"], 3),
            (["gone.so", "jit.so", "--require", "native"], 3),
            (["!!", "jit.so", "--require", "native"], 2),
            (["!!", "gone.so"], 3),
            ([], 2),
            (["native.so", "--fail-on", "nonsense"], 2),
            (["native.so", "--require", "cpu-only"], 2),
            (["native.so", "--target", "4.0"], 2),
            (["native.so", "--target", "sm_121"], 2),
            (["native.so", "--driver-cuda", "13"], 2),
            (["native.so", "--driver-cuda", "9.0"], 2),
            (["native.so", "--python", "2.7"], 2),
            ([WHEEL, "--max-members", "1"], 3),
        ],
    )
    def test_code(self, files, capsys, arguments, code):
        assert main(["scan", *arguments]) == code

    def test_every_target_is_told(self, files, capsys):
        assert main(["scan", "gone.so", "native.so", "jit.so", "--require", "native"]) == 3
        told = capsys.readouterr()
        assert "native.so" in told.out
        assert "jit.so" in told.out
        assert "error: gone.so: there is no such file or folder" in told.err
        assert "below what was asked for: jit.so is jit, not native" in told.err


class TestTargets:
    @pytest.mark.parametrize(("device", "grade"), [("12.1", "none"), ("9.0", "native"), ("12.0", "none")])
    def test_device(self, files, capsys, device, grade):
        _, made = document(capsys, "dead.so", "--target", device)
        assert made["reports"][0]["verdict"]["grade"] == grade
        assert made["reports"][0]["verdict"]["target"] == {"device": device, "driver_cuda": "13.0"}

    def test_driver(self, files, capsys):
        Path("new.so").write_bytes(library((text("90", isa="9.1"),)))
        grades = [
            document(capsys, "new.so", "--driver-cuda", cuda)[1]["reports"][0]["verdict"]["grade"]
            for cuda in ("13.0", "13.1")
        ]
        assert grades == ["jit-too-new", "jit"]


class TestJson:
    def test_document(self, files, capsys):
        code, made = document(capsys, "jit.so", WHEEL, "gone.so", "--kernels", "--jobs", "2")
        assert code == 3
        assert [report["name"] for report in made["reports"]] == ["jit.so", "demo"]
        assert made["reports"][0]["libraries"][0]["kernels"][0]["name"] == "kernel"
        assert [error["target"] for error in made["errors"]] == ["gone.so"]

    def test_environment(self, files, capsys):
        install(files / "env", wheel(files, {"demo/_C.so": JIT}))
        code, made = document(capsys, "--env", str(files / "env"), "--require", "native")
        assert code == 1
        (environment,) = made["environments"]
        assert [(one["name"], one["verdict"]["grade"]) for one in environment["packages"]] == [("demo", "jit")]

    def test_active_environment(self, files, capsys, monkeypatch):
        install(files / "env", wheel(files, {"demo/_C.so": JIT}))
        monkeypatch.setenv("VIRTUAL_ENV", str(files / "env"))
        assert document(capsys, "--env")[1]["environments"][0]["prefix"] == str(files / "env")
        assert document(capsys, "demo")[1]["reports"][0]["subject"] == "distribution"


class TestText:
    def run(self, capsys, *arguments: str) -> str:
        main(["scan", *arguments])
        return capsys.readouterr().out

    def test_leads_with_the_verdict(self, files, capsys):
        lines = self.run(capsys, "jit.so").splitlines()
        assert re.match(r"jit\.so +JIT +file, [\d.]+ kB, aarch64, .*confidence high", lines[0])
        assert lines[1].startswith("Runs on compute capability 12.1 once the driver has compiled it")

    def test_wide_table(self, files, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "150")
        out = self.run(capsys, "jit.so")
        assert re.search(r"library +code in it +12\.1 takes +containers +dead here +patch would", out)
        assert re.search(r"jit\.so +sm 80; PTX 80 +compute_80 +1 jit +\S+ k?B of \S+ k?B +compile 1 PTX unit", out)
        assert "never loads on this device; first use compiles 1 PTX module" in out

    @pytest.mark.parametrize("columns", [40, 60, 80, 109])
    def test_narrow(self, files, capsys, monkeypatch, columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = self.run(capsys, "jit.so", "dead.so")
        assert "library jit.so" in out
        assert "patch would" not in out
        first = out.splitlines()[0]  # the title may be cut by the terminal itself, nothing else is wider
        assert all(len(line) <= columns for line in out.splitlines() if not re.match(r"\w+\.so  ", line)), first

    @pytest.mark.parametrize("columns", [110, 140, 200])
    def test_no_line_is_wider_than_the_terminal(self, files, capsys, monkeypatch, columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        members = {
            f"pkg/a_rather_long_name_of_a_library_{n}.so": library(*[(sass("80"), text("80"))] * n, (sass("90a"),))
            for n in range(4)
        }
        path = wheel(files, members, name="long")
        out = self.run(capsys, str(path))
        assert max(map(len, out.splitlines()[1:])) <= columns

    def test_builds_that_are_not_taken(self, files, capsys):
        path = wheel(files, {"b/x_cuda118.so": DEAD, "b/x_cuda130.so": NATIVE}, name="b")
        out = self.run(capsys, str(path))
        assert out.index("x_cuda130.so") < out.index("x_cuda118.so")
        assert "CUDA 13.0 build, taken" in out
        assert "CUDA 11.8 build, not taken" in out

    def test_findings(self, files, capsys):
        out = self.run(capsys, WHEEL)
        assert "error wrong-platform: made for x86_64, but the target's processor is aarch64" in out
        assert "  take a build for aarch64, or rebuild from source there" in out

    def test_kernels(self, files, capsys):
        Path("k.so").write_bytes(library((sass("80", {"a": 256, "b": 256}), sass("121", {"a": 256}))))
        out = self.run(capsys, "k.so", "--kernels")
        assert "kernels of k.so: 2 kernels (1 ok, 1 missing)" in out
        assert "  missing: b in container 0 [sm_80]" in out
        assert "kernels of" not in self.run(capsys, "k.so")

    def test_several_end_with_an_overview(self, files, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "240")
        out = self.run(capsys, "jit.so", WHEEL)
        last = out.splitlines()[-2:]
        assert re.match(r"jit\.so +jit ", last[0])
        assert re.match(r"demo 1\.0 +jit .*\[wrong-platform\]", last[1])

    def test_environment(self, files, capsys):
        install(files / "env", wheel(files, {"demo/_C.so": JIT}))
        out = self.run(capsys, "--env", "env")
        assert "env: 1 package with GPU code or a GPU build, of 1 installed (0 known from before)" in out
        assert re.search(r"demo 1\.0 +jit ", out)

    def test_no_colour_in_a_pipe(self, files, capsys):
        assert "\x1b" not in self.run(capsys, "jit.so", "dead.so")

    def test_no_color(self, files, capsys, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        coloured = self.run(capsys, "jit.so")
        assert re.search(r"\x1b\[[\d;]*3[0-7]", coloured)
        monkeypatch.setenv("NO_COLOR", "1")
        assert not re.search(r"\x1b\[[\d;]*3[0-7]", self.run(capsys, "jit.so"))

    def test_names_are_not_markup(self, files, capsys):
        Path("[red]x[bold].so").write_bytes(NATIVE)
        assert "[red]x[bold].so" in self.run(capsys, "[red]x[bold].so")


def test_help_names_every_finding(capsys):
    assert main(["scan", "--help"]) == 0
    out = " ".join(capsys.readouterr().out.replace("-\n", "-").split())
    assert all(code in out.replace("- ", "-") for code in FINDING_CODES)


class TestGates:
    SETUP = (
        "from setuptools import setup\nfrom torch.utils.cpp_extension import CUDAExtension\nflags = [\n"
        + "".join(f"    'arch=compute_{number},code=sm_{number}',\n" for number in range(50, 70))
        + "]\nsetup()\n"
    )

    def test_a_table_of_at_most_fifteen(self, files, capsys):
        (files / "src").mkdir()
        (files / "src" / "setup.py").write_text(self.SETUP)
        assert main(["scan", "src"]) == 0
        said = capsys.readouterr().out
        assert said.count("setup.py:") == 1 + 15  # the headline names the first
        assert re.search(r"build-breaks +setup\.py:4 +names compute_50: nvcc of CUDA 13 refuses it", said)
        assert "+5 more, --format json lists all" in said
        code, made = document(capsys, "src")
        (report,) = made["reports"]
        assert (code, len([gate for gate in report["gates"] if gate["changes"]])) == (0, 20)
        assert report["gates"][0]["form"] == "gencode-retired"

    def test_fail_on(self, files, capsys):
        (files / "src").mkdir()
        (files / "src" / "setup.py").write_text(self.SETUP)
        assert main(["scan", "src", "--fail-on", "build-breaks"]) == 1
        assert "build-breaks in setup.py:4" in capsys.readouterr().err
        assert main(["scan", "src", "--fail-on", "build-breaks", "--no-gates"]) == 0

    def test_wheels_are_searched_when_asked(self, files, capsys):
        assert main(["scan", WHEEL]) == 0
        assert "--gates does" in capsys.readouterr().out
        assert main(["scan", WHEEL, "--gates"]) == 0
        assert "No gate against this device (0 places looked at)" in capsys.readouterr().out
