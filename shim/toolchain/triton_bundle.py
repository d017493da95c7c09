"""The ptxas inside a Triton wheel or installation: does it take the target, and if not, what helps?

`shim.toolchain.triton` has the table of releases. Here nothing is fetched or changed: an installed ptxas is asked, one
in a wheel is judged by the version that stands in it, since nothing of a wheel is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

from shim.arch import ComputeCapability
from shim.errors import ToolError
from shim.toolchain.ask import refusal
from shim.toolchain.pins import own_pins
from shim.toolchain.tool import ask_version
from shim.toolchain.triton import ASKED_ISA, FIRST_BLACKWELL, NAMES, Rule, rule_for

PROGRAMS: Final = "triton/backends/nvidia/bin"
"""Folder of ptxas in the wheel, from 3.0 to 3.9."""

_VERSION: Final = re.compile(rb"release \d+\.\d+, V(\d+)\.(\d+)\.(\d+)")
_LONGEST: Final = 64
_ANY_MINOR: Final = 99  # in the table of `shim.toolchain.triton`
_FIRST_CUDA: Final = {100: (12, 7), 101: (12, 7), 103: (12, 9), 110: (13, 0), 120: (12, 8), 121: (12, 9)}
"""First ptxas with each architecture: PTX ISA manual, release history of `.target`; 120 and 121 measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledPtxas:
    """One ptxas that Triton brought.

    Attributes:
        takes: whether it assembles for the device; None when that could not be found out.
        how: "asked", "by version" or "unknown".
    """

    program: str
    version: str
    takes: bool | None
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonNote:
    """What to tell: `code` of the finding in `shim.scan.codes`; `hint` is what to do, or ""."""

    code: str
    text: str
    evidence: str = ""
    hint: str = ""


def is_triton(name: str) -> bool:
    """Whether a distribution is Triton, by its name in any spelling."""
    return re.sub(r"[-_.]+", "-", name).lower() in NAMES


def called_program(version: str, device: ComputeCapability) -> str | None:
    """The file that this Triton calls for the device; None where the table says nothing."""
    rule = _rule(version)
    return None if rule is None or device < FIRST_BLACKWELL else rule.program


def ask_bundled(path: Path, device: ComputeCapability) -> BundledPtxas | None:
    """Run an installed ptxas on a question. None when it does not run here."""
    try:
        tool = ask_version(path, name="ptxas", origin="triton")
        takes = not refusal(tool, isa=ASKED_ISA, arch=f"sm_{device.sm}a")
    except ToolError:
        return None
    return BundledPtxas(program=path.name, version=".".join(map(str, tool.version)), takes=takes, how="asked")


def read_bundled(program: str, chunks: Iterable[bytes], device: ComputeCapability) -> BundledPtxas:
    """Judge a ptxas by the version text in it, without running it."""
    number = _number(chunks)
    if number is None:
        return BundledPtxas(program=program, version="of unknown version", takes=None, how="unknown")
    first = _FIRST_CUDA.get(device.sm)
    takes = None if first is None else number[:2] >= first
    return BundledPtxas(program=program, version=".".join(map(str, number)), takes=takes, how="by version")


def _number(chunks: Iterable[bytes]) -> tuple[int, ...] | None:
    """The version text of a program that comes in pieces."""
    window = b""
    for chunk in chunks:
        window = window[-_LONGEST:] + bytes(chunk)
        found = _VERSION.search(window)
        if found and found.end() < len(window):  # else its last digits may come with the next piece
            return tuple(int(part) for part in found.groups())
    found = _VERSION.search(window)
    return tuple(int(part) for part in found.groups()) if found else None


def triton_notes(
    name: str, version: str, bundled: BundledPtxas | None, device: ComputeCapability, environ: Mapping[str, str]
) -> tuple[TritonNote, ...]:
    """What to tell of a Triton on a device.

    Args:
        bundled: the program that `called_program` names; None when the wheel lacks it.
        environ: variables that programs on this machine would have.
    """
    rule = _rule(version)
    label = f"{name} {version}"
    if device < FIRST_BLACKWELL:
        return ()
    if rule is None:
        text = f"{label} is older than 3.3: no variable makes it compile for {device}"
        return (TritonNote(code="triton-ptxas-too-old", text=text, hint="take Triton 3.6 or newer"),)
    notes = [_bundled_note(label, rule, bundled, device, environ)]
    if "BLACKWELL" in rule.variable and environ.get("TRITON_PTXAS_PATH"):
        text = f"{label} does not look at TRITON_PTXAS_PATH, which is set, for {device}"
        notes.append(
            TritonNote(code="triton-variable-unused", text=text, hint=f"its variable for {device} is {rule.variable}")
        )
    return tuple(notes)


def _bundled_note(
    label: str, rule: Rule, bundled: BundledPtxas | None, device: ComputeCapability, environ: Mapping[str, str]
) -> TritonNote:
    arch = f"sm_{device.sm}a"
    if bundled is None:
        text = f"{label} calls {rule.program} for {device}, which is not in it"
        return TritonNote(code="triton-ptxas-too-old", text=text, hint=_advice(rule, arch))
    what = f"{label} calls its own {bundled.program} {bundled.version} for {device}"
    if bundled.takes:
        return TritonNote(
            code="triton-ptxas-fits", text=f"{what}, which takes {arch}: nothing to do", evidence=bundled.how
        )
    if bundled.takes is None:
        return TritonNote(code="triton-ptxas-fits", text=f"{what}: whether it takes {arch} is not known")
    text = f"{what}, which does not take {arch}: every compilation on the device fails"
    own = environ.get(rule.variable)
    if own is not None:
        other = ask_bundled(Path(own), device)
        if other is not None and other.takes and _in_range(other.version, rule):
            text = f"{what}, which does not take {arch}; {rule.variable}={own}, which is set, does"
            return TritonNote(code="triton-ptxas-fits", text=text, evidence=bundled.how)
        text += f", and {rule.variable}={own}, which is set, does not help"
    return TritonNote(code="triton-ptxas-too-old", text=text, evidence=bundled.how, hint=_advice(rule, arch))


def _in_range(version: str, rule: Rule) -> bool:
    return tuple(int(part) for part in version.split("."))[:2] <= rule.newest


def _advice(rule: Rule, arch: str) -> str:
    """The variable, the ptxas that works with it, and the command that sets both."""
    first = _FIRST_CUDA.get(int(arch.removeprefix("sm_").rstrip("a")), (12, 9))
    fitting = sorted(
        (pin for pin in own_pins() if first <= pin.version[:2] <= rule.newest), key=lambda pin: pin.version
    )
    source = f" (such as that of {fitting[0].requirement})" if fitting else ""
    return (
        f"set {rule.variable} to a ptxas of CUDA {_span(first, rule.newest)}{source}; `shim exec -- COMMAND` does so "
        "for one command. The bundled file is left as it is"
    )


def _span(first: tuple[int, int], newest: tuple[int, int]) -> str:
    """ "12.9 (13 does not work)", "12.9 to 13.0", "12.9 or newer"."""
    start = f"{first[0]}.{first[1]}"
    if newest[0] == first[0]:
        return f"{start} ({first[0] + 1} does not work)"
    return f"{start} or newer" if newest[1] == _ANY_MINOR else f"{start} to {newest[0]}.{newest[1]}"


def _rule(version: str) -> Rule | None:
    try:
        return rule_for(Version(version))
    except InvalidVersion:
        return None
