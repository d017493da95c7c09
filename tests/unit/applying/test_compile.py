"""The compile stage: what it makes, the cache, order and progress."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from shim.applying import compile as module
from shim.applying.compile import compile_units
from shim.applying.failure import CompileFailure
from shim.applying.units import CompiledUnit, CompileUnit, EventKind
from shim.errors import InputError
from tests.builders import kernels
from tests.builders.compile_units import PTX, compile_one, fake, unit
from tests.builders.fake_tools import WRITES_A_CUBIN

pytestmark = pytest.mark.usefixtures("temporary")


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
    assert events[-1].text.endswith("Missing .version directive at start of file 'unit.ptx'") or events[-1].text
    assert all(event.seconds > 0 for event in events if event.kind is EventKind.COMPILED)


def test_the_largest_start_first(store):
    units = [unit(kernels.ptx_text(["k"], steps=steps), key=str(steps), label=str(steps)) for steps in (5, 50, 1)]
    events = []
    compile_units(units, store=store, jobs=1, on_event=events.append)
    assert [event.label for event in events if event.kind is EventKind.STARTED] == ["50", "5", "1"]


# Waits until as many run as may, so that a slow machine sees them together; the first ones wait a little longer, for
# one too many to show.
WATCH = """
touch {folder}/$$
for turn in $(seq 100); do
  [ -e {folder}.full ] && break
  [ $(ls {folder} | wc -l) -ge {most} ] && sleep 0.3 && touch {folder}.full
  sleep 0.05
done
ls {folder} | wc -l >> {log}; rm {folder}/$$
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
    body = WATCH.format(folder=tmp_path / "now", log=tmp_path / "log", most=most) + WRITES_A_CUBIN
    tool = fake(tmp_path, body)
    units = [unit(kernels.ptx_text([f"k{number}"]), key=str(number), tool=tool) for number in range(6)]
    got = compile_units(units, store=None, **bounds)
    assert all(isinstance(outcome, CompiledUnit) for outcome in got.values())
    assert max(map(int, (tmp_path / "log").read_text().split())) == most


# ---- how long it takes


def test_the_longest_unit_starts_first_and_no_core_idles(tmp_path, store):
    """What makes the stage as fast as its longest unit or the cores allow; bench/compile_stage.py has the times."""
    tool = fake(tmp_path, WRITES_A_CUBIN)
    lengths = (4, 2, 10, 3, 6, 5)
    units = [unit(kernels.ptx_text(steps=length * 10), key=str(length), tool=tool) for length in lengths]
    events = []
    compile_units(units, store=store, jobs=2, on_event=events.append)
    started = [event.size for event in events if event.kind is EventKind.STARTED]
    assert started == sorted(started, reverse=True)
    running = 0
    before = None
    for event in events:
        if event.kind is EventKind.STARTED:
            running += 1
        else:
            # Two that end together are both reported before the next starts, so only the first end counts.
            if before is EventKind.STARTED and event.done < len(lengths):
                assert running == 2
            running -= 1
        before = event.kind
    assert running == 0
    assert all(outcome.cached for outcome in compile_units(units, store=store).values())
