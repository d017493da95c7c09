"""PTX that tells whether a ptxas makes the same of 12.0a and 12.1a: one text for each kind of code in kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """PTX for sm_120a and the options it is compiled with."""

    name: str
    ptx: bytes
    options: str


_OPTIONS = (
    ("half-mma", ""),
    ("block-scaled", ""),
    ("memory", ""),
    ("memory", "--device-debug"),
    ("lines", "--generate-line-info"),
)


@cache
def samples() -> tuple[Sample, ...]:
    """The samples, as they come with shim."""
    folder = resources.files("shim.applying").joinpath("samples")
    return tuple(
        Sample(name=f"{name} {options}".strip(), ptx=folder.joinpath(f"{name}.ptx").read_bytes(), options=options)
        for name, options in _OPTIONS
    )
