"""The compile stage when the input is bad, the tool misbehaves, or the end comes by force."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shim.applying import compile as module
from shim.applying.compile import compile_units
from shim.applying.failure import CompileFailure, FailureKind
from shim.applying.units import CompiledUnit
from shim.errors import ToolError
from shim.store import ContentStore
from tests.builders import kernels
from tests.builders.compile_units import compile_one, fake, unit
from tests.builders.fake_tools import WRITES_A_CUBIN

pytestmark = pytest.mark.usefixtures("temporary")


HEAD = ".version {isa}\n.target {target}\n.address_size 64\n.visible .entry k() {{ {code} ret; }}\n"


@pytest.mark.parametrize(
    ("isa", "target", "code", "kind", "words"),
    [
        ("99.0", "sm_80", "", FailureKind.PTX_TOO_NEW, "Unsupported .version 99.0"),
        ("8.0", "sm_90a", "", FailureKind.FUTURE_ARCHITECTURE, "cannot be compiled to future architecture"),
        ("8.8", "sm_100f", "", FailureKind.OTHER_FAMILY, "different SM-family"),
        (
            "8.8",
            "sm_121a",
            "",
            FailureKind.SUFFIX_NEEDED,
            "'sm_121a' cannot be compiled for architecture 'sm_121'",
        ),
        ("8.0", "sm_999", "", FailureKind.UNKNOWN_TARGET, "Unsupported .target 'sm_999'"),
        ("8.0", "sm_80", "wgmma.fence.sync.aligned;", FailureKind.INSTRUCTION, "wgmma.fence"),
        ("8.0", "sm_80", "hello;", FailureKind.INVALID_INPUT, "'hello'"),
    ],
)
def test_what_ptxas_refuses(store, isa, target, code, kind, words):
    bad = unit(HEAD.format(isa=isa, target=target, code=code).encode(), key="bad")
    got = compile_units([bad, unit(key="good")], store=store)
    assert isinstance(got["good"], CompiledUnit)
    failure = got["bad"]
    assert isinstance(failure, CompileFailure)
    assert (failure.kind, failure.key, failure.label) == (kind, "bad", "lib.so container 1")
    assert words in failure.text
    assert str(failure).startswith(f"lib.so container 1: {kind}: ")


@pytest.mark.parametrize("ptx", [b"", b"\0", b"\xff" * 1000, b"#include </etc/passwd>\n", b".version 8.0"])
def test_what_is_no_ptx(ptx):
    assert compile_one(unit(ptx)).kind is FailureKind.INVALID_INPUT


def test_an_unknown_target():
    got = compile_one(unit(target="sm_999"))
    assert got.kind is FailureKind.UNKNOWN_TARGET
    assert "sm_999" in got.text


def test_hostile_options_never_reach_the_tool(tmp_path):
    victim = tmp_path / "victim"
    tool = fake(tmp_path, f"touch {tmp_path}/ran\n{WRITES_A_CUBIN}")
    got = compile_one(unit(options=f"-w -o {victim}", tool=tool))
    assert got.kind is FailureKind.OPTIONS
    assert "names a file" in got.text
    assert not (tmp_path / "ran").exists()


def test_an_option_this_tool_does_not_know(tmp_path):
    tool = fake(tmp_path, "echo \"ptxas fatal   : Unknown option 'x'\" >&2; exit 255")
    assert compile_one(unit(tool=tool)).kind is FailureKind.OPTIONS


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("kill -11 $$", FailureKind.CRASH, "SIGSEGV"),
        ("head -c 100000 /dev/urandom >&2; exit 1", FailureKind.INVALID_INPUT, ""),
        ("head -c 100000 /dev/urandom; exit 0", FailureKind.NO_OUTPUT, "wrote 0 bytes"),
        ("exit 0", FailureKind.NO_OUTPUT, "wrote 0 bytes"),
        ('echo garbage > "$out"', FailureKind.NO_OUTPUT, "wrote 8 bytes that are no cubin"),
        ('rm "$out"; echo garbage > "$out"', FailureKind.NO_OUTPUT, "wrote 0 bytes"),
        ("exit 9", FailureKind.INVALID_INPUT, "exit code 9"),
        ("echo 'ptxas fatal   : Memory allocation failure' >&2; exit 1", FailureKind.MEMORY, "Memory"),
        ("sleep 600", FailureKind.TIMEOUT, "did not finish within 5 s"),
        ("yes | head -c 50000000; exit 3", FailureKind.INVALID_INPUT, "exit code 3"),
    ],
)
def test_a_tool_that_misbehaves(tmp_path, store, body, kind, words):
    tool = fake(tmp_path, body)
    good = unit(key="good")
    got = compile_units([unit(tool=tool, key="bad"), good], store=store, unit_seconds=5 if "sleep" in body else 60)
    assert got["bad"].kind is kind
    assert words in got["bad"].text
    assert len(got["bad"].text) <= 2000
    assert isinstance(got["good"], CompiledUnit)
    assert len(list(store.entries())) == 1, "nothing of the bad one is kept"


def test_a_tool_that_takes_too_much_memory(tmp_path):
    hungry = f"sleep 2; {sys.executable} -c 'bytearray(900 << 20)' || exit 1"  # the limit is set after the start
    got = compile_one(unit(tool=fake(tmp_path, hungry)), memory_limit=400 << 20)
    assert isinstance(got, CompileFailure)
    assert "MemoryError" in got.text


def test_a_real_ptxas_out_of_memory():
    ptx = kernels.ptx_text(["k"], steps=20_000)
    got = compile_one(unit(ptx), memory_limit=24 << 20)
    assert got.kind in (FailureKind.MEMORY, FailureKind.CRASH)


def test_a_tool_that_vanishes(tmp_path, monkeypatch):
    tool = fake(tmp_path, WRITES_A_CUBIN)
    monkeypatch.setattr(module, "tool_digest", lambda tool: tool.path.unlink() or "digest")
    assert compile_one(unit(tool=tool)).kind is FailureKind.TOOL


def test_a_tool_that_cannot_be_read(tmp_path):
    tool = fake(tmp_path, WRITES_A_CUBIN)
    tool.path.unlink()
    with pytest.raises(ToolError, match="cannot read"):
        compile_one(unit(tool=tool))


# ---- the end by force


def test_an_interrupt_ends_every_tool(tmp_path, store):
    """The `temporary` fixture sees that no file is left."""
    pids = tmp_path / "pids"
    pids.mkdir()
    tool = fake(tmp_path, f"touch {pids}/$$; sleep 600")
    units = [unit(kernels.ptx_text([f"k{number}"]), key=str(number), tool=tool) for number in range(4)]

    def interrupt() -> None:
        while len(list(pids.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        compile_units(units, store=store, jobs=2)
    for path in pids.iterdir():
        assert not Path(f"/proc/{path.name}").exists()
    assert len(list(pids.iterdir())) == 2, "no further tool was started"


COMPILE = """
import sys
from pathlib import Path
from shim.applying.compile import compile_units
from shim.applying.units import CompileUnit
from shim.store import ContentStore
from shim.toolchain import ask_version
from tests.builders.kernels import ptx_text
tool = ask_version(Path(sys.argv[2]), name='ptxas', origin='test')
common = dict(options='', target='sm_121', tool=tool, label='')
units = [CompileUnit(key=str(n), ptx=ptx_text([f'k{n}']), **common) for n in range(int(sys.argv[3]))]
outcomes = compile_units(units, store=ContentStore(Path(sys.argv[1])), jobs=2)
print(sum(outcome.cached for outcome in outcomes.values()))
"""


def start_compile(store: ContentStore, tool: Path, count: int, temporary: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3]), "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", COMPILE, store.root, tool, str(count)]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_fill_one_cache_at_once(tmp_path, store, temporary):
    tool = kernels.tool("ptxas")
    rivals = [start_compile(store, tool.path, 30, temporary) for _ in range(2)]
    for rival in rivals:
        _, said = rival.communicate(timeout=120)
        assert rival.returncode == 0, said
    last = start_compile(store, tool.path, 30, temporary)
    assert last.communicate(timeout=60)[0].strip() == "30"
    assert len(list(store.entries())) == 30
