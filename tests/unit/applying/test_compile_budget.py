"""The compile stage with a budget, texts that are read when needed, and going on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from shim.applying import shelf as shelf_module
from shim.applying.budget import Budget
from shim.applying.compile import compile_units
from shim.applying.shelf import HeldCubin, Shelf, StoredCubin
from shim.applying.units import CompiledUnit, CompileUnit, EventKind, LeftOut
from shim.errors import InputError
from shim.store import ContentStore, make_key
from tests.builders import kernels
from tests.builders.compile_units import compile_one, fake, unit
from tests.builders.fake_tools import WRITES_A_CUBIN
from tests.unit.applying.test_budget import Clock

pytestmark = pytest.mark.usefixtures("temporary")

SIZE = len(kernels.ptx_text(["k0"]))


class Run:
    """One call with a clock that every started unit moves on. Real time does not matter: the hard limit is far away."""

    def __init__(self, units, store, seconds: float, each: float) -> None:
        self.events = []
        self._clock = Clock()
        self._each = each
        budget = Budget(seconds, clock=self._clock)
        self.got = compile_units(units, store=store, jobs=1, budget=budget, on_event=self._note)

    def _note(self, event) -> None:
        self.events.append((event.kind, event.label))
        if event.kind is EventKind.STARTED:
            self._clock.now += self._each

    def of(self, kind: EventKind) -> list[str]:
        return [label for found, label in self.events if found is kind]


def ranked(tool, *places: int, group: str = "") -> list[CompileUnit]:
    """Units of one size; their labels are their ranks."""
    return [
        unit(kernels.ptx_text([f"k{n}"]), key=str(n), label=str(n), tool=tool, rank=(n,), group=group) for n in places
    ]


def test_the_best_rank_starts_first_whatever_its_size(store, tmp_path):
    tool = fake(tmp_path, WRITES_A_CUBIN)
    units = [
        unit(kernels.ptx_text(["k"], steps=steps), key=str(steps), label=str(steps), tool=tool, rank=(rank,))
        for steps, rank in ((50, 2), (5, 0), (100, 1))
    ]
    assert Run(units, store, 3600, 1).of(EventKind.STARTED) == ["5", "100", "50"]


def test_without_a_budget_ranks_do_not_count(store, tmp_path):
    tool = fake(tmp_path, WRITES_A_CUBIN)
    events = []
    units = [
        unit(kernels.ptx_text(["k"], steps=steps), key=str(steps), label=str(steps), tool=tool, rank=(steps,))
        for steps in (5, 50)
    ]
    compile_units(units, store=store, jobs=1, on_event=events.append)
    assert [event.label for event in events if event.kind is EventKind.STARTED] == ["50", "5"]


def test_no_unit_is_started_that_would_end_too_late(store, tmp_path):
    run = Run(ranked(fake(tmp_path, WRITES_A_CUBIN), *range(6)), store, seconds=2500, each=1000)
    assert run.of(EventKind.STARTED) == ["0", "1", "2"], "at 3000 s it is too late"
    assert run.of(EventKind.LEFT_OUT) == ["3", "4", "5"]
    assert [type(run.got[str(n)]) for n in range(6)] == [CompiledUnit] * 3 + [LeftOut] * 3
    assert run.got["4"] == LeftOut(key="4", label="4", ended=False)


def test_running_it_again_goes_on(store, tmp_path):
    log = tmp_path / "log"
    units = ranked(fake(tmp_path, f"echo x >> {log}\n{WRITES_A_CUBIN}"), *range(6))
    done = [Counter(type(o).__name__ for o in Run(units, store, 2500, 1000).got.values()) for _ in range(3)]
    assert done == [{"CompiledUnit": 3, "LeftOut": 3}, {"CompiledUnit": 6}, {"CompiledUnit": 6}]
    assert log.read_text().count("x") == 6


def test_what_is_cached_costs_nothing(store, tmp_path):
    units = ranked(fake(tmp_path, WRITES_A_CUBIN), *range(5))
    compile_units(units[:4], store=store)
    run = Run(units, store, seconds=500, each=600)
    assert (len(run.of(EventKind.CACHED)), run.of(EventKind.STARTED)) == (4, ["4"])


def test_a_budget_that_fits_nothing(store, tmp_path):
    units = ranked(fake(tmp_path, "exit 3"), *range(3))
    run = Run(units, store, seconds=1e-9, each=0)
    assert all(isinstance(outcome, LeftOut) for outcome in run.got.values())
    assert run.of(EventKind.STARTED) == []


def test_a_set_is_done_as_a_whole_or_not_at_all(store, tmp_path):
    tool = fake(tmp_path, WRITES_A_CUBIN)
    units = [*ranked(tool, 0, 1, group="first"), *ranked(tool, 2, 3, group="second")]
    run = Run(units, store, seconds=3000, each=2000)
    assert run.of(EventKind.STARTED) == ["0", "1"]
    assert run.of(EventKind.LEFT_OUT) == ["2", "3"]


def test_equal_texts_have_the_better_place(store, tmp_path):
    tool = fake(tmp_path, WRITES_A_CUBIN)
    common = {"tool": tool, "ptx": kernels.ptx_text(["same"])}
    late, early = unit(key="late", label="late", rank=(9,), **common), unit(key="early", rank=(0,), **common)
    run = Run([late, *ranked(tool, 5), early], store, seconds=500, each=600)
    assert run.of(EventKind.STARTED) == ["late"], "it is started as the early one"
    assert {key for key, outcome in run.got.items() if isinstance(outcome, CompiledUnit)} == {"late", "early"}


def test_what_still_runs_at_the_hard_limit_is_ended(store, tmp_path):
    """The clock stands still, so the limit is 1.5 times 0.2 s after the start, and the tool never ends by itself."""
    budget = Budget(0.2, clock=Clock())
    got = compile_one(unit(tool=fake(tmp_path, "sleep 600")), store, budget=budget)
    assert got == LeftOut(key="k", label="lib.so container 1", ended=True)


def test_the_limit_of_a_unit_is_still_a_failure(tmp_path):
    budget = Budget(3600, clock=Clock())
    got = compile_one(unit(tool=fake(tmp_path, "sleep 600")), unit_seconds=0.3, budget=budget)
    assert got.kind == "timeout"


# ---- what is held in memory


class Text:
    """A text that counts how often it is read."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.reads = 0

    def __call__(self) -> bytes:
        self.reads += 1
        return self._text


def test_a_text_is_read_once_for_its_hash_and_once_to_compile(store):
    text = Text(kernels.ptx_text(["k"]))
    compiled = compile_one(unit(text), store)
    assert text.reads == 2
    cached = compile_one(unit(text), store)
    assert text.reads == 3
    assert (compiled.cached, cached.cached) == (False, True)
    assert compiled.cubin == cached.cubin == kernels.build_cubin(kernels.ptx_text(["k"]))


def test_a_text_and_its_bytes_are_the_same_unit(store):
    compile_one(unit(kernels.ptx_text(["k"])), store)
    assert compile_one(unit(Text(kernels.ptx_text(["k"]))), store).cached


def test_a_text_that_cannot_be_read_ends_the_stage(store):
    def broken() -> bytes:
        raise InputError("zstd frame does not decode")

    with pytest.raises(InputError, match="does not decode"):
        compile_one(unit(broken), store)


def test_machine_code_beyond_the_room_stays_in_the_cache(store, monkeypatch):
    monkeypatch.setattr(shelf_module.Shelf.__init__, "__defaults__", (1,))
    units = [unit(kernels.ptx_text([f"k{n}"]), key=str(n)) for n in range(3)]
    for _ in range(2):
        got = compile_units(units, store=store)
        assert {type(outcome.code) for outcome in got.values()} == {StoredCubin}
        for n in range(3):
            assert got[str(n)].cubin == kernels.build_cubin(kernels.ptx_text([f"k{n}"]))


def test_machine_code_that_is_in_no_cache_is_held():
    big = b"x" * 1000
    assert Shelf(None, room=10).keep("k", big, "", stored=True) == HeldCubin(data=big)


def test_machine_code_that_could_not_be_stored_is_held(store):
    assert isinstance(Shelf(store, room=10).keep("k", b"x" * 1000, "", stored=False), HeldCubin)


def test_the_room_is_for_all_together(store):
    shelf = Shelf(store, room=1000)
    kinds = [type(shelf.keep(str(n), b"x" * 400, "", stored=True)) for n in range(4)]
    assert kinds == [HeldCubin, HeldCubin, StoredCubin, StoredCubin]


def test_a_cache_that_was_emptied_meanwhile_is_an_error(store):
    key = make_key("some")
    store.put(key, b"code")
    stored = StoredCubin(store=store, key=key, sha256="0" * 64)
    with pytest.raises(InputError, match="lost machine code"):
        stored.read()
    store.prune(max_bytes=0)
    with pytest.raises(InputError) as caught:
        stored.read()
    assert "Run the command again" in caught.value.hint


# ---- going on after a kill

RESUME = """
import sys
from pathlib import Path
from shim.applying.compile import compile_units
from shim.applying.units import CompileUnit
from shim.store import ContentStore
from shim.toolchain import ask_version
from tests.builders.kernels import ptx_text
tool = ask_version(Path(sys.argv[2]), name='ptxas', origin='test')
common = dict(options='', target='sm_121', tool=tool, label='')
units = [CompileUnit(key=str(n), ptx=ptx_text([f'k{n}']), **common) for n in range(8)]
outcomes = compile_units(units, store=ContentStore(Path(sys.argv[1])), jobs=1)
print(sum(outcome.cached for outcome in outcomes.values()), len(outcomes))
"""


def start(store: ContentStore, tool: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", RESUME, store.root, tool]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_after_kill_9_nothing_is_compiled_twice(tmp_path, store, monkeypatch):
    """The fifth compiler waits, so that the kill falls between four finished units and four missing ones."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    log, hold, pid = tmp_path / "log", tmp_path / "hold", tmp_path / "pid"
    hold.touch()
    waits = f'if [ -e {hold} ] && [ "$(wc -l < {log})" = 5 ]; then echo $$ > {pid}.new; mv {pid}.new {pid}; '
    body = f"echo x >> {log}; {waits} while [ -e {hold} ]; do sleep 0.05; done; exit 1; fi\n{WRITES_A_CUBIN}"
    tool = fake(tmp_path, body)
    killed = start(store, tool.path)
    while not pid.exists():
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert len(list(store.entries())) == 4
    hold.unlink()  # lets the orphan go
    log.write_text("")
    again = start(store, tool.path)
    out, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert out.split() == ["4", "8"], "four from the cache"
    assert log.read_text().count("x") == 4, "and the other four compiled"
    assert start(store, tool.path).communicate(timeout=120)[0].split() == ["8", "8"]
    assert log.read_text().count("x") == 4
