"""process.run: what it returns, and what is left of a program that misbehaves."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from shim import process
from shim.errors import ToolError

PYTHON = Path(sys.executable)


def python(code: str, **options) -> process.Completed:
    return process.run([PYTHON, "-c", code], **options)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pid: int, within: float = 3.0) -> bool:
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_output_and_exit_code_are_returned():
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    assert done.argv[0] == str(PYTHON)
    assert done.ending == "exit code 3"


def test_no_shell_reads_the_arguments(tmp_path):
    done = process.run([PYTHON, "-c", "import sys; print(sys.argv[1])", f"$(touch {tmp_path}/x); *"])
    assert done.stdout == f"$(touch {tmp_path}/x); *\n"
    assert list(tmp_path.iterdir()) == []


def test_check_quotes_the_first_lines_only():
    done = python("import sys; [print(f'line {n}', file=sys.stderr) for n in range(100)]; sys.exit(1)")
    with pytest.raises(ToolError) as caught:
        done.check()
    assert "ended with exit code 1\nline 0\n" in caught.value.message
    assert "line 7\n... 92 more lines" in caught.value.message
    assert "line 8" not in caught.value.message


def test_check_falls_back_to_stdout():
    with pytest.raises(ToolError, match="only here"):
        python("print('only here'); raise SystemExit(1)").check()


def test_a_signal_is_named():
    done = python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert done.returncode == -signal.SIGSEGV
    with pytest.raises(ToolError, match="SIGSEGV"):
        done.check()


def test_input_larger_than_a_pipe_goes_through():
    data = os.urandom(3 << 20)
    code = "import sys,hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    assert python(code, stdin=data).stdout.strip() == hashlib.sha256(data).hexdigest()


def test_input_that_is_not_read_is_no_error():
    assert python("pass", stdin=bytes(3 << 20)).returncode == 0


def test_without_input_stdin_is_empty():
    assert python("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"


def test_output_is_bounded(monkeypatch):
    monkeypatch.setattr(process, "OUTPUT_LIMIT", 1000)
    done = python("import sys; sys.stdout.write('a' * 70_000); sys.stderr.write('b' * 10)")
    assert done.stdout == "a" * 1000 + "\n[shim: 69000 more bytes not kept]\n"
    assert done.stderr == "b" * 10


def test_invalid_utf8_is_replaced():
    assert python("import sys; sys.stdout.buffer.write(b'a\\xffb')").stdout == "a\ufffdb"


def test_environment_and_folder(tmp_path):
    done = python("import os; print(os.environ.get('HOME'), os.getcwd())", env={"A": "1"}, cwd=tmp_path)
    assert done.stdout == f"None {tmp_path}\n"


def test_cpu_time_is_that_of_the_program():
    busy = python("import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass")
    idle = python("import time; time.sleep(0.3)")
    assert busy.cpu_seconds >= 0.3
    assert idle.cpu_seconds <= idle.seconds - 0.25, "asleep for 0.3 s of them"


def test_peak_memory_is_measured():
    assert python("x = bytearray(300 << 20); x[::4096] = bytes(len(x[::4096]))").max_rss > 300 << 20


def test_memory_limit_is_enforced():
    code = "import time; time.sleep(1); x = bytearray(500 << 20)"
    done = python(code, max_rss=200 << 20)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr
    assert python(code, max_rss=1 << 30).returncode == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["/no/such/program"], "no such program"),
        (["no-such-program-anywhere"], "no such program"),
        ([Path(__file__)], "Permission denied"),
        ([Path("/")], "Permission denied"),
    ],
)
def test_a_program_that_cannot_run(argv, words):
    with pytest.raises(ToolError, match=words) as caught:
        process.run(argv)
    assert str(argv[0]) in caught.value.message
    assert caught.value.__cause__ is not None


def test_a_program_of_another_machine(tmp_path):
    foreign = tmp_path / "tool"
    foreign.write_bytes(b"\x7fELF" + bytes(60))
    foreign.chmod(0o755)
    with pytest.raises(ToolError, match="not a program of this machine"):
        process.run([foreign])


def test_a_missing_folder_is_not_called_a_missing_program(tmp_path):
    with pytest.raises(ToolError, match=r"the folder .*/nowhere does not exist"):
        process.run([PYTHON, "-c", ""], cwd=tmp_path / "nowhere")


SPAWN_SLEEPER = """
import subprocess, sys, time
code = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'
child = subprocess.Popen([sys.executable, '-c', code])
open(sys.argv[1], 'w').write(str(child.pid))
"""


def test_timeout_ends_the_whole_group(tmp_path):
    note = tmp_path / "pid"
    with pytest.raises(process.ToolTimeoutError, match=r"did not finish within 5 s"):
        process.run([PYTHON, "-c", SPAWN_SLEEPER + "time.sleep(600)", note], timeout=5.0)
    assert gone(int(note.read_text()))


def test_a_background_child_cannot_hold_the_call_open(tmp_path):
    """The grandchild inherits the pipes and sleeps: run returns at the program's exit, and ends it."""
    note = tmp_path / "pid"
    started = time.monotonic()
    assert process.run([PYTHON, "-c", SPAWN_SLEEPER, note]).returncode == 0
    assert time.monotonic() - started < 30
    assert gone(int(note.read_text()))


def test_a_program_that_closes_its_output_is_still_waited_for():
    done = python("import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(7)")
    assert done.returncode == 7
    assert done.seconds >= 0.3


def test_cancel_from_another_thread():
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(process.ToolCancelledError):
        python("import time; time.sleep(600)", cancel=cancel)
    assert time.monotonic() - started < 30


def test_interrupt_ends_the_group_and_reaches_the_caller(tmp_path):
    note = tmp_path / "pid"

    def interrupt() -> None:
        while not (note.exists() and note.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        process.run([PYTHON, "-c", SPAWN_SLEEPER + "time.sleep(600)", note])
    assert gone(int(note.read_text()))


def test_sigterm_lets_a_tool_clean_up(tmp_path):
    ready, note = tmp_path / "ready", tmp_path / "cleaned"
    code = (
        "import signal, sys, time\n"
        "def clean(*_): open(sys.argv[2], 'w').close(); sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, clean); open(sys.argv[1], 'w').close(); time.sleep(600)"
    )
    cancel = threading.Event()

    def stop() -> None:
        while not ready.exists():
            time.sleep(0.01)
        cancel.set()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(process.ToolCancelledError):
        process.run([PYTHON, "-c", code, ready, note], timeout=60, cancel=cancel)
    assert note.exists()


def test_descriptors_reach_the_program_and_no_other():
    inside = os.memfd_create("inside")
    try:
        kept = process.run([PYTHON, "-c", f"open('/proc/self/fd/{inside}', 'w').write('x')"], pass_fds=(inside,))
        assert kept.returncode == 0
        assert os.pread(inside, 10, 0) == b"x"
        assert python(f"import os; os.fstat({inside})").returncode == 1
    finally:
        os.close(inside)


def test_no_descriptor_and_no_zombie_is_left():
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        python("pass")
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
