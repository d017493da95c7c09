"""What a branch does: refuse, leave out, do, or only set numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from shim.source.gates.names import SWITCH_OFF, TUNING
from shim.source.gates.place import Place, asks_capability, last_name

_REASON: Final = re.compile(r"support|requir|only|unsupp|not |need|incompat", re.IGNORECASE)
PREDICATE: Final = re.compile(
    r"^_*(is|can|has|should|use|uses|supports?|enable|allow|check|valid|eligible|want)"
    r"|support|available|eligible|capable|allowed|enabled|compatible",
    re.IGNORECASE,
)
LOG: Final = re.compile(r"log|warn|print|debug|info", re.IGNORECASE)
_EXITS: Final = frozenset({"exit", "_exit", "skip", "fail", "abort", "skipTest"})


class Kind(IntEnum):
    """What a branch does; when several things happen, the greatest counts."""

    EMPTY = 0
    LOG = 1
    TUNE = 2
    FEATURE = 3
    DISABLE = 4
    REFUSE = 5


@dataclass(frozen=True, slots=True)
class Branches:
    """Judges the statements of one file."""

    place: Place

    def block(self, body: Sequence[ast.stmt]) -> Kind:
        """Kind of a list of statements."""
        kinds: set[Kind] = set()
        for statement in body:
            kind = self._statement(statement)
            if kind is Kind.REFUSE and isinstance(statement, (ast.Raise, ast.Return, ast.Expr, ast.Assert)):
                return Kind.REFUSE
            kinds.add(kind)
        return _strongest(kinds)

    def value(self, node: ast.expr | None, name: str = "") -> Kind:
        """Kind of choosing a value for something called `name`."""
        if name and TUNING.search(name):
            return Kind.TUNE
        match node:
            case None:
                return Kind.DISABLE
            case ast.Constant():
                return _constant(node.value)
            case ast.Tuple() | ast.List() | ast.Set():
                return _elements([self.value(part) for part in node.elts], node.elts)
            case ast.Dict():
                return _elements([self.value(part) for part in node.values], node.values)
            case ast.BinOp():
                return Kind.FEATURE if isinstance(node.op, (ast.BitOr, ast.MatMult)) or _is_text(node) else Kind.TUNE
            case ast.UnaryOp():
                return self.value(node.operand)
            case ast.Call() | ast.Name() | ast.Attribute() | ast.Subscript():
                return Kind.TUNE if TUNING.search(last_name(node)) else Kind.FEATURE
            case ast.IfExp():
                return max(self.value(node.body), self.value(node.orelse))
            case ast.Compare():
                return Kind.TUNE if any(self.value(part) is Kind.TUNE for part in node.comparators) else Kind.FEATURE
            case ast.BoolOp():
                return min(self.value(part) for part in node.values)
            case ast.JoinedStr():
                return (
                    Kind.REFUSE
                    if any(isinstance(p, ast.Constant) and _REASON.search(str(p.value)) for p in node.values)
                    else Kind.FEATURE
                )
            case _:
                return Kind.FEATURE

    def _statement(self, node: ast.stmt) -> Kind:
        match node:
            case ast.Raise():
                return Kind.REFUSE
            case ast.Return():
                return self._returns(node)
            case ast.Continue():
                return Kind.DISABLE
            case (
                ast.Pass()
                | ast.Break()
                | ast.Import()
                | ast.ImportFrom()
                | ast.Global()
                | ast.Nonlocal()
                | ast.Assert()
            ):
                return Kind.FEATURE if isinstance(node, (ast.Import, ast.ImportFrom)) else Kind.EMPTY
            case ast.Expr():
                return _call_kind(node.value)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                return self._sets(node)
            case ast.If():
                kinds = {self.block(node.body), self.block(node.orelse)}
                return Kind.DISABLE if kinds == {Kind.REFUSE, Kind.EMPTY} else _strongest(kinds)
            case ast.For() | ast.While() | ast.With() | ast.AsyncWith() | ast.AsyncFor():
                return self.block(node.body)
            case ast.Try():
                return self.block([*node.body, *node.orelse])
            case _:
                return Kind.FEATURE

    def _sets(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> Kind:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [
            last_name(part)
            for target in targets
            for part in (target.elts if isinstance(target, ast.Tuple) else [target])
        ]
        if names and all(TUNING.search(name) for name in names):
            return Kind.TUNE
        kind = self.value(node.value)
        if names and SWITCH_OFF.search(names[0]) and kind in (Kind.DISABLE, Kind.FEATURE):
            return Kind.FEATURE if kind is Kind.DISABLE else Kind.DISABLE
        return Kind.TUNE if kind is Kind.REFUSE else kind

    def _returns(self, node: ast.Return) -> Kind:
        function = self.place.function_of(node)
        name = getattr(function, "name", "")
        if TUNING.search(name) and not PREDICATE.search(name):
            return Kind.TUNE
        value = node.value
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            return Kind.DISABLE
        if isinstance(value, ast.Constant) and value.value is False:
            return Kind.FEATURE if SWITCH_OFF.search(name) else Kind.REFUSE
        if isinstance(value, ast.Constant) and value.value is True and SWITCH_OFF.search(name):
            return Kind.DISABLE
        if (
            isinstance(value, ast.Tuple)
            and value.elts
            and isinstance(value.elts[0], ast.Constant)
            and value.elts[0].value is False
        ):
            return Kind.REFUSE
        return self.value(value)

    def rest(self, node: ast.stmt) -> Kind:
        """Kind of what follows a statement in its block, for a device that was not sent away by it."""
        following = self.place.following(node)
        for statement in following:
            if isinstance(statement, (ast.Raise, ast.Return)):
                return self._statement(statement)
            if isinstance(statement, ast.If):
                if asks_capability(statement.test) or self.block(statement.body) in (Kind.REFUSE, Kind.DISABLE):
                    continue
                return Kind.FEATURE
            if self._statement(statement) is Kind.FEATURE and not isinstance(statement, (ast.Assign, ast.AnnAssign)):
                return Kind.FEATURE
        return Kind.FEATURE if following else Kind.EMPTY


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in ast.walk(node)
    )


def _constant(value: object) -> Kind:
    if value is None or value is False:
        return Kind.DISABLE
    if value is True:
        return Kind.FEATURE
    if isinstance(value, (int, float)):
        return Kind.TUNE
    return Kind.REFUSE if isinstance(value, str) and " " in value and _REASON.search(value) else Kind.FEATURE


def _elements(kinds: Sequence[Kind], nodes: Sequence[ast.expr | None]) -> Kind:
    if not nodes:
        return Kind.DISABLE
    first = nodes[0]
    if isinstance(first, ast.Constant) and first.value is False:
        return Kind.REFUSE
    return (
        Kind.TUNE if set(kinds) <= {Kind.TUNE, Kind.EMPTY} or kinds.count(Kind.TUNE) * 2 > len(kinds) else Kind.FEATURE
    )


def _call_kind(node: ast.expr) -> Kind:
    if isinstance(node, ast.Constant):
        return Kind.EMPTY
    name = last_name(node)
    if name in _EXITS:
        return Kind.REFUSE
    if isinstance(node, ast.Call) and re.match(r"_*(remove|discard|pop|drop|clear|disable)", name):
        return Kind.DISABLE
    if (
        isinstance(node, ast.Call)
        and name == "append"
        and node.args
        and isinstance(node.args[0], (ast.Constant, ast.JoinedStr))
    ):
        owner = last_name(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        return Kind.REFUSE if re.search(r"reason|error|invalid|unsupport|fail", owner) else Kind.FEATURE
    owner = last_name(node.func.value) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    return Kind.LOG if LOG.search(name) or LOG.search(owner) else Kind.FEATURE


def _strongest(kinds: Iterable[Kind]) -> Kind:
    found = set(kinds) - {Kind.EMPTY, Kind.LOG}
    if not found:
        return max(kinds, default=Kind.EMPTY)
    if found <= {Kind.DISABLE, Kind.REFUSE}:
        return max(found)
    if Kind.DISABLE in found and Kind.FEATURE not in found:
        return Kind.DISABLE
    return Kind.TUNE if found == {Kind.TUNE} else Kind.FEATURE if Kind.FEATURE in found else max(found)
