"""Values per device: what an expression comes out as on each device of the panel."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shim.arch import ComputeCapability
from shim.source.gates.panel import UNKNOWN, Shapeless, capability_in

_LONGEST: Final = 4096  # characters or elements of a folded value; longer ones are of no capability


@dataclass(frozen=True, slots=True)
class PerDevice:
    """One value for each device of the panel. Anything else than a PerDevice is the same everywhere."""

    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Properties:
    """What `get_device_properties` returns."""

    device: ComputeCapability


@dataclass(frozen=True, slots=True)
class DeviceName:
    """The name that the driver gives a device; only the target's own (NVIDIA GB10) is known here."""

    device: ComputeCapability


_NAMES: Final[Mapping[ComputeCapability, str]] = {
    ComputeCapability(12, 1): "NVIDIA GB10",
}

_ORDERINGS: Final[Mapping[str, Callable[..., object]]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "Is": operator.eq,
    "IsNot": operator.ne,
}
_ARITHMETIC: Final[Mapping[str, Callable[..., object]]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "Div": operator.truediv,
}
_TEXT_KEEPS: Final = frozenset(
    {"strip", "lstrip", "rstrip", "lower", "upper", "replace", "removeprefix", "removesuffix", "decode", "item"}
)


def lift(function: Callable[..., object], *arguments: object) -> object:
    """Apply a function device by device; UNKNOWN where it fails or nothing is left that differs."""
    width = next((len(argument.values) for argument in arguments if isinstance(argument, PerDevice)), None)
    if width is None:
        return _guarded(function, arguments)
    rows = zip(*(a.values if isinstance(a, PerDevice) else (a,) * width for a in arguments), strict=True)
    values = tuple(_guarded(function, row) for row in rows)
    return UNKNOWN if all(value is UNKNOWN for value in values) else PerDevice(values)


def truth(value: object) -> bool | None:
    """Truth of a value on one device; None when it is not known."""
    if value is UNKNOWN:
        return None
    if isinstance(value, (Shapeless, Properties, DeviceName)):
        return True
    return bool(value)


def compare(name: str, left: object, right: object) -> object:
    """One comparison on one device. `name` is the class name of the operator."""
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if isinstance(left, Shapeless) and isinstance(right, Shapeless):
        return UNKNOWN  # two devices, or two ways to one
    if name in ("In", "NotIn"):
        found = _contains(right, left)
        return found if found is UNKNOWN or name == "In" else not found
    if left is None or right is None:
        return _compare_none(name, left, right)
    left, right = _one_shape(left, right)
    if left is UNKNOWN or right is UNKNOWN or _holds_unknown(left) or _holds_unknown(right):
        return UNKNOWN
    if type(left) is not type(right) and not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
        return UNKNOWN
    return _ORDERINGS[name](left, right)


def arithmetic(name: str, left: object, right: object) -> object:
    """One operation on one device, on short values only."""
    if left is UNKNOWN or right is UNKNOWN or name not in _ARITHMETIC:
        return UNKNOWN
    if isinstance(left, Shapeless) and right in (10, 100):
        left = left.device.sm * (10 if right == 100 else 1)
    if isinstance(left, str) and name == "Mod":
        return left % right if len(left) < 64 and not _any_shapeless(right) else UNKNOWN
    if not isinstance(left, (int, float, str, tuple, list)) or not isinstance(right, (int, float, str, tuple, list)):
        return UNKNOWN
    if name == "Mult" and not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
        return UNKNOWN
    if name == "Add" and isinstance(left, (str, tuple, list)) and len(left) > _LONGEST:
        return UNKNOWN
    return _ARITHMETIC[name](left, right)


def attribute(value: object, name: str) -> object:
    """An attribute on one device."""
    if isinstance(value, (Shapeless, Properties)):
        if name in ("major", "minor"):
            return getattr(value.device, name)
        if isinstance(value, Properties):
            return DeviceName(value.device) if name == "name" else UNKNOWN
        if name in ("value", "version", "number", "arch", "capability", "compute_capability"):
            return value
    return UNKNOWN


def item(value: object, key: object) -> object:
    """A subscript on one device."""
    if isinstance(value, Shapeless):
        if isinstance(key, slice):
            return value if key in (slice(None, 2), slice(0, 2)) else UNKNOWN
        if key in (0, 1):
            return value.device.major if key == 0 else value.device.minor
        return UNKNOWN
    if isinstance(value, dict):
        found = lookup(value, key)
        return found if found is not None else UNKNOWN
    if isinstance(value, (tuple, list, str)) and isinstance(key, (int, slice)):
        return value[key]
    return UNKNOWN


def lookup(table: dict[object, object], key: object) -> object:
    """`table.get(key)` on one device: None when it is not there, UNKNOWN when no key is a capability."""
    if key is UNKNOWN or not table:
        return UNKNOWN
    comparable = False
    for candidate, value in table.items():
        outcome = compare("Eq", key, candidate)
        if outcome is True:
            return value
        comparable |= outcome is False
    return None if comparable else UNKNOWN


def method(value: object, name: str, arguments: tuple[object, ...]) -> object:
    """A method call on one device."""
    if isinstance(value, Shapeless):
        if name in ("to_int", "as_int"):
            return value.device.sm
        if name in ("as_version_str", "to_str"):
            return str(value.device)
        if name == "startswith" and len(arguments) == 1:
            return _starts(value.device, arguments[0])
        if name == "split":
            return [str(value.device.major), str(value.device.minor)] if arguments == (".",) else UNKNOWN
        return value if name in _TEXT_KEEPS else UNKNOWN
    if isinstance(value, DeviceName):
        if name in ("lower", "upper", "strip", "casefold"):
            return value
        if name == "startswith" and len(arguments) == 1 and isinstance(arguments[0], str):
            text = _NAMES.get(value.device, "")
            return UNKNOWN if not text else text.lower().startswith(arguments[0].lower())
        return UNKNOWN
    if isinstance(value, dict) and name == "get" and arguments:
        found = lookup(value, arguments[0])
        return arguments[1] if found is None and len(arguments) > 1 else found
    if isinstance(value, str) and name in (
        "lower",
        "upper",
        "strip",
        "startswith",
        "endswith",
        "split",
        "join",
        "replace",
    ):
        if any(argument is UNKNOWN or _any_shapeless(argument) for argument in arguments) or len(value) > _LONGEST:
            return UNKNOWN
        return getattr(value, name)(*arguments)
    return UNKNOWN


def _guarded(function: Callable[..., object], row: tuple[object, ...]) -> object:
    try:
        return function(*row)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, ZeroDivisionError, OverflowError, MemoryError):
        return UNKNOWN


def _compare_none(name: str, left: object, right: object) -> object:
    if name in ("Eq", "Is"):
        return left is right
    return left is not right if name in ("NotEq", "IsNot") else UNKNOWN


def _one_shape(left: object, right: object) -> tuple[object, object]:
    if isinstance(left, Shapeless):
        return left.shaped_like(right), right.device.sm if isinstance(right, Shapeless) else right
    if isinstance(right, Shapeless):
        return left, right.shaped_like(left)
    if isinstance(left, DeviceName) or isinstance(right, DeviceName):
        name, other = (left, right) if isinstance(left, DeviceName) else (right, left)
        text = _NAMES.get(name.device, "") if isinstance(name, DeviceName) else ""
        return (text, other) if text and isinstance(other, str) else (UNKNOWN, UNKNOWN)
    return left, right


def _contains(container: object, wanted: object) -> object:
    if isinstance(container, DeviceName):
        text = _NAMES.get(container.device)
        if isinstance(wanted, str) and text is None and any(wanted.lower() in name.lower() for name in _NAMES.values()):
            return False  # a part that has one name; other capabilities are sold under many
        if not isinstance(wanted, str) or not wanted or text is None:
            return UNKNOWN
        return wanted.lower() in text.lower()
    if isinstance(container, Shapeless):  # `120 in get_all_device_compute_capability()`
        asked = isinstance(wanted, (int, tuple)) or capability_in(wanted) is not None
        return compare("Eq", container, wanted) if asked and capability_in(wanted) is not None else UNKNOWN
    if isinstance(container, dict):
        container = list(container)
    if not isinstance(container, (tuple, list, set, frozenset)):
        return UNKNOWN
    outcomes = [compare("Eq", wanted, element) for element in container]
    if any(outcome is True for outcome in outcomes):
        return True
    if isinstance(wanted, Shapeless) and all(outcome is UNKNOWN for outcome in outcomes):
        return UNKNOWN
    return UNKNOWN if any(element is UNKNOWN for element in container) or not outcomes else False


def _starts(device: ComputeCapability, prefix: object) -> object:
    if isinstance(prefix, tuple):
        found = [_starts(device, one) for one in prefix]
        return True if True in found else UNKNOWN if UNKNOWN in found else False
    if not isinstance(prefix, str):
        return UNKNOWN
    for head in ("sm_", "sm", "SM_", "SM", "compute_", "compute"):
        if prefix.startswith(head) and prefix[len(head) :].isdigit():
            return f"{head}{device.sm}".startswith(prefix)
    if prefix.replace(".", "", 1).isdigit():
        return (str(device) if "." in prefix else str(device.sm)).startswith(prefix)
    return UNKNOWN


def _any_shapeless(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_any_shapeless(part) for part in value)
    return value is UNKNOWN or isinstance(value, (Shapeless, Properties, DeviceName))


def _holds_unknown(value: object) -> bool:
    return isinstance(value, (tuple, list)) and any(part is UNKNOWN for part in value)
