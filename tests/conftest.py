"""What every test relies on."""

from __future__ import annotations

import signal

from hypothesis import settings


def pytest_configure() -> None:
    """Shells start background jobs with SIGINT ignored, and children inherit that: tests of Ctrl-C need it back."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("shim", deadline=None)  # a busy machine is no fault of the example
    settings.load_profile("shim")
