"""What `apply --env` and `undo --env` say."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

from shim.applying.environment_result import DistributionResult, Ending, EnvironmentResult
from shim.recipes.outcome import State

_WORDS: Final = {
    Ending.APPLIED: "changed",
    Ending.VARIABLES: "needs variables",
    Ending.PLANNED: "would be changed",
    Ending.ALREADY: "applied already",
    Ending.NOTHING: "nothing to do",
    Ending.REFUSED: "left as it is",
    Ending.FAILED: "left as it is",
    Ending.TAKEN_BACK: "taken back",
}


def environment_lines(result: EnvironmentResult) -> list[str]:
    """The whole result as text."""
    if not result.results:
        return [f"{result.prefix}: no installed package has a recipe for {result.target.device}"]
    lines = []
    for one in result.results:
        lines += _distribution_lines(one)
    exports = export_lines(result)
    if exports:
        lines += ["", "set these where the programs run:", *(f"  {line}" for line in exports)]
    return lines


def _distribution_lines(one: DistributionResult) -> list[str]:
    lines = [f"{one.name} {one.version}: {_WORDS[one.ending]}"]
    for found in one.matches:
        word = "" if found.state is State.APPLIES else f" [{found.state}]"
        lines.append(f"  {found.recipe.id}{word}: {found.why}")
    for change in one.edits:
        lines += [f"    {line}" for line in change.diff.splitlines()]
    if one.error is not None:
        lines += [f"  {line}" for line in one.error.message.splitlines()]
        if one.error.hint:
            lines.append(f"  next: {one.error.hint}")
    return lines


def export_lines(result: EnvironmentResult) -> list[str]:
    """Lines for a shell. A tool whose place is not known is a comment that says how to get it."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(result.variables.items())]
    return lines + [
        f"# {tool.variable}: set it to the path of {tool.tool} {tool.version} ({tool.recipe})"
        for one in result.results
        for tool in one.tools
    ]


def environment_document(result: EnvironmentResult) -> Mapping[str, Any]:
    """The result as JSON values."""
    return {
        "schema": "shim-apply/1",
        "prefix": result.prefix,
        "target": str(result.target.device),
        "distributions": [_distribution_document(one) for one in result.results],
        "environment": result.variables,
        "tools": [
            {"variable": tool.variable, "tool": tool.tool, "version": tool.version, "recipe": tool.recipe}
            for one in result.results
            for tool in one.tools
        ],
    }


def _distribution_document(one: DistributionResult) -> Mapping[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "ending": one.ending.value,
        "recipes": [{"id": found.recipe.id, "state": found.state.value, "why": found.why} for found in one.matches],
        "edits": [{"path": change.path, "recipe": change.origin, "diff": change.diff} for change in one.edits],
        "error": None if one.error is None else {"message": one.error.message, "hint": one.error.hint},
    }
