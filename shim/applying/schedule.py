"""Running many tool calls at once, bounded by cores and by memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MEMORY_SHARE = 0.7
_UNKNOWN_MEMORY = 2 << 30
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[T]):
    """One call to make.

    Attributes:
        weight: its expected duration, in any unit; the heaviest start first.
        memory: bytes it is expected to need.
        rank: goes before weight; lower starts first.
    """

    item: T
    weight: int
    memory: int
    rank: tuple[float, ...] = ()


def run_jobs(
    jobs: Sequence[Job[T]],
    work: Callable[[T, Event], R],
    *,
    slots: int,
    memory: int,
    on_start: Callable[[T], None],
    on_end: Callable[[T, R], None],
    admit: Callable[[T], bool] = lambda item: True,
) -> Sequence[T]:
    """Run `work` for every job in threads, and the callbacks in this thread. Return what was not admitted.

    Longest job first: the wall time is then at most 4/3 of the best possible (Graham 1969), in practice close
    to max(total / slots, longest). At most `slots` run at once, and together they are expected to stay within
    `memory`; a job that needs more than that runs alone. When anything raises, Ctrl-C included, the event
    given to `work` is set and every thread is waited for.

    Args:
        admit: asked in this thread, whenever a slot is free, for one job after another until one is admitted. When
            nothing runs and nothing is admitted, the rest is not done.
    """
    waiting = sorted(jobs, key=lambda job: (job.rank, -job.weight))
    running: dict[Future[R], Job[T]] = {}
    cancel = Event()
    with ThreadPoolExecutor(max_workers=max(slots, 1)) as pool:
        try:
            while waiting or running:
                while job := _next(waiting, list(running.values()), max(slots, 1), memory, admit):
                    waiting.remove(job)
                    on_start(job.item)
                    running[pool.submit(work, job.item, cancel)] = job
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    on_end(running.pop(future).item, future.result())
        except BaseException:
            cancel.set()
            raise
    return [job.item for job in waiting]


def _next(
    waiting: Sequence[Job[T]], running: Sequence[Job[T]], slots: int, memory: int, admit: Callable[[T], bool]
) -> Job[T] | None:
    """Return the first job that may start now."""
    if len(running) >= slots:
        return None
    free = memory - sum(job.memory for job in running)
    return next((job for job in waiting if (not running or job.memory <= free) and admit(job.item)), None)


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0))


def memory_budget(proc: Path = Path("/proc"), cgroup: Path = _CGROUP) -> int:
    """Return the bytes that compiling may take: 70 % of what the machine or the container has left."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(proc / "meminfo"), re.MULTILINE)
    available = int(found[1]) * 1024 if found else _UNKNOWN_MEMORY
    limit, used = _text(cgroup / "memory.max").strip(), _text(cgroup / "memory.current").strip()
    if limit.isdigit() and used.isdigit():
        available = min(available, max(int(limit) - int(used), 0))
    return int(available * _MEMORY_SHARE)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
