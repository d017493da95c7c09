"""PTX to machine code with ptxas: many units at once, results kept by the hash of what they are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event

from shim.applying.budget import Admission, Budget, Rank
from shim.applying.failure import CompileFailure, FailureKind, classify, is_cubin
from shim.applying.ptxas_options import replayed
from shim.applying.schedule import Job, memory_budget, run_jobs, usable_cores
from shim.applying.shelf import HeldCubin, Shelf
from shim.applying.units import CompiledUnit, CompileEvent, CompileUnit, EventKind, LeftOut
from shim.errors import InputError, ShimError, ToolError
from shim.process import ToolCancelledError, ToolTimeoutError, run
from shim.store import ContentStore, make_key
from shim.toolchain import MemoryFiles, tool_digest

_SCHEMA = "ptxas-1"
UNIT_SECONDS = 7200.0
"""Wall time one unit may take. The longest seen (34 MB of PTX) took some 10 CPU minutes."""

SPLIT_FROM = 4 << 20
"""Bytes of PTX from which ptxas may use threads inside one unit (`--split-compile=0`: as many as cores).

The limit looks at the unit alone, not at cores or neighbours: the option changes no `.text` section, but it
is noted in the cubin and reorders symbols, and equal inputs must give equal bytes on every machine. The
number of threads does not show (2, 7, 16, all cores, on one core and two: only the option's note differs)."""

_BASE_MEMORY = 60 << 20
_MEMORY_PER_BYTE = 50  # of PTX: 22 to 44 measured for units of 0.25 to 1 MB, 49 for 7 to 11 MB (attention)
_SPLIT_MEMORY = 384 << 20  # 310 MB more measured with 2 threads, 380 MB with 16, for a unit of 4 MB
_SPLIT_FACTOR = 2  # of the plain estimate, with 2 threads: 82 to 97 a byte measured for units of 7 to 22 MB


Outcome = CompiledUnit | CompileFailure | LeftOut


def compile_units(
    units: Sequence[CompileUnit],
    *,
    store: ContentStore | None,
    jobs: int | None = None,
    memory_limit: int | None = None,
    unit_seconds: float = UNIT_SECONDS,
    on_event: Callable[[CompileEvent], None] | None = None,
    budget: Budget | None = None,
) -> Mapping[str, Outcome]:
    """Compile every unit, or take it from the cache, and return the outcome for each unit's key.

    A failure of one unit is an outcome of its own and stops no other. Finished units are in the cache at
    once, so a run that is interrupted or killed goes on where it was. Events come in the calling thread.

    Texts are read twice, once for their hash and once when they are compiled, and are not held in between.

    Args:
        store: the cache; None = keep nothing.
        jobs: ptxas processes at once; None = one a core.
        memory_limit: bytes they may take together, as estimated from the size of the PTX; None = 70 % of what
            is free. No single process may allocate more than that, and at least one runs.
        unit_seconds: wall time one unit may take.
        budget: without one, the largest units start first, and all are compiled. With one, the order is that of the
            units' ranks, and a group is started only when all of it is expected to be done in time.

    Raises:
        ToolError: a ptxas cannot be read.
        InputError: a text cannot be read, or is not what it claims to be.
        KeyboardInterrupt: after every ptxas has ended.
    """
    digests = {tool: tool_digest(tool) for tool in {unit.tool for unit in units}}
    limit = memory_budget() if memory_limit is None else memory_limit
    slots = usable_cores() if jobs is None else jobs
    stage = _Stage(store, limit, unit_seconds, on_event or (lambda event: None), slots, budget)
    tasks: dict[str, _Task] = {}
    owners: dict[str, list[CompileUnit]] = {}
    outcomes: dict[str, Outcome] = {}
    for unit in units:
        text = unit.text()
        try:
            task = _task(unit, text, digests[unit.tool])
        except InputError as err:
            kind = FailureKind.OPTIONS
            outcomes[unit.key] = CompileFailure(key=unit.key, label=unit.label, kind=kind, text=err.message)
            continue
        tasks[task.key] = task.joined(tasks.get(task.key))
        owners.setdefault(task.key, []).append(unit)
    for key, outcome in stage.run(tuple(tasks.values())).items():
        outcomes.update((unit.key, _for_unit(outcome, unit)) for unit in owners[key])
    return outcomes


def _for_unit(outcome: Outcome, unit: CompileUnit) -> Outcome:
    match outcome:
        case CompiledUnit():
            return replace(outcome, key=unit.key)
        case CompileFailure() | LeftOut():
            return replace(outcome, key=unit.key, label=unit.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A unit with all that decides its result; `key` is the hash of that.

    Attributes:
        size: bytes of PTX.
        rank, groups: the best place, and all groups, of the units that have this content.
    """

    key: str
    unit: CompileUnit = field(repr=False)
    size: int
    options: tuple[str, ...]
    split: bool
    rank: Rank
    groups: frozenset[str]

    @property
    def memory(self) -> int:
        plain = _MEMORY_PER_BYTE * self.size
        return _BASE_MEMORY + (max(plain + _SPLIT_MEMORY, _SPLIT_FACTOR * plain) if self.split else plain)

    def joined(self, first: _Task | None) -> _Task:
        """This task, or the first with the same content, which then stands for both."""
        if first is None:
            return self
        return replace(first, rank=min(first.rank, self.rank), groups=first.groups | self.groups)


def _task(unit: CompileUnit, text: bytes, tool: str) -> _Task:
    options = replayed(unit.options)
    if unit.relocatable and "--compile-only" not in options:
        options = (*options, "--compile-only")
    split = len(text) >= SPLIT_FROM and not any(word.startswith("--split-compile") for word in options)
    if split:
        options = (*options, "--split-compile=0")
    key = make_key(_SCHEMA, hashlib.sha256(text).digest(), "\0".join(options), unit.target, tool)
    groups = frozenset({unit.group or unit.key})
    return _Task(key=key, unit=unit, size=len(text), options=options, split=split, rank=unit.rank, groups=groups)


class _Stage:
    """One call of compile_units: what all its tasks share, and the count of what is done."""

    def __init__(
        self,
        store: ContentStore | None,
        memory_limit: int,
        unit_seconds: float,
        on_event: Callable[[CompileEvent], None],
        slots: int,
        budget: Budget | None,
    ) -> None:
        self._store = store
        self._shelf = Shelf(store)
        self._slots = slots
        self._ranked = budget is not None
        self._admission = Admission(budget, slots)
        self._memory_limit = memory_limit
        self._unit_seconds = unit_seconds
        self._on_event = on_event
        self._outcomes: dict[str, Outcome] = {}
        self._not_kept: dict[str, str] = {}
        self._done_size = self._total = self._total_size = 0

    def run(self, tasks: Sequence[_Task]) -> Mapping[str, Outcome]:
        self._total, self._total_size = len(tasks), sum(task.size for task in tasks)
        missing = [task for task in tasks if not self._take_cached(task)]
        for task in missing:
            self._admission.expect(task.key, task.size, task.groups)
        left = run_jobs(
            [self._job(task) for task in missing],
            self._compile,
            slots=self._slots,
            memory=self._memory_limit,
            on_start=self._start,
            on_end=self._end,
            admit=lambda task: self._admission.admits(task.key),
        )
        for task in left:
            self._finish(task, LeftOut(key=task.unit.key, label=task.unit.label), EventKind.LEFT_OUT)
        return self._outcomes

    def _job(self, task: _Task) -> Job[_Task]:
        return Job(item=task, weight=task.size, memory=task.memory, rank=task.rank if self._ranked else ())

    def _start(self, task: _Task) -> None:
        self._admission.start(task.key)
        self._tell(EventKind.STARTED, task)

    def _take_cached(self, task: _Task) -> bool:
        cubin = self._store.read(task.key) if self._store else None
        if cubin is None:
            return False
        self._finish(task, self._shelved(task, _compiled(task, cubin, 0.0, cached=True)), EventKind.CACHED)
        return True

    def _shelved(self, task: _Task, outcome: CompiledUnit) -> CompiledUnit:
        stored = self._store is not None and task.key not in self._not_kept
        return replace(outcome, code=self._shelf.keep(task.key, outcome.cubin, outcome.sha256, stored=stored))

    def _end(self, task: _Task, outcome: Outcome) -> None:
        self._admission.end(task.key, compiled=isinstance(outcome, CompiledUnit))
        match outcome:
            case CompiledUnit():
                self._finish(task, self._shelved(task, outcome), EventKind.COMPILED)
                if why := self._not_kept.get(task.key):
                    self._tell(EventKind.NOT_KEPT, task, text=why)
            case CompileFailure():
                self._finish(task, outcome, EventKind.FAILED, text=outcome.text)
            case LeftOut():
                self._finish(task, outcome, EventKind.LEFT_OUT, text="it was started")

    def _finish(self, task: _Task, outcome: Outcome, kind: EventKind, text: str = "") -> None:
        self._outcomes[task.key] = outcome
        self._done_size += task.size
        self._tell(kind, task, seconds=outcome.seconds, text=text)

    def _tell(self, kind: EventKind, task: _Task, *, seconds: float = 0.0, text: str = "") -> None:
        self._on_event(
            CompileEvent(
                kind=kind,
                label=task.unit.label,
                size=task.size,
                seconds=seconds,
                done=len(self._outcomes),
                total=self._total,
                done_size=self._done_size,
                total_size=self._total_size,
                text=text,
            )
        )

    def _compile(self, task: _Task, cancel: Event) -> Outcome:
        """Runs in a thread of its own."""
        seconds = self._admission.seconds(self._unit_seconds)
        try:
            outcome = _ptxas(task, self._memory_limit, seconds, cancel)
        except ToolCancelledError:
            raise
        except ToolTimeoutError as err:
            if seconds < self._unit_seconds:
                return LeftOut(key=task.unit.key, label=task.unit.label, ended=True)
            return _failed(task, FailureKind.TIMEOUT, err.message)
        except ToolError as err:
            return _failed(task, FailureKind.TOOL, err.message)
        if self._store and isinstance(outcome, CompiledUnit):
            try:
                self._store.put(task.key, outcome.cubin)
            except ShimError as err:  # the result is good all the same
                self._not_kept[task.key] = err.message
        return outcome


def _ptxas(task: _Task, memory: int, seconds: float, cancel: Event) -> Outcome:
    with MemoryFiles() as files:
        files.add("unit.ptx", task.unit.text())
        files.add("unit.cubin")
        done = run(
            [task.unit.tool.path, f"-arch={task.unit.target}", *task.options, "-o", "unit.cubin", "unit.ptx"],
            cwd=files.folder,
            pass_fds=files.descriptors,
            timeout=seconds,
            max_rss=memory,
            cancel=cancel,
        )
        cubin = files.read("unit.cubin")
    if done.returncode != 0:
        kind, text = classify(done)
        return _failed(task, kind, text, done.cpu_seconds)
    if not is_cubin(cubin):
        text = f"{done.program} ended well but wrote {len(cubin)} bytes that are no cubin"
        return _failed(task, FailureKind.NO_OUTPUT, text, done.cpu_seconds)
    return _compiled(task, cubin, done.cpu_seconds, cached=False)


def _compiled(task: _Task, cubin: bytes, seconds: float, *, cached: bool) -> CompiledUnit:
    return CompiledUnit(
        key=task.unit.key,
        code=HeldCubin(data=cubin),
        sha256=hashlib.sha256(cubin).hexdigest(),
        seconds=seconds,
        cached=cached,
        tool=task.unit.tool,
        options=task.options,
    )


def _failed(task: _Task, kind: FailureKind, text: str, seconds: float = 0.0) -> CompileFailure:
    return CompileFailure(key=task.unit.key, label=task.unit.label, kind=kind, text=text, seconds=seconds)
