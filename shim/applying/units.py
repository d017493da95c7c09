"""What the compile and link stages take and give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shim.applying.shelf import Cubin
from shim.toolchain import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileUnit:
    """One PTX text to compile.

    Attributes:
        key: the caller's name for it, unique in one call.
        ptx: the text, without trailing NUL; or what reads it, from any thread, as often as it is called. A large
            plan does not fit into memory as a whole.
        options: the option text of its fatbin entry.
        target: what to compile for, `sm_121` or `sm_121a`.
        tool: the ptxas to use.
        label: for messages, like `lib.so container 12`.
        relocatable: make an object for nvlink, whether or not the options say so.
        rank: place in the order when there is a budget; lower comes first.
        group: units of a group are of use only together; "" for a unit that stands alone.
    """

    key: str
    ptx: bytes | Callable[[], bytes] = field(repr=False)
    options: str
    target: str
    tool: Tool
    label: str
    relocatable: bool = False
    rank: tuple[float, ...] = ()
    group: str = ""

    def text(self) -> bytes:
        """The text. Raises InputError when it cannot be read or decoded."""
        return self.ptx if isinstance(self.ptx, bytes) else self.ptx()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledUnit:
    """Machine code for one unit.

    Attributes:
        code: where the machine code is.
        seconds: CPU seconds it took now; 0 if it came from the cache.
        options: what ptxas was given besides architecture and file names.
    """

    key: str
    code: Cubin = field(repr=False)
    sha256: str
    seconds: float
    cached: bool
    tool: Tool
    options: tuple[str, ...]

    @property
    def cubin(self) -> bytes:
        """The machine code, read anew each time. Raises InputError."""
        return self.code.read()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A unit that the budget left no time for.

    Attributes:
        ended: it was started, and ended at the hard limit.
    """

    key: str
    label: str
    ended: bool = False
    seconds: float = 0.0


class EventKind(StrEnum):
    """What happened to a unit."""

    CACHED = "cached"
    STARTED = "started"
    COMPILED = "compiled"
    FAILED = "failed"
    NOT_KEPT = "not-kept"
    """Compiled, but the cache could not be written; follows COMPILED."""
    LEFT_OUT = "left-out"
    """The budget left no time for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileEvent:
    """Progress. Units with the same content count once; `done` and `done_size` include the failed."""

    kind: EventKind
    label: str
    size: int
    seconds: float
    done: int
    total: int
    done_size: int
    total_size: int
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUnit:
    """Objects to link.

    Attributes:
        key: the caller's name for it.
        objects: cubins of `CompileUnit(relocatable=True)`. Their order decides the layout of the result, so
            it must come from the file (order of containers), not from a folder or a set.
        target: `sm_121` or `sm_121a`.
        tool: the nvlink to use.
        label: for messages.
    """

    key: str
    objects: Sequence[bytes] = field(repr=False)
    target: str
    tool: Tool
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedUnit:
    """The linked machine code.

    Attributes:
        seconds: CPU seconds it took now; 0 if it came from the cache.
        warnings: what nvlink said; "" if it came from the cache.
    """

    key: str
    cubin: bytes = field(repr=False)
    sha256: str
    seconds: float
    cached: bool
    tool: Tool
    warnings: str = ""
