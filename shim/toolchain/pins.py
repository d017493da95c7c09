"""The wheels of the tool store: which they are, from `pins.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """One file on the index, for one machine."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One release of NVIDIA's compiler wheel.

    Attributes:
        version: of the distribution, like (13, 0, 88).
        ptx_isa: newest PTX ISA version its ptxas takes.
        programs: members to unpack.
        license: member with NVIDIA's licence text, unpacked beside them.
        wheels: by machine name (`x86_64`, `aarch64`).
    """

    distribution: str
    version: tuple[int, int, int]
    ptx_isa: tuple[int, int]
    programs: tuple[str, ...]
    license: str
    wheels: Mapping[str, WheelFile]

    @property
    def requirement(self) -> str:
        """What to ask pip for."""
        return f"{self.distribution}=={'.'.join(map(str, self.version))}"

    @property
    def name(self) -> str:
        """Name of its folder in the store, without the machine."""
        return self.requirement.replace("==", "-")


def read_pins(text: str) -> tuple[Pin, ...]:
    """Return the pins of a `pins.toml`. The file is part of the package, so a fault in it is a KeyError."""
    return tuple(_pin(table) for table in tomllib.loads(text)["wheel"])


def own_pins() -> tuple[Pin, ...]:
    """Return the pins that come with shim."""
    return read_pins(resources.files("shim.toolchain").joinpath("pins.toml").read_text(encoding="utf-8"))


def library_pins() -> tuple[Pin, ...]:
    """Return the pins of NVIDIA's libraries that come with shim; `ptx_isa` tells which CUDA they are of."""
    return read_pins(resources.files("shim.toolchain").joinpath("libraries.toml").read_text(encoding="utf-8"))


def _pin(table: Mapping[str, Any]) -> Pin:
    major, minor, patch = map(int, table["version"].split("."))
    isa_major, isa_minor = map(int, table["ptx_isa"].split("."))
    machines = ("x86_64", "aarch64")
    return Pin(
        distribution=table["distribution"],
        version=(major, minor, patch),
        ptx_isa=(isa_major, isa_minor),
        programs=tuple(table["programs"]),
        license=table["license"],
        wheels={machine: WheelFile(**table[machine]) for machine in machines if machine in table},
    )
