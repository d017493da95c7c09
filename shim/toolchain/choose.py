"""Which ptxas, nvlink and nvJitLink a patch uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shim.errors import ToolError
from shim.toolchain.ask import refusal
from shim.toolchain.find import Surroundings, Survey, library_files, survey
from shim.toolchain.nvjitlink import NAME as NVJITLINK
from shim.toolchain.nvjitlink import ask_library
from shim.toolchain.tool import Tool, ask_version
from shim.toolchain.toolstore import ToolStore

DRIVER_MAJOR = 13
"""CUDA major version of the driver of a DGX Spark (580). Code of a newer major does not load on it; NVIDIA
promises compatibility of minor versions only ("CUDA Compatibility", minor version compatibility)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    isa: tuple[int, int]
    arch: str

    def __str__(self) -> str:
        return f"PTX {self.isa[0]}.{self.isa[1]} for {self.arch}"


def choose_ptxas(
    isa: tuple[int, int],
    target_arch: str,
    *,
    explicit: Path | None = None,
    offline: bool = False,
    driver_major: int = DRIVER_MAJOR,
    found: Survey | None = None,
    store: ToolStore | None = None,
) -> Tool:
    """Return the ptxas that turns PTX of version `isa` into code for `target_arch` (`sm_121`).

    An explicit one is used or refused, never replaced. A suitable one under SHIM_CUDA_HOME comes next. Else
    the oldest suitable one of the driver's CUDA major, on this machine or in the tool store; then one fetched
    into the store; then the oldest suitable one of an older major. The oldest, because newer ones write
    attributes into `.nv.compat` that an older driver has not seen. Suitable is what assembles a test program;
    versions only give the order.

    Args:
        found: what `survey("ptxas")` gave; None = survey now.
        store: None = the store in shim's cache folder.

    Raises:
        ToolError: there is none; the message lists what was tried and why it was passed over.
    """
    question = _Question(isa=isa, arch=target_arch)
    if explicit is not None:
        return _explicit(explicit, question)
    store = store or ToolStore.default()
    found = found or survey("ptxas")
    refused = list(found.broken)
    suitable = []
    for tool in (*found.tools, *store.tools("ptxas")):
        if why := _why_not(tool, question, driver_major):
            refused.append(f"{tool}: {why}")
        elif tool.origin == "SHIM_CUDA_HOME":
            return tool
        else:
            suitable.append(tool)
    suitable.sort(key=lambda tool: tool.version)  # stable: equal versions keep the order of preference
    if own_major := [tool for tool in suitable if tool.version[0] == driver_major]:
        return own_major[0]
    try:
        return _fetched(store, question, driver_major, offline)
    except ToolError as err:
        if suitable:
            return suitable[0]
        tried = "".join(f"\n  {line}" for line in (*refused, err.message))
        raise ToolError(f"no ptxas takes {question}:{tried}", hint=err.hint) from err


def choose_nvlink(ptxas: Tool, *, explicit: Path | None = None, offline: bool = False) -> Tool:
    """Return an nvlink for objects made by `ptxas`: the one beside it, else the oldest not older than it.

    Raises:
        ToolError: there is none of the same CUDA major, here or in the tool store.
    """
    if explicit is not None:
        return ask_version(explicit.absolute(), name="nvlink", origin="--nvlink")
    store = ToolStore.default()
    found = (*survey("nvlink").tools, *store.tools("nvlink"))
    for tool in found:
        if tool.path.parent == ptxas.path.parent and tool.version == ptxas.version:
            return tool
    newer = sorted((tool for tool in found if _links(tool.version, ptxas)), key=lambda tool: tool.version)
    if newer:
        return newer[0]
    pins = sorted((pin for pin in store.pins if _links(pin.version, ptxas)), key=lambda pin: pin.version)
    for pin in pins:
        if any(Path(program).name == "nvlink" for program in pin.programs):
            return store.fetch(pin, "nvlink", offline=offline)
    raise ToolError(
        f"no nvlink for the output of {ptxas}",
        hint=f"install a CUDA {ptxas.version[0]} toolkit, at least {'.'.join(map(str, ptxas.version))}",
    )


def nvjitlinks(
    at_least: tuple[int, int],
    *,
    offline: bool = False,
    driver_major: int = DRIVER_MAJOR,
    store: ToolStore | None = None,
    around: Surroundings | None = None,
) -> Iterator[Tool]:
    """Yield every nvJitLink of the driver's CUDA major that is not older than `at_least`, oldest first.

    Those of this machine and the tool store come first; releases that only the index has are fetched when the
    others were not enough. Which LTO-IR a release reads is known only by trying.

    Raises:
        ToolError: there is none, with what was tried; not after one was yielded.
    """
    store = store or ToolStore.libraries()
    name = f"lib{NVJITLINK}.so.{driver_major}"
    found: dict[tuple[int, int], Tool] = {}
    refused: list[str] = []
    for origin, path in library_files(name, around=around):
        try:
            tool = ask_library(path, name=name, origin=origin)
        except ToolError as err:
            refused.append(err.message)
            continue
        found.setdefault(tool.version[:2], tool)
    for tool in store.tools(name):
        found.setdefault(tool.version[:2], tool)
    suitable = {v: tool for v, tool in found.items() if v[0] == driver_major and v >= at_least}
    yield from (suitable[version] for version in sorted(suitable))
    tried = bool(suitable)
    for pin in sorted(store.pins, key=lambda pin: pin.version):
        version = pin.version[:2]
        if version[0] == driver_major and version >= at_least and version not in suitable:
            try:
                fetched = store.fetch(pin, name, offline=offline)
            except ToolError as err:
                refused.append(err.message)
                continue
            tried = True
            yield fetched
    if not tried:
        told = "".join(f"\n  {line}" for line in refused)
        raise ToolError(
            f"no nvJitLink of CUDA {driver_major}, {at_least[0]}.{at_least[1]} or newer:{told}",
            hint=f"pip install 'nvidia-nvjitlink>={at_least[0]}.{at_least[1]},<{driver_major + 1}'",
        )


def _links(version: tuple[int, int, int], ptxas: Tool) -> bool:
    return version[0] == ptxas.version[0] and version >= ptxas.version


def _explicit(path: Path, question: _Question) -> Tool:
    try:
        tool = ask_version(path.absolute(), name="ptxas", origin="--ptxas")
    except ToolError as err:
        raise ToolError(f"--ptxas {path}: {err.message}", hint="leave out --ptxas, or name another") from err
    if why := refusal(tool, isa=question.isa, arch=question.arch):
        raise ToolError(f"{tool} does not take {question}: {why}", hint="leave out --ptxas, or name another")
    return tool


def _why_not(tool: Tool, question: _Question, driver_major: int) -> str:
    if tool.version[0] > driver_major:
        return f"it is of CUDA {tool.version[0]}, newer than the driver's CUDA {driver_major}"
    return refusal(tool, isa=question.isa, arch=question.arch)


def _fetched(store: ToolStore, question: _Question, driver_major: int, offline: bool) -> Tool:
    """Return the ptxas of the oldest pinned wheel of the driver's major that is said to take the question."""
    fit = [pin for pin in store.pins if pin.version[0] == driver_major and pin.ptx_isa >= question.isa]
    if not fit:
        raise ToolError(
            f"no compiler wheel of CUDA {driver_major} that shim knows takes {question}",
            hint="install a newer CUDA toolkit and name its ptxas with --ptxas",
        )
    tool = store.fetch(min(fit, key=lambda pin: pin.version), "ptxas", offline=offline)
    if why := _why_not(tool, question, driver_major):
        raise ToolError(f"{tool}: {why}", hint="name another ptxas with --ptxas")
    return tool
