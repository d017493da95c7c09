"""Triton's assembler: which one it uses, whether that takes the target, and which variable names a better one.

Triton calls ptxas for `sm_<XY>a`. What it brought was too old for 12.1 up to 3.5 (measured with the wheels, by
compiling for `GPUTarget("cuda", 121, 32)` without a GPU; `backends/nvidia/compiler.py` and `knobs.py` of each release):

| triton | from 10.0 on it calls | other one named by | takes as other one |
|---|---|---|---|
| 3.3 | `ptxas-blackwell` (12.8) | `TRITON_PTXAS-BLACKWELL_PATH` | CUDA 10 to 12 |
| 3.4 | `ptxas` (12.8) | `TRITON_PTXAS_PATH` | CUDA 10 to 12 ("Triton only support CUDA 10.0 or higher" for 13) |
| 3.5 | `ptxas` (12.8) | `TRITON_PTXAS_PATH` | 12.9 and 13.0 |
| 3.6 and later | `ptxas-blackwell` (12.9 and later) | `TRITON_PTXAS_BLACKWELL_PATH` | none is needed |

Nothing in Triton's folder is changed: its files belong to other programs of the environment too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import InvalidVersion, Version

from shim.arch import ComputeCapability
from shim.errors import ToolError
from shim.toolchain.ask import refusal
from shim.toolchain.find import find_tools
from shim.toolchain.interpreter import installed
from shim.toolchain.tool import Tool, ask_version
from shim.toolchain.toolstore import ToolStore

NAMES = ("triton", "pytorch-triton", "triton-nightly")
ASKED_ISA = (8, 0)  # old enough for every ptxas that Triton brought
FIRST_BLACKWELL = ComputeCapability(10, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonInstall:
    """An installed Triton. `programs` is its folder with ptxas."""

    version: Version
    programs: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the table above.

    Attributes:
        first: first release it holds for, as (major, minor).
        program: file called for capabilities from 10.0 on.
        variable: environment variable that names another file.
        newest: newest CUDA of which another ptxas works.
    """

    first: tuple[int, int]
    program: str
    variable: str
    newest: tuple[int, int]


RULES = (
    Rule(first=(3, 6), program="ptxas-blackwell", variable="TRITON_PTXAS_BLACKWELL_PATH", newest=(13, 99)),
    Rule(first=(3, 5), program="ptxas", variable="TRITON_PTXAS_PATH", newest=(13, 0)),
    Rule(first=(3, 4), program="ptxas", variable="TRITON_PTXAS_PATH", newest=(12, 99)),
    Rule(first=(3, 3), program="ptxas-blackwell", variable="TRITON_PTXAS-BLACKWELL_PATH", newest=(12, 99)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonAdvice:
    """Variables to set for Triton, and what to tell the user."""

    variables: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_triton(paths: Sequence[Path]) -> TritonInstall | None:
    """Return the Triton installed under these folders (of `sys.path`), if it can be read."""
    found = installed(NAMES, paths)
    if found is None:
        return None
    try:
        version = Version(found.version)
    except (InvalidVersion, TypeError):
        return None
    programs = Path(str(found.locate_file("triton/backends/nvidia/bin")))
    return TritonInstall(version=version, programs=programs) if programs.is_dir() else None


def advise(
    triton: TritonInstall,
    device: ComputeCapability,
    environ: Mapping[str, str],
    *,
    offline: bool = False,
    store: ToolStore | None = None,
) -> TritonAdvice:
    """Say what makes this Triton compile for a device. Fetches a ptxas if none fits (30 MB, once).

    Args:
        environ: the variables that the program will have otherwise; a fitting ptxas they name is kept.
        store: None = the store in shim's cache folder.
    """
    rule = rule_for(triton.version)
    name = f"triton {triton.version}"
    if rule is None:
        return TritonAdvice(notes=(f"{name} is older than 3.3: shim knows no way to make it compile for {device}",))
    if device < FIRST_BLACKWELL:
        return TritonAdvice()
    arch = f"sm_{device.sm}a"
    notes = []
    if "BLACKWELL" in rule.variable and environ.get("TRITON_PTXAS_PATH"):
        notes.append(f"{name} does not look at TRITON_PTXAS_PATH for {device}; its variable is {rule.variable}")
    if own := environ.get(rule.variable):
        why = _why_not(Path(own), arch, rule)
        if not why:
            return TritonAdvice(notes=tuple(notes))
        notes.append(f"{rule.variable}={own} is passed over: {why}")
    elif not (why := _why_not(triton.programs / rule.program, arch, None)):
        return TritonAdvice(notes=tuple(notes))
    try:
        tool = _other(rule, arch, store or ToolStore.default(), offline)
    except ToolError as err:
        hint = f" ({err.hint})" if err.hint else ""
        return TritonAdvice(notes=(*notes, f"{name} cannot compile for {device}: {why}; {err.message}{hint}"))
    notes.append(f"{name}: {rule.variable}={tool.path}, because its own {rule.program} refuses {arch}")
    return TritonAdvice(variables={rule.variable: str(tool.path)}, notes=tuple(notes))


def rule_for(version: Version) -> Rule | None:
    """The rule of a Triton release; None before 3.3."""
    return next((rule for rule in RULES if (version.major, version.minor) >= rule.first), None)


def _why_not(path: Path, arch: str, rule: Rule | None) -> str:
    """Why Triton cannot use this ptxas for `arch`; "" if it can."""
    try:
        tool = ask_version(path.absolute(), name="ptxas", origin="triton")
        return _refusal(tool, arch, rule)
    except ToolError as err:
        return err.message.splitlines()[0]


def _refusal(tool: Tool, arch: str, rule: Rule | None) -> str:
    if rule is not None and tool.version[:2] > rule.newest:
        return f"this Triton does not work with ptxas {'.'.join(map(str, tool.version))}"
    return refusal(tool, isa=ASKED_ISA, arch=arch)


def _other(rule: Rule, arch: str, store: ToolStore, offline: bool) -> Tool:
    """The oldest ptxas that fits: of the tool store, of this machine, or fetched.

    Raises:
        ToolError: none fits, and none may or can be fetched.
    """

    def fits(tools: Iterable[Tool]) -> list[Tool]:
        return sorted((tool for tool in tools if not _refusal(tool, arch, rule)), key=lambda tool: tool.version)

    if found := fits(store.tools("ptxas")) or fits(find_tools("ptxas")):
        return found[0]
    pins = sorted((pin for pin in store.pins if pin.version[:2] <= rule.newest), key=lambda pin: pin.version)
    if not pins:
        raise ToolError("no compiler wheel that shim knows fits")
    tool = store.fetch(pins[0], "ptxas", offline=offline)
    if why := _refusal(tool, arch, rule):
        raise ToolError(f"{tool}: {why}")
    return tool
