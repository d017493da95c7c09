"""`shim exec` as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders.kernels import tool

SOURCE = "__global__ void k(int* a) { *a = 1; }\n"


def shim(*words: str, cwd: Path, **more) -> subprocess.CompletedProcess[str]:
    toolkit = tool("nvcc").path.parent.parent
    env = {**os.environ, "SHIM_CUDA_HOME": str(toolkit), "SHIM_OFFLINE": "1", "TMPDIR": str(cwd), "COLUMNS": "120"}
    env.pop("TORCH_CUDA_ARCH_LIST", None)
    argv = [sys.executable, "-m", "shim", "exec", *words]
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120, **more)


def test_a_build_with_retired_architectures(tmp_path):
    (tmp_path / "k.cu").write_text(SOURCE)
    line = "nvcc -c k.cu -o k.o -gencode arch=compute_53,code=sm_53 && echo built"
    done = shim("--mode", "replace", "--log", "calls", "--", "sh", "-c", line, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "built\n")
    assert done.stderr.splitlines()[-2:] == [
        "shim: nvcc: 1 call, 1 changed for sm_121",
        "shim:   1 x compile: sm_53 -> sm_121",
    ]
    assert (tmp_path / "calls").read_text().count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls", "k.cu", "k.o"]  # the overlay is gone


def test_options_behind_the_command_are_the_commands(tmp_path):
    done = shim("echo", "--mode", "-v", "--", "x", cwd=tmp_path)
    assert done.stdout == "--mode -v -- x\n"
    assert "nvcc compiled nothing" in done.stderr


def test_input_output_and_exit_code_are_the_commands(tmp_path):
    done = shim("sh", "-c", "cat; echo err >&2; exit 7", cwd=tmp_path, input="through")
    assert (done.returncode, done.stdout) == (7, "through")
    assert done.stderr.startswith("err\n")


def test_a_command_ended_by_a_signal(tmp_path):
    assert shim("sh", "-c", "kill -KILL $$", cwd=tmp_path).returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(tmp_path, number):
    """SIGTERM is handed on; a Ctrl-C reaches the command from the terminal, and shim waits for it."""
    script = "trap 'echo cleaned > done; exit 3' TERM INT; echo > ready; while :; do sleep 0.05; done"
    argv = [sys.executable, "-m", "shim", "exec", "--", "sh", "-c", script]
    env = {**os.environ, "SHIM_OFFLINE": "1", "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(argv, cwd=tmp_path, env=env, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if number == signal.SIGTERM:
        process.terminate()
    else:
        os.killpg(process.pid, number)
    assert process.wait(60) == 3
    assert (tmp_path / "done").exists()
    assert not list(tmp_path.glob("shim-exec-*"))


def test_the_overlay_can_be_kept(tmp_path):
    done = shim("--keep-overlay", "--", "sh", "-c", "echo $CUDA_HOME", cwd=tmp_path)
    home = Path(done.stdout.strip())
    assert (home / "bin" / "nvcc").is_file()
    assert f"overlay: {home}" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--", "no-such-program"], 6, "no-such-program: no such program"),
        ([], 2, "Missing argument"),
        (["--target", "121", "--", "true"], 2, "not a compute capability: '121'"),
        (["--target", "13.5", "--toolkit", "none", "--", "true"], 6, "no nvcc in"),
        (["--toolkit", "{toolkit}", "--target", "5.0", "--", "true"], 6, "does not know sm_50"),
    ],
)
def test_refusals(tmp_path, words, code, said):
    toolkit = str(tool("nvcc").path.parent.parent)
    done = shim(*(word.format(toolkit=toolkit) for word in words), cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("shim-exec-*"))
