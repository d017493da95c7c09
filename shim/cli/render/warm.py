"""What `warm` says: for each package what was compiled, and what cannot be without its code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shim.cli.render.patch import refusal_lines
from shim.scan.words import plural
from shim.warming.model import WarmResult


def result_lines(results: Sequence[WarmResult], *, everything: bool) -> list[str]:
    """Text for people. Without `everything`, packages that have nothing to compile are counted only."""
    lines: list[str] = []
    quiet = 0
    for result in results:
        said = _lines(result)
        if said:
            lines += [f"{result.label}: {said[0]}", *(f"  {line}" for line in said[1:])]
        elif everything:
            lines.append(f"{result.label}: nothing to compile: no PTX that the target's driver would have to compile")
        else:
            quiet += 1
    if quiet:
        lines.append(f"{plural(quiet, 'package')} with nothing to compile")
    return lines


def _lines(result: WarmResult) -> list[str]:
    lines = []
    work = result.work
    if work.units:
        tools = f" ({', '.join(work.tools)})" if work.tools else ""
        lines.append(
            f"{plural(work.compiled, 'module')} compiled, {work.cached} in the store already: "
            f"{work.cpu_seconds:.1f} CPU s{tools}"
        )
    if result.texts:
        lines.append(f"{plural(result.texts, '.ptx file')}: only the driver's own cache helps them (--device)")
    if result.licensed:
        lines.append(f"{plural(result.licensed, 'library')} of NVIDIA left out: `patch` does not change them")
    if result.driver is not None:
        lines += _driver_lines(result)
    if result.own_jit is not None:
        own = result.own_jit
        lines.append(f"compiles by itself: {own.what}; kept in {own.cache}")
        lines.append("  that needs its own code, so it is not done here" + _command(own.command))
    lines += [line.removeprefix("  ") for line in refusal_lines(result.refusals)]
    return lines


def _command(command: str) -> str:
    return f"; what would do it: {command}" if command else "; it has no command that does it: run the program once"


def _driver_lines(result: WarmResult) -> list[str]:
    driver = result.driver
    if driver is None:
        return []
    lines = [f"driver: {plural(driver.loaded, 'module')} loaded in {driver.seconds:.1f} s"]
    lines += [f"driver: {label}: {text}" for label, text in driver.failed]
    if driver.not_given:
        lines.append(
            f"driver: {plural(driver.not_given, 'relocatable module')} left out: the runtime links them itself"
        )
    return lines


def result_document(results: Sequence[WarmResult]) -> Mapping[str, Any]:
    """The results as JSON values."""
    return {
        "schema": "shim-warm/1",
        "packages": [
            {
                "name": result.label,
                "modules": result.work.units,
                "compiled": result.work.compiled,
                "cached": result.work.cached,
                "cpu_seconds": round(result.work.cpu_seconds, 3),
                "tools": list(result.work.tools),
                "ptx_files": result.texts,
                "nvidia_libraries": result.licensed,
                "refusals": [
                    {"member": member, "code": r.code, "container": r.container, "reason": r.reason}
                    for member, r in result.refusals
                ],
                "own_compiler": None
                if result.own_jit is None
                else {
                    "what": result.own_jit.what,
                    "cache": result.own_jit.cache,
                    "command": result.own_jit.command,
                    "evidence": result.own_jit.evidence,
                },
                "driver": None
                if result.driver is None
                else {
                    "loaded": result.driver.loaded,
                    "failed": [{"module": label, "error": text} for label, text in result.driver.failed],
                    "not_given": result.driver.not_given,
                    "seconds": round(result.driver.seconds, 3),
                },
            }
            for result in results
        ],
    }
