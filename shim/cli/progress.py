"""One line on standard error that says how far a scan is; on a terminal only, and never in CI."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Final, Self

from shim.scan.words import size_text

_DELAY: Final = 0.4  # seconds before the first line: short scans show none
_INTERVAL: Final = 0.1
_CLEAR: Final = "\r\x1b[K"


class ProgressLine:
    """A `ScanOptions.progress`. Use as a context manager; the line is gone at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = time.monotonic() + _DELAY
        self._shown = False
        self.enabled = sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.enabled = False
        with self._lock:
            if self._shown:
                self._write(_CLEAR)

    def __call__(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self.enabled or now < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = now + _INTERVAL
            self._shown = True
            share = 100 * done // total if total else 100
            self._write(f"{_CLEAR}scanning {label[:40]}: {share} % of {size_text(total)}")
        finally:
            self._lock.release()

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
