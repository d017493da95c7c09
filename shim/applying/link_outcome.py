"""What linkers share: results through the cache, and failures as values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from shim.applying.failure import CompileFailure, FailureKind
from shim.applying.units import LinkedUnit
from shim.errors import ShimError, ToolError
from shim.process import ToolTimeoutError
from shim.store import ContentStore
from shim.toolchain import Tool


class Named(Protocol):
    """A unit with the caller's name for it, and one for messages."""

    @property
    def key(self) -> str: ...
    @property
    def label(self) -> str: ...


def linked(unit: Named, tool: Tool, cubin: bytes, seconds: float, *, cached: bool, warnings: str = "") -> LinkedUnit:
    """The result of a link."""
    return LinkedUnit(
        key=unit.key,
        cubin=cubin,
        sha256=hashlib.sha256(cubin).hexdigest(),
        seconds=seconds,
        cached=cached,
        tool=tool,
        warnings=warnings,
    )


def failed(unit: Named, kind: FailureKind, text: str, seconds: float = 0.0) -> CompileFailure:
    """A link that gave nothing."""
    return CompileFailure(key=unit.key, label=unit.label, kind=kind, text=text, seconds=seconds)


def linked_once(
    unit: Named, store: ContentStore | None, key: str, link: Callable[[], LinkedUnit | CompileFailure]
) -> LinkedUnit | CompileFailure:
    """Link, and keep the result under `key`. A cache that cannot be written is not used."""
    try:
        outcome = link()
    except ToolTimeoutError as err:
        return failed(unit, FailureKind.TIMEOUT, err.message)
    except ToolError as err:
        return failed(unit, FailureKind.TOOL, err.message)
    if store and isinstance(outcome, LinkedUnit):
        try:
            store.put(key, outcome.cubin)
        except ShimError:
            return outcome
    return outcome
