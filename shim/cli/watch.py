"""Progress bars for long runs: on a terminal only, nothing in CI or in a pipe."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LABELS = {
    "read": "reading",
    "compile": "compiling PTX",
    "inject": "injecting",
    "write": "writing",
    "verify": "verifying",
}


class Bars:
    """A `shim.applying.events.Watcher` that draws. Use as a context manager."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal and not os.environ.get("CI"):
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description:<14}"),
                BarColumn(),
                DownloadColumn(),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def phase(self, name: str, total: int) -> None:
        """See `Watcher.phase`."""
        if self._progress is not None:
            self._task = self._progress.add_task(_LABELS.get(name, name), total=total or None)

    def done(self, amount: int) -> None:
        """See `Watcher.done`."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, amount)

    def note(self, text: str) -> None:
        """See `Watcher.note`."""
        if self._verbose:
            import click

            click.echo(text, err=True)
