"""What `warm` did for each package."""

from __future__ import annotations

from dataclasses import dataclass

from shim.applying.result import Work
from shim.planning import Refusal
from shim.warming.own_jit import OwnJit


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverWork:
    """What the driver of this machine was given.

    Attributes:
        loaded: modules it loaded, and so compiled unless it had them. failed: (module, what it said).
        not_given: relocatable containers, which the runtime links when the library is loaded.
    """

    loaded: int
    failed: tuple[tuple[str, str], ...] = ()
    not_given: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmResult:
    """What became of one package or file.

    Attributes:
        label: name and version, or file name.
        work: of compiling into shim's own store, which `patch` takes from.
        refusals: (file, refusal): what was not compiled, or cannot be.
        texts: .ptx files, which only the driver's cache helps.
        licensed: files left out because NVIDIA's licence would keep `patch` from using the result.
        driver: None when it was not asked for.
    """

    label: str
    work: Work
    refusals: tuple[tuple[str, Refusal], ...] = ()
    texts: int = 0
    licensed: int = 0
    own_jit: OwnJit | None = None
    driver: DriverWork | None = None
