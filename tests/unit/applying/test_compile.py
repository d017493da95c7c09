"""The compile stage: real ptxas, fake ones that misbehave, and the cache."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from shim.applying import compile as module
from shim.applying.compile import compile_units
from shim.applying.failure import CompileFailure, FailureKind
from shim.applying.units import CompiledUnit, CompileUnit, EventKind
from shim.errors import InputError, ToolError
from shim.store import ContentStore
from shim.toolchain import ask_version
from tests.builders import kernels
from tests.builders.fake_tools import WRITES_A_CUBIN, fake_ptxas

PTX = kernels.ptx_text(["one", "two"], steps=3)


@pytest.fixture
def store(tmp_path) -> ContentStore:
    return ContentStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Every temporary file goes where the tests can see it, and none may be left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def unit(ptx: bytes = PTX, **changes) -> CompileUnit:
    values = {"key": "k", "options": "", "target": "sm_121", "label": "lib.so container 1"} | changes
    values.setdefault("tool", kernels.tool("ptxas"))
    return CompileUnit(ptx=ptx, **values)


def compile_one(one: CompileUnit, store: ContentStore | None = None, **options):
    return compile_units([one], store=store, **options)[one.key]


def fake(tmp_path, body: str, name: str = "ptxas"):
    path = fake_ptxas(tmp_path / "fake" / name, body=body)
    return ask_version(path, name="ptxas", origin="test")


def distinct(count: int) -> list[CompileUnit]:
    texts = [kernels.ptx_text([f"kernel_{number}"]) for number in range(count)]
    return [unit(text, key=str(number), label=f"unit {number}") for number, text in enumerate(texts)]


# ---- what comes out


def test_the_cubin_is_the_one_ptxas_makes(store):
    got = compile_one(unit(), store)
    assert isinstance(got, CompiledUnit)
    assert got.cubin == kernels.build_cubin(PTX)
    assert got.sha256 == hashlib.sha256(got.cubin).hexdigest()
    assert (got.key, got.cached, got.tool, got.options) == ("k", False, kernels.tool("ptxas"), ())
    assert got.seconds > 0


def test_options_are_replayed(store):
    got = compile_one(unit(options="-v -O1 -maxrregcount=32 -arch=sm_80"), store)
    assert got.options == ("--verbose", "--opt-level=1", "--maxrregcount=32")
    assert got.cubin == kernels.build_cubin(PTX, options=["-v", "-O1", "-maxrregcount=32"])


@pytest.mark.parametrize("options", ["", "--compile-only"])
def test_relocatable(options):
    got = compile_one(unit(options=options, relocatable=True))
    assert got.options == ("--compile-only",)
    assert got.cubin == kernels.build_cubin(PTX, options=["-c"])
    assert got.cubin[16] == 1, "ET_REL"


def test_the_target_is_followed():
    plain, specific = compile_one(unit()), compile_one(unit(target="sm_121a"))
    assert plain.cubin != specific.cubin
    assert specific.cubin == kernels.build_cubin(PTX, arch="sm_121a")


@pytest.mark.parametrize("options", ["", "-lineinfo", "-g", "--compile-only", "-g --compile-only"])
def test_equal_input_gives_equal_bytes(options, tmp_path, monkeypatch):
    """With -g, ptxas notes the names of its input and output: they must not vary."""
    first = compile_one(unit(options=options))
    held = [os.memfd_create("filler") for _ in range(5)]  # other descriptor numbers, another folder
    elsewhere = tmp_path / "a much longer name than before"
    elsewhere.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(elsewhere))
        second = compile_one(unit(options=options))
    for descriptor in held:
        os.close(descriptor)
    assert first.cubin == second.cubin


def test_a_large_unit_may_use_threads_and_says_so(monkeypatch):
    monkeypatch.setattr(module, "SPLIT_FROM", len(PTX))
    got = compile_one(unit())
    assert got.options == ("--split-compile=0",)
    assert compile_one(unit(options="--split-compile=3")).options == ("--split-compile=3",)
    assert compile_one(unit(PTX[:-1])).options == ()


# ---- the cache


def test_the_second_time_comes_from_the_cache(store):
    first = compile_one(unit(options="-w"), store)
    second = compile_one(unit(options="--disable-warnings", key="other"), store)
    assert (second.cached, second.seconds, second.key) == (True, 0.0, "other")
    assert (second.cubin, second.sha256, second.options) == (first.cubin, first.sha256, first.options)


@pytest.mark.parametrize(
    "change",
    [{"ptx": PTX + b" "}, {"options": "-O1"}, {"target": "sm_121a"}, {"relocatable": True}],
)
def test_all_that_matters_is_in_the_key(store, change):
    compile_one(unit(), store)
    assert not compile_one(unit(**change), store).cached


def test_another_build_of_the_tool_is_another_key(store, tmp_path):
    one = fake(tmp_path, WRITES_A_CUBIN, "one")
    two = fake(tmp_path, WRITES_A_CUBIN + " # rebuilt", "two")
    same = fake(tmp_path, WRITES_A_CUBIN, "same")
    compile_one(unit(tool=one), store)
    assert not compile_one(unit(tool=two), store).cached
    assert compile_one(unit(tool=same), store).cached, "where it lies does not matter"


def test_equal_units_are_compiled_once(store, tmp_path):
    counter = tmp_path / "runs"
    tool = fake(tmp_path, f"echo x >> {counter}\n{WRITES_A_CUBIN}")
    units = [unit(key=str(number), tool=tool, label=f"container {number}") for number in range(5)]
    events = []
    got = compile_units(units, store=store, on_event=events.append)
    assert counter.read_text() == "x\n"
    assert [got[str(number)].key for number in range(5)] == list("01234")
    assert Counter(event.kind for event in events) == {EventKind.STARTED: 1, EventKind.COMPILED: 1}


def test_a_damaged_cache_entry_is_compiled_again(store):
    first = compile_one(unit(), store)
    (entry,) = store.entries()
    entry.path.write_bytes(first.cubin[:100])
    again = compile_one(unit(), store)
    assert (again.cached, again.cubin) == (False, first.cubin)
    assert compile_one(unit(), store).cached


def test_failures_are_not_kept(store):
    assert isinstance(compile_one(unit(b"nonsense"), store), CompileFailure)
    assert list(store.entries()) == []


def test_a_full_cache_disk_does_not_stop_the_work(store, monkeypatch):
    def full(key: str, value: bytes) -> Path:
        raise InputError("cannot write to the cache: No space left on device")

    monkeypatch.setattr(store, "put", full)
    events = []
    got = compile_one(unit(), store, on_event=events.append)
    assert got.cubin == kernels.build_cubin(PTX)
    assert [event.kind for event in events] == [EventKind.STARTED, EventKind.COMPILED, EventKind.NOT_KEPT]
    assert "No space left" in events[-1].text


def test_without_a_store():
    assert not compile_one(unit()).cached
    assert not compile_one(unit()).cached


# ---- progress and order


def test_events(store):
    units = distinct(3)
    compile_units(units[:1], store=store)
    events = []
    compile_units([*units, unit(b"bad", key="bad")], store=store, jobs=1, on_event=events.append)
    assert [event.kind for event in events] == [
        EventKind.CACHED,
        EventKind.STARTED,
        EventKind.COMPILED,
        EventKind.STARTED,
        EventKind.COMPILED,
        EventKind.STARTED,
        EventKind.FAILED,
    ]
    assert [event.done for event in events] == [1, 1, 2, 2, 3, 3, 4]
    assert {event.total for event in events} == {4}
    assert events[-1].done_size == events[-1].total_size == sum(len(item.ptx) for item in units) + 3
    assert (
        events[-1].text.endswith("Missing .version directive at start of file 'unit.ptx'") or events[-1].text
    )
    assert all(event.seconds > 0 for event in events if event.kind is EventKind.COMPILED)


def test_the_largest_start_first(store):
    units = [
        unit(kernels.ptx_text(["k"], steps=steps), key=str(steps), label=str(steps)) for steps in (5, 50, 1)
    ]
    events = []
    compile_units(units, store=store, jobs=1, on_event=events.append)
    assert [event.label for event in events if event.kind is EventKind.STARTED] == ["50", "5", "1"]


WATCH = """
touch {folder}/$$; ls {folder} | wc -l >> {log}; sleep 0.3; rm {folder}/$$
"""


@pytest.mark.parametrize(
    ("bounds", "most"),
    [
        ({"jobs": 3}, 3),
        ({"jobs": 8, "memory_limit": 2 * module._BASE_MEMORY + (1 << 20)}, 2),
        ({"jobs": 8, "memory_limit": module._BASE_MEMORY}, 1),
    ],
)
def test_bounds(tmp_path, bounds, most):
    (tmp_path / "now").mkdir()
    body = WATCH.format(folder=tmp_path / "now", log=tmp_path / "log") + WRITES_A_CUBIN
    tool = fake(tmp_path, body)
    units = [unit(kernels.ptx_text([f"k{number}"]), key=str(number), tool=tool) for number in range(6)]
    got = compile_units(units, store=None, **bounds)
    assert all(isinstance(outcome, CompiledUnit) for outcome in got.values())
    assert max(map(int, (tmp_path / "log").read_text().split())) == most


# ---- failures

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
        ("sleep 600", FailureKind.TIMEOUT, "did not finish within 0.5 s"),
        ("yes | head -c 50000000; exit 3", FailureKind.INVALID_INPUT, "exit code 3"),
    ],
)
def test_a_tool_that_misbehaves(tmp_path, store, body, kind, words):
    tool = fake(tmp_path, body)
    good = unit(key="good")
    got = compile_units(
        [unit(tool=tool, key="bad"), good], store=store, unit_seconds=0.5 if "sleep" in body else 60
    )
    assert got["bad"].kind is kind
    assert words in got["bad"].text
    assert len(got["bad"].text) <= 2000
    assert isinstance(got["good"], CompiledUnit)
    assert len(list(store.entries())) == 1, "nothing of the bad one is kept"


def test_a_tool_that_takes_too_much_memory(tmp_path):
    hungry = f"{sys.executable} -c 'import time; time.sleep(0.2); bytearray(900 << 20)' || exit 1"
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


def test_after_a_kill_only_the_missing_are_compiled(tmp_path, store):
    log = tmp_path / "log"
    tool = fake(tmp_path, f"echo x >> {log}; sleep 0.1\n{WRITES_A_CUBIN}")
    elsewhere = tmp_path / "of the killed"
    elsewhere.mkdir()
    killed = start_compile(store, tool.path, 20, elsewhere)
    while len(list(store.entries())) < 5:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    time.sleep(0.5)  # its last tools end by themselves; their output is in memory that nobody holds
    kept = len(list(store.entries()))
    assert 5 <= kept < 20
    log.write_text("")
    again = start_compile(store, tool.path, 20, elsewhere)
    out, said = again.communicate(timeout=60)
    assert again.returncode == 0, said
    assert int(out) == kept
    assert log.read_text().count("x") == 20 - kept


def test_two_processes_fill_one_cache_at_once(tmp_path, store, temporary):
    tool = kernels.tool("ptxas")
    rivals = [start_compile(store, tool.path, 30, temporary) for _ in range(2)]
    for rival in rivals:
        _, said = rival.communicate(timeout=120)
        assert rival.returncode == 0, said
    last = start_compile(store, tool.path, 30, temporary)
    assert last.communicate(timeout=60)[0].strip() == "30"
    assert len(list(store.entries())) == 30


# ---- how long it takes


def test_the_stage_is_as_fast_as_its_longest_unit_or_the_cores_allow(tmp_path, store):
    """Tools that sleep stand for tools that work, so that a busy machine does not count."""
    tool = fake(tmp_path, f'sleep $(sed -n "s,^// ,,p" "$word")\n{WRITES_A_CUBIN}')
    lengths = (1.0, 0.4, 0.4, 0.4, 0.4, 0.4)
    ideal = sum(lengths) / 2
    units = [
        unit(
            kernels.ptx_text(steps=int(length * 10) + number) + f"// {length}\n".encode(),
            key=str(number),
            tool=tool,
        )
        for number, length in enumerate(lengths)
    ]
    started = time.monotonic()
    compile_units(units, store=store, jobs=2)
    cold = time.monotonic() - started
    assert ideal <= cold < 1.15 * ideal + 0.3, "0.3 s for starting six shells"
    started = time.monotonic()
    assert all(outcome.cached for outcome in compile_units(units, store=store).values())
    assert time.monotonic() - started < 0.05 * cold
