"""What every test relies on."""

from __future__ import annotations

import os
import signal

from hypothesis import settings


def pytest_configure() -> None:
    """Shells start background jobs with SIGINT ignored, and children inherit that: tests of Ctrl-C need it back."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A busy machine is no fault of the example. The examples are the same in every run, so that a change fails for
    # what it changed; SHIM_TEST_EXAMPLES=random looks for new ones.
    fixed = os.environ.get("SHIM_TEST_EXAMPLES") != "random"
    settings.register_profile("shim", deadline=None, derandomize=fixed)
    settings.load_profile("shim")
