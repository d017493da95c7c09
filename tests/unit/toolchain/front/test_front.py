"""The front as a program, before a stand-in for nvcc."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from shim.errors import InputError, ToolError, UsageError
from shim.toolchain.front import ArchRequest, Mode, environment, install, read_log

from .conftest import TARGET_FLAG


def test_the_real_nvcc_gets_the_new_line_under_the_overlays_name(shows, tmp_path):
    front = shows()
    words, environ = front.shown(
        "-c", "a b.cu", "-arch=sm_60", "-o", "a.o", cwd=tmp_path, env={"NVCC_APPEND_FLAGS": "-arch=sm_70 -O1"}
    )
    assert words == [TARGET_FLAG, "-c", "a b.cu", "-o", "a.o"]
    assert environ["NVCC_APPEND_FLAGS"] == "-O1"
    (call,) = front.calls
    assert call.argv == ("-c", "a b.cu", "-arch=sm_60", "-o", "a.o")
    assert call.argv_after == tuple(words)
    assert call.environ_after == {"NVCC_APPEND_FLAGS": "-O1"}
    assert (call.cwd, call.output, call.kind, call.changed) == (str(tmp_path), "a.o", "compile", True)
    assert call.archs_before == ("sm_70", "compute_70")  # of several -arch the last one counts
    assert call.archs_after == ("sm_121",)


def test_bytes_that_are_no_text_pass(shows, tmp_path):
    front = shows()
    odd = os.fsdecode(b"\xff\xfe.cu")
    assert front.shown("-c", odd, cwd=tmp_path)[0] == [TARGET_FLAG, "-c", odd]
    assert front.calls[0].argv == ("-c", odd)


def test_exit_codes_and_signals_are_nvccs(shows, tmp_path):
    front = shows()
    real = front.home / "shim" / "nvcc"
    real.write_text("#!/bin/sh\nexit 42\n")
    assert front.run("-c", "a.cu", cwd=tmp_path).returncode == 42
    real.write_text("#!/bin/sh\nkill -SEGV $$\n")
    assert front.run("-c", "a.cu", cwd=tmp_path).returncode == -signal.SIGSEGV


def test_lines_of_parallel_calls_do_not_mix(shows, tmp_path):
    front = shows()
    long = ["-DX=" + "x" * 20_000] * 5  # longer than any pipe or stdio buffer
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: front.run("-c", f"{n}.cu", *long, cwd=tmp_path).returncode, range(40)))
    assert done == [0] * 40
    assert sorted(call.argv[1] for call in front.calls) == sorted(f"{number}.cu" for number in range(40))


def test_a_log_that_cannot_be_written_stops_the_call(shows, tmp_path):
    front = shows()
    front.log.mkdir()
    done = front.run("-c", "a.cu", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("shim's nvcc front:")


def test_the_environment_of_python_does_not_matter(shows, tmp_path):
    front = shows()
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "json.py").write_text("raise SystemExit(9)")
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    env = {"PYTHONPATH": str(bad), "PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "x"}
    assert front.shown("-c", "a.cu", cwd=tmp_path, env=env)[0][0] == TARGET_FLAG


def test_it_needs_no_shim(shows, tmp_path):
    """The copy in the overlay is all there is: with the package out of reach it does the same."""
    front = shows()
    words = [sys.executable, "-I", "-S", "-v", str(front.home / "shim" / "front.pyc")]
    words += [str(front.home / "shim" / "config.json"), "nvcc", "-c", "a.cu"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["argv"] == [TARGET_FLAG, "-c", "a.cu"]
    imported = {line.split("'")[1] for line in done.stderr.splitlines() if line.startswith("import '")}
    assert "standin.rewrite" in imported
    # A build calls nvcc hundreds of times: what the front imports beyond a bare Python is all that it costs.
    assert imported.isdisjoint({"pathlib", "typing", "subprocess", "shim", "site", "inspect"})


def test_no_log_is_no_call(tmp_path):
    assert read_log(tmp_path / "none") == ()


@pytest.mark.parametrize("text", ["x\n", "{}\n", "[]\n", '{"tool": 1}\n', "[" * 100_000 + "\n", "\xff\n"])
def test_other_files_are_no_logs(text, tmp_path):
    path = tmp_path / "log"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="log"):
        read_log(path)


@pytest.mark.parametrize("names", [(), ("sm_121",), ("121b",), ("12.1",), ("",)])
def test_requests_name_architectures(names):
    with pytest.raises(UsageError):
        ArchRequest(sass=names)


def test_an_architecture_that_nvcc_does_not_know(shows, tmp_path):
    with pytest.raises(ToolError, match="does not know sm_130; its newest is sm_121"):
        shows(sass=("130",))


def test_a_folder_in_use_is_refused(shows, tmp_path):
    front = shows()
    with pytest.raises(ToolError, match="not empty"):
        install(front.home, toolkit=tmp_path / "toolkit", archs=ArchRequest(sass=("121",)), log=front.log)


def test_variables(shows):
    front = shows()
    got = environment(front.home, {"PATH": "/bin", "X": "y"})
    assert got == {
        "PATH": f"{front.home}/bin:/bin",
        "X": "y",
        "CUDA_HOME": str(front.home),
        "CUDA_PATH": str(front.home),
        "CUDACXX": str(front.home / "bin" / "nvcc"),
    }


@pytest.mark.parametrize("mode", list(Mode))
def test_modes_reach_the_program(shows, tmp_path, mode):
    front = shows(mode=mode)
    words, _ = front.shown("-c", "a.cu", "-gencode=arch=compute_80,code=sm_80", cwd=tmp_path)
    expected = {
        Mode.ADD: ["-gencode=arch=compute_80,code=sm_80", TARGET_FLAG, "-c", "a.cu"],
        Mode.REPLACE: [TARGET_FLAG, "-c", "a.cu"],
        Mode.DROP_ONLY: ["-c", "a.cu", "-gencode=arch=compute_80,code=sm_80"],
    }
    assert words == expected[mode]


def test_the_log_is_json_a_line(shows, tmp_path):
    front = shows()
    front.run("--version", cwd=tmp_path)
    front.run("-c", "a.cu", cwd=tmp_path)
    lines = [json.loads(line) for line in front.log.read_text().splitlines()]
    assert [(line["kind"], line["changed"]) for line in lines] == [("query", False), ("compile", True)]
