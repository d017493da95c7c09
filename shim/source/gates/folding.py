"""Python's own operations on values of one device: and, or, if-else, conversions, text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shim.source.gates.panel import UNKNOWN, Shapeless
from shim.source.gates.values import DeviceName, Properties, truth


def frozen(value: object) -> object:
    return tuple(frozen(part) for part in value) if isinstance(value, (list, tuple)) else value


def both(*parts: object) -> object:
    known = [truth(part) for part in parts]
    if False in known:
        return False
    return UNKNOWN if None in known else parts[-1]


def either(*parts: object) -> object:
    for part in parts:
        known = truth(part)
        if known:
            return part
    return UNKNOWN if any(truth(part) is None for part in parts) else parts[-1]


def choose(test: object, body: object, orelse: object) -> object:
    known = truth(test)
    if known is None:
        # Of two ways the one that depends on the device is the one of interest: `cap if cuda else (0, 0)`.
        for one in (body, orelse):
            if isinstance(one, (Shapeless, Properties, DeviceName)):
                return one
        return UNKNOWN
    return body if known else orelse


def joined(*parts: object) -> object:
    if any(part is UNKNOWN or isinstance(part, (Shapeless, Properties, DeviceName)) for part in parts):
        if len(parts) == 1 or (len(parts) == 2 and parts[0] in ("sm_", "sm", "SM", "compute_")):
            return parts[-1] if isinstance(parts[-1], Shapeless) else UNKNOWN
        return UNKNOWN
    return "".join(str(part) for part in parts)


def convert(name: str, value: object) -> object:
    if isinstance(value, (Shapeless, DeviceName)):
        return value if name != "bool" else True
    if value is UNKNOWN or isinstance(value, Properties):
        return UNKNOWN
    makers: Mapping[str, Callable[[object], object]] = {
        "int": lambda one: int(one) if isinstance(one, (int, float, str)) else UNKNOWN,
        "float": lambda one: float(one) if isinstance(one, (int, float, str)) else UNKNOWN,
        "str": str,
        "bool": lambda one: bool(truth(one)),
        "tuple": lambda one: tuple(one) if isinstance(one, (list, tuple)) else UNKNOWN,
    }
    if name in ("list", "set", "frozenset", "sorted"):
        return list(value) if isinstance(value, (list, tuple, dict)) else UNKNOWN
    return makers[name](value) if name in makers else UNKNOWN


def quotient(value: object, by: object) -> object:
    if isinstance(value, Shapeless) and by == 10:
        return (value.device.major, value.device.minor)
    return divmod(value, by) if isinstance(value, int) and isinstance(by, int) else UNKNOWN
