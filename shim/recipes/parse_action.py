"""The tables under `[[action]]`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shim.recipes.model import (
    Action,
    AppendPython,
    BuildEnv,
    CMakeOverlay,
    EditPython,
    GateKind,
    InjectSass,
    Refuse,
    ReplaceText,
    Retarget,
    RunEnv,
    SetArchList,
    Toolchain,
)
from shim.recipes.table import Table

_SCOPE: Final = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_TOOL_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_-]*"  # Triton 3.3 reads TRITON_PTXAS-BLACKWELL_PATH
_GATES: Final = tuple(GateKind)


def _gate(table: Table, default: str | None = None) -> GateKind:
    return table.choice("gate", GateKind, _GATES, default)


def _edit_python(table: Table) -> Action:
    return EditPython(
        path=table.path("path"),
        scope=table.text("scope", "", pattern=_SCOPE),
        find=table.text("find"),
        replace=table.text("replace", empty=True),
        count=table.number("count", 1, least=1),
        gate=_gate(table),
    )


def _append_python(table: Table) -> Action:
    return AppendPython(
        path=table.path("path"),
        scope=table.text("scope", "", pattern=_SCOPE),
        target=table.text("target", pattern=_SCOPE),
        add=table.text("add"),
        count=table.number("count", 1, least=1),
        gate=_gate(table),
    )


def _replace_text(table: Table) -> Action:
    return ReplaceText(
        path=table.path("path"),
        find=table.text("find"),
        replace=table.text("replace", empty=True),
        count=table.number("count", 1, least=1),
        gate=_gate(table),
    )


def _set_arch_list(table: Table) -> Action:
    return SetArchList(
        path=table.path("path"),
        variable=table.text("variable", pattern=_VARIABLE),
        value=table.text("value"),
        count=table.number("count", 1, least=1),
        gate=_gate(table, "none"),
    )


def _toolchain(table: Table) -> Action:
    return Toolchain(
        tool=table.text("tool"),
        version=table.text("version", pattern=r"\d+(?:\.\d+)*"),
        variable=table.text("variable", pattern=_TOOL_VARIABLE),
    )


_ACTIONS: Final[dict[str, Callable[[Table], Action]]] = {
    "edit-python": _edit_python,
    "append-python": _append_python,
    "replace-text": _replace_text,
    "set-arch-list": _set_arch_list,
    "build-env": lambda table: BuildEnv(set=table.variables("set")),
    "run-env": lambda table: RunEnv(set=table.variables("set")),
    "cmake-overlay": lambda table: CMakeOverlay(
        module=table.text("module", pattern=r"[A-Za-z0-9_]+\.cmake"), path=table.path("path")
    ),
    "toolchain": _toolchain,
    "inject-sass": lambda table: InjectSass(members=table.path("members")),
    "retarget": lambda table: Retarget(members=table.path("members")),
    "refuse": lambda table: Refuse(reason=table.text("reason"), advice=table.text("advice")),
}


def parse_action(table: Table) -> Action | None:
    known = table.faults[:]
    kind = table.choice("do", str, tuple(_ACTIONS))
    if table.faults != known:
        return None
    action = _ACTIONS[kind](table)
    table.end()
    return action
