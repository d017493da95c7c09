"""Well-known helpers that test the device's capability, by name, wherever they are imported from.

Sources: vLLM's and SGLang's `current_platform`, Triton's `cuda_capability_geq`, torchao's `is_sm_at_least_90`,
torch's testing constants, FlashInfer's decorator.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from shim.arch import ComputeCapability
from shim.source.gates.panel import UNKNOWN, capability_in
from shim.source.gates.values import PerDevice

_AT_LEAST: Final = re.compile(
    r"_*(is_|has_)?(cuda_)?(sm|SM)_?(at_least_|version_at_least_)(\d{2,3})|_*(is_)?sm_?(\d{2,3})_?(or_(later|newer|above)|OrLater|plus)",
    re.IGNORECASE,
)

Test = Callable[[ComputeCapability, ComputeCapability], bool]

_MINIMA: Final = frozenset({"has_device_capability", "cuda_capability_geq", "has_capability"})
_CHECKS: Final = frozenset({"check_value_in", "check_in", "assert_in", "ensure_in"})

_TESTS: Final[Mapping[str, Test]] = {
    "has_device_capability": lambda device, asked: device >= asked,
    "is_device_capability": lambda device, asked: device == asked,
    "is_device_capability_family": lambda device, asked: device.major == asked.major,
    "cuda_capability_geq": lambda device, asked: device >= asked,
    "is_sm_version": lambda device, asked: device == asked,
    "has_capability": lambda device, asked: device >= asked,
    "is_capability": lambda device, asked: device == asked,
}


def predicate(name: str, arguments: Sequence[object], devices: Sequence[ComputeCapability]) -> object:
    """What the helper says on each device; UNKNOWN for a function that is none of them."""
    if (test := _TESTS.get(name)) is not None:
        asked = _asked(arguments)
        return UNKNOWN if asked is None else PerDevice(tuple(test(device, asked) for device in devices))
    if found := _AT_LEAST.fullmatch(name):
        least = ComputeCapability.from_sm(int(found[5] or found[7]))
        return PerDevice(tuple(device >= least for device in devices))
    return UNKNOWN


def is_membership_check(name: str) -> bool:
    """Whether a function of that name raises when its first argument is not in its second."""
    return name in _CHECKS


def is_predicate(name: str) -> bool:
    """Whether a call of that name is itself a test of the capability."""
    return name in _TESTS or name in _CHECKS or _AT_LEAST.fullmatch(name) is not None


def asks_minimum(node: ast.Call) -> bool:
    """Whether the call is true for everything from a capability on."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in _MINIMA or _AT_LEAST.fullmatch(name) is not None


def _asked(arguments: Sequence[object]) -> ComputeCapability | None:
    if not arguments:
        return None
    if len(arguments) >= 2 and all(isinstance(part, int) for part in arguments[:2]) and _small(arguments[0]):
        return capability_in((arguments[0], arguments[1]))
    return capability_in(arguments[0])


def _small(value: object) -> bool:
    return isinstance(value, int) and value < 20
