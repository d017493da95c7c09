"""What a long run tells whoever watches it. The command line draws bars; a library caller may ignore it."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Told of phases and of the work done in them; called from the thread that runs the phase."""

    def phase(self, name: str, total: int) -> None:
        """A phase begins: "read", "compile", "inject", "write" or "verify"; `total` is its work in bytes."""

    def done(self, amount: int) -> None:
        """So much more of the current phase is done."""

    def note(self, text: str) -> None:
        """Something a person may want to know, such as a unit that was compiled."""


class Silent:
    """A watcher that does not look."""

    def phase(self, name: str, total: int) -> None:
        return

    def done(self, amount: int) -> None:
        return

    def note(self, text: str) -> None:
        return
