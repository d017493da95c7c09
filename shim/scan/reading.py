"""Reads the device code of all files of a package, several at once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shim.devicecode import DeviceCode
from shim.errors import InputError
from shim.scan.loose import as_one
from shim.scan.options import ScanOptions
from shim.scan.sources import Source, SourceFile, is_candidate

_STANDALONE: Final = frozenset({"cubin", "fatbin", "ptx", "ltoir"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRead:
    """What reading a package gave.

    Attributes:
        codes: of files that can hold device code, by path, in the order of the package.
        errors: one for each file that could not be read.
    """

    codes: Mapping[str, DeviceCode]
    errors: tuple[InputError, ...]


def read_device_code(source: Source, label: str, options: ScanOptions) -> CodeRead:
    """Read every file of the package that can hold device code. `label` names the package to `progress`."""
    candidates = [file for file in source.files if is_candidate(file.path)]
    meter = _Meter(label, sum(file.size for file in candidates), options)
    codes: dict[str, DeviceCode | None] = {}
    errors: dict[str, InputError] = {}

    def read(file: SourceFile) -> None:
        try:
            codes[file.path] = source.device_code(file, meter)
        except InputError as error:
            errors[file.path] = error

    if options.jobs <= 1 or len(candidates) <= 1:
        for file in candidates:
            read(file)
    else:
        _in_threads(read, sorted(candidates, key=lambda file: -file.size), options.jobs, meter)
    return CodeRead(
        codes={file.path: code for file in candidates if (code := codes.get(file.path)) is not None},
        errors=tuple(errors[file.path] for file in candidates if file.path in errors),
    )


def grouped(codes: Mapping[str, DeviceCode]) -> list[tuple[DeviceCode, int]]:
    """Files with device code, and how many each stands for.

    Folders of .cubin and like files are taken together: a package picks among them by name, and there can be
    16,000 of them.
    """
    sets: dict[tuple[str, str], list[DeviceCode]] = defaultdict(list)
    singles = []
    for path, code in codes.items():
        if code.format in _STANDALONE and "/" in path:
            sets[(path.partition("/")[0], code.format)].append(code)
        elif code.has_device_code:
            singles.append((code, 1))
    for (top, form), members in sets.items():
        name = members[0].member if len(members) == 1 else f"{top}/**/*.{form}"
        code = members[0] if len(members) == 1 else as_one(name, members)
        if code.has_device_code:
            singles.append((code, len(members)))
    return singles


class _Meter:
    """Counts bytes for all threads, and stops them when the scan is given up."""

    def __init__(self, label: str, expected: int, options: ScanOptions) -> None:
        self._label = label
        self._expected = expected
        self._report = options.progress
        self._lock = threading.Lock()
        self._done = 0
        self.stop = threading.Event()

    def __call__(self, count: int) -> None:
        if self.stop.is_set():
            raise InputError("the scan was given up")
        with self._lock:
            self._done += count
            done = min(self._done, self._expected)
        if self._report is not None:
            self._report(self._label, done, self._expected)


def _in_threads(read: Callable[[SourceFile], None], files: Sequence[SourceFile], jobs: int, meter: _Meter) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="scan") as pool:
        try:
            for future in [pool.submit(read, file) for file in files]:
                future.result()
        except BaseException:
            meter.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
