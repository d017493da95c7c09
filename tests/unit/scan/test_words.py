from __future__ import annotations

import pytest

from shim.scan.words import listing, plural, seconds_text, size_text, span_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        *((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (123_456, "123 kB")),
        *((999_600, "1.0 MB"), (23_777_467, "23.8 MB"), (899_742_281, "900 MB"), (1_889_000_000, "1.9 GB")),
    ],
)
def test_sizes(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "1 s"), (40, "40 s"), (89, "89 s"), (240, "4 min"), (5399, "90 min"), (13_600, "3.8 h")]
)
def test_durations(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(13, 88, "13 to 88 s"), (40, 240, "40 s to 4 min"), (120, 720, "2 to 12 min"), (0.1, 0.4, "1 s")],
)
def test_ranges(low, high, text):
    assert span_text(low, high) == text


def test_counts():
    counted = [plural(1, "library"), plural(2, "library"), plural(1200, "container"), plural(0, "file")]
    assert counted == ["1 library", "2 libraries", "1,200 containers", "0 files"]


def test_lists():
    assert listing("abc") == "a, b, c"
    assert listing("abcdefgh", limit=8) == "a, b, c, d, e, f, g, h"
    assert listing("abcdefghi", limit=8) == "a, b, c, d, e, f, g and 2 more"
