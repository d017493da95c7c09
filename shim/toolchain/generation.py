"""The ptxas of one CUDA release, to learn what that release writes."""

from __future__ import annotations

from pathlib import Path

from shim.errors import ToolError
from shim.toolchain.find import Survey, survey
from shim.toolchain.tool import Tool, ask_version
from shim.toolchain.toolstore import ToolStore

FIRST_FOR_121 = (12, 9)
"""First release that knows 12.1. It stands for 12.8, which knows 12.0 only."""


def ptxas_of_release(
    release: tuple[int, int],
    *,
    explicit: Path | None = None,
    offline: bool = False,
    found: Survey | None = None,
    store: ToolStore | None = None,
) -> Tool:
    """Return a ptxas of a release that knows 12.1; where there is none, the nearest newer one of the same major.

    One on this machine or in the tool store is preferred to one that has to be fetched, and the release itself to a
    newer one. An explicit one is used or refused, never replaced.

    Args:
        found: what `survey("ptxas")` gave; None = survey now.
        store: None = the store in shim's cache folder.

    Raises:
        ToolError: there is none, or none may be fetched.
    """
    least = max(release, FIRST_FOR_121)
    name = f"ptxas of CUDA {least[0]}.{least[1]}"
    if explicit is not None:
        tool = ask_version(explicit.absolute(), name="ptxas", origin="--ptxas")
        if not _stands_for(tool.version, least):
            raise ToolError(f"{tool} does not stand for {name}", hint="leave out --ptxas, or name that one")
        return tool
    store = store or ToolStore.default()
    found = found or survey("ptxas")
    here = [tool for tool in (*found.tools, *store.tools("ptxas")) if _stands_for(tool.version, least)]
    pins = [pin for pin in store.pins if _stands_for(pin.version, least) and store.machine in pin.wheels]
    releases = sorted({tool.version[:2] for tool in here} | {pin.version[:2] for pin in pins})
    if not releases:
        raise ToolError(f"no {name} or newer of that major", hint="name one with --ptxas")
    for tool in here:
        if tool.version[:2] == releases[0]:
            return tool
    return store.fetch(next(pin for pin in pins if pin.version[:2] == releases[0]), "ptxas", offline=offline)


def _stands_for(version: tuple[int, int, int], least: tuple[int, int]) -> bool:
    return version[0] == least[0] and version[:2] >= least
