"""The scheduler: order, bounds, and the end by an error."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from shim.applying.schedule import Job, memory_budget, run_jobs, usable_cores


class Recorder:
    """Work that sleeps, and a note of what ran beside what."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: list[int] = []
        self.together: list[tuple[int, ...]] = []
        self.started: list[int] = []
        self.ended: list[tuple[int, int]] = []

    def work(self, item: int, cancel: threading.Event) -> int:
        with self.lock:
            self.running.append(item)
            self.together.append(tuple(self.running))
        time.sleep(0.01)
        with self.lock:
            self.running.remove(item)
        return item * 10

    def run(self, jobs, **bounds) -> Recorder:
        here = threading.current_thread()

        def on_start(item: int) -> None:
            assert threading.current_thread() is here
            self.started.append(item)

        def on_end(item: int, result: int) -> None:
            assert threading.current_thread() is here
            self.ended.append((item, result))

        run_jobs(jobs, self.work, on_start=on_start, on_end=on_end, **bounds)
        return self


def jobs(*weights: int, memory: int = 1) -> list[Job[int]]:
    return [Job(item=weight, weight=weight, memory=memory) for weight in weights]


def test_every_job_runs_once_and_its_result_comes_back():
    done = Recorder().run(jobs(*range(20)), slots=3, memory=100)
    assert sorted(done.ended) == [(item, item * 10) for item in range(20)]
    assert len(done.started) == 20


def test_the_heaviest_start_first():
    assert Recorder().run(jobs(3, 9, 1, 7), slots=1, memory=100).started == [9, 7, 3, 1]


def test_slots_bound_the_number():
    done = Recorder().run(jobs(*range(12)), slots=3, memory=1000)
    assert max(map(len, done.together)) == 3


def test_memory_bounds_the_sum():
    done = Recorder().run(jobs(*range(12), memory=40), slots=8, memory=100)
    assert max(map(len, done.together)) == 2


def test_one_too_large_for_the_memory_runs_alone():
    mixed = [Job(item=1, weight=1, memory=500), *jobs(5, 6, 7, 8, memory=30)]
    done = Recorder().run(mixed, slots=8, memory=100)
    assert len(done.ended) == 5
    assert all(len(group) == 1 for group in done.together if 1 in group)


def test_a_light_job_fills_the_gap_of_a_heavy_one():
    """The heavy one does not fit beside the first, the light one does."""
    mixed = [
        Job(item=1, weight=9, memory=80),
        Job(item=2, weight=8, memory=80),
        Job(item=3, weight=1, memory=10),
    ]
    assert Recorder().run(mixed, slots=2, memory=100).started == [1, 3, 2]


@pytest.mark.parametrize("slots", [0, -3])
def test_at_least_one_runs(slots):
    assert Recorder().run(jobs(1, 2), slots=slots, memory=0).started == [2, 1]


def test_nothing_to_do():
    assert Recorder().run([], slots=2, memory=1).started == []


def test_a_raise_cancels_the_rest_and_waits_for_them():
    still_running = set()

    def work(item: int, cancel: threading.Event) -> None:
        if item == 9:
            raise ValueError("broken")
        still_running.add(item)
        assert cancel.wait(30), "the other threads must be told"
        time.sleep(0.05)
        still_running.discard(item)

    started = []
    with pytest.raises(ValueError, match="broken"):
        run_jobs(jobs(9, 8, 7, 6, 5), work, slots=3, memory=9, on_start=started.append, on_end=lambda i, r: None)
    assert started == [9, 8, 7]
    assert not still_running


def test_a_raise_in_a_callback_cancels_too():
    def work(item: int, cancel: threading.Event) -> bool:
        return item == 2 or cancel.wait(30)

    def on_end(item: int, result: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs(1, 2), work, slots=2, memory=9, on_start=lambda item: None, on_end=on_end)


def machine(tmp_path: Path, *, available: str | None, limit: str | None = None, used: str = "0") -> int:
    (tmp_path / "proc").mkdir()
    (tmp_path / "cgroup").mkdir()
    if available is not None:
        (tmp_path / "proc" / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:  {available} kB\nBuffers: 2 kB\n")
    if limit is not None:
        (tmp_path / "cgroup" / "memory.max").write_text(limit + "\n")
        (tmp_path / "cgroup" / "memory.current").write_text(used + "\n")
    return memory_budget(tmp_path / "proc", tmp_path / "cgroup")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"available": "1000000"}, 716_800_000),
        ({"available": "1000000", "limit": "max"}, 716_800_000),
        ({"available": "1000000", "limit": "500000000", "used": "400000000"}, 70_000_000),
        ({"available": "1000000", "limit": "500", "used": "900"}, 0),
        ({"available": None}, int((2 << 30) * 0.7)),
    ],
)
def test_memory_budget(tmp_path, values, expected):
    assert machine(tmp_path, **values) == expected


def test_this_machine():
    assert usable_cores() >= 1
    assert memory_budget() > 0
