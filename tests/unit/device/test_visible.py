"""CUDA_VISIBLE_DEVICES as the CUDA Programming Guide has it."""

from __future__ import annotations

import pytest

from shim.device.visible import visible

UUIDS = ["GPU-aa11", "GPU-aa22", "GPU-bb33"]


@pytest.mark.parametrize(
    ("value", "positions"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 0 ", [1, 0]),
        ("0,9,1", [0]),  # what follows an invalid entry is ignored
        ("-1", []),
        ("0,-1,1", [0]),
        ("NoDevFiles", []),
        ("GPU-bb", [2]),
        ("GPU-aa", []),  # not unambiguous
        ("GPU-aa1,GPU-aa2", [0, 1]),
        ("0,0", []),  # the same one twice
        ("MIG-1234", []),
        ("٣", []),
    ],
)
def test_visible(value, positions) -> None:
    assert visible(value, UUIDS) == positions


def test_an_instance_of_the_only_device() -> None:
    assert visible("MIG-1234", ["GPU-aa11"]) == [0]
