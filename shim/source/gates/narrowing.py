"""Which devices come past a condition, and what names hold after it."""

from __future__ import annotations

from shim.source.gates.panel import UNKNOWN
from shim.source.gates.values import PerDevice, truth

Live = tuple[bool, ...]


def where(test: object, live: Live, *, wanted: bool) -> Live:
    """The devices for which the test may come out as wanted."""
    if isinstance(test, PerDevice):
        return tuple(alive and truth(value) is not (not wanted) for alive, value in zip(live, test.values, strict=True))
    return live if truth(test) is not (not wanted) else tuple(False for _ in live)


def either(one: Live, other: Live) -> Live:
    return tuple(a or b for a, b in zip(one, other, strict=True))


def joined(one: dict[str, object], other: dict[str, object], test: object) -> dict[str, object]:
    """Names after an if. What depends on the device wins: that is what the reader is after."""
    joined = dict(other)
    for name, value in one.items():
        rest = other.get(name, UNKNOWN)
        if value is rest:
            continue
        if isinstance(test, PerDevice):
            joined[name] = _merged(test, value, rest)
        elif isinstance(value, PerDevice) or truth(test) is True:
            joined[name] = value
        elif isinstance(rest, PerDevice) or truth(test) is False:
            joined[name] = rest
        else:
            joined[name] = UNKNOWN
    return joined


def _merged(test: PerDevice, body: object, orelse: object) -> object:
    width = len(test.values)
    left = body.values if isinstance(body, PerDevice) else (body,) * width
    right = orelse.values if isinstance(orelse, PerDevice) else (orelse,) * width
    values = []
    for known, one, other in zip((truth(value) for value in test.values), left, right, strict=True):
        values.append(one if known else other if known is False else UNKNOWN)
    return PerDevice(tuple(values))
