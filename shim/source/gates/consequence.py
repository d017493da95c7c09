"""What hangs on a test: the kind of what happens when it is true, and when it is false."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shim.source.gates.branches import LOG, PREDICATE, Branches, Kind
from shim.source.gates.names import SWITCH_OFF, TUNING
from shim.source.gates.place import Place, last_name
from shim.source.gates.predicates import is_membership_check

_DEEPEST: Final = 4


@dataclass(frozen=True, slots=True)
class Pair:
    """Kind of what happens when a test is true, and when it is false."""

    true: Kind
    false: Kind

    def swapped(self) -> Pair:
        return Pair(self.false, self.true)

    def of(self, outcome: bool) -> Kind:
        return self.true if outcome else self.false


_UNCLEAR: Final = Pair(Kind.FEATURE, Kind.EMPTY)


class Consequences:
    """Looks from a test outwards: to its statement, the uses of its name, the callers of its function."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.branches = Branches(place)

    def of(self, node: ast.expr, depth: int = 0) -> Pair:
        """Kinds for a test that is a part of a larger expression or statement."""
        parent = self.place.parents.get(node)
        match parent:
            case ast.UnaryOp():
                return self.of(parent, depth).swapped() if isinstance(parent.op, ast.Not) else self.of(parent, depth)
            case ast.BoolOp() | ast.NamedExpr() | ast.Await() | ast.Starred():
                return self.of(parent, depth)
            case ast.Compare():
                return self._compared(node, parent, depth)
            case ast.If() | ast.While() if parent.test is node:
                return Pair(self.branches.block(parent.body), self._otherwise(parent))
            case ast.IfExp():
                if parent.test is node:
                    return self._chosen(parent)
                return self.of(parent, depth)
            case ast.Assert():
                return Pair(Kind.EMPTY, Kind.REFUSE)
            case ast.Return():
                return self._returned(parent, depth)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                return self._assigned(parent, depth)
            case ast.Tuple() if parent.elts and parent.elts[0] is node:
                return self.of(parent, depth)
            case ast.GeneratorExp() if parent.elt is node:
                return self.of(parent, depth)
            case ast.comprehension():
                return Pair(Kind.FEATURE, Kind.DISABLE)
            case ast.keyword():
                return self._flag(parent.arg or "")
            case ast.Dict():
                return self._dict_value(node, parent)
            case ast.Call():
                return self._argument(node, parent, depth)
            case ast.Expr():
                raises = isinstance(node, ast.Call) and is_membership_check(last_name(node))
                return Pair(Kind.EMPTY, Kind.REFUSE if raises else Kind.EMPTY)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return Pair(Kind.FEATURE, Kind.REFUSE)  # a decorator that lists architectures
            case _:
                return _UNCLEAR

    def _otherwise(self, node: ast.If | ast.While) -> Kind:
        if node.orelse:
            return self.branches.block(node.orelse)
        if not node.body or not isinstance(node.body[-1], (ast.Return, ast.Raise, ast.Continue)):
            return Kind.EMPTY
        return self.branches.rest(node)

    def _chosen(self, node: ast.IfExp) -> Pair:
        name = ""
        parent = self.place.parents.get(node)
        if isinstance(parent, (ast.Assign, ast.AnnAssign)):
            name = last_name(parent.targets[0] if isinstance(parent, ast.Assign) else parent.target)
        elif isinstance(parent, ast.keyword):
            name = parent.arg or ""
        elif isinstance(parent, ast.Return):
            name = getattr(self.place.function_of(node), "name", "")
        return Pair(self.branches.value(node.body, name), self.branches.value(node.orelse, name))

    def _compared(self, node: ast.expr, parent: ast.Compare, depth: int) -> Pair:
        other = parent.comparators[0] if parent.left is node else parent.left
        pair = self.of(parent, depth)
        negative = isinstance(other, ast.Constant) and other.value in (False, None)
        differs = isinstance(parent.ops[0], (ast.NotEq, ast.IsNot))
        return pair.swapped() if negative != differs else pair

    def _returned(self, node: ast.Return, depth: int) -> Pair:
        function = self.place.function_of(node)
        if function is None or isinstance(function, ast.Lambda) or depth >= _DEEPEST:
            return _UNCLEAR
        uses = [*self.place.loads.get(function.name, ()), *self.place.loads.get(f".{function.name}", ())]
        found = []
        for use in uses:
            parent = self.place.parents.get(use)
            call = parent if isinstance(parent, ast.Call) and parent.func is use else use
            if self.place.function_of(use) is not function and isinstance(call, ast.expr):
                found.append(self.of(call, depth + 1))
        if not found or (TUNING.search(function.name) and not PREDICATE.search(function.name)):
            return self._flag(function.name)
        return _union(found)

    def _assigned(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign, depth: int) -> Pair:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if depth >= _DEEPEST:
            return _UNCLEAR
        if isinstance(target, ast.Attribute):
            uses = [use for use in self.place.loads.get(f".{target.attr}", ()) if use is not target]
            name = target.attr
        elif isinstance(target, ast.Name):
            name = target.id
            inside = self.place.function_of(node)
            uses = [use for use in self.place.loads.get(name, ()) if inside is None or self.place.within(use, inside)]
        else:
            return self._flag(last_name(target))
        found = [self.of(use, depth + 1) for use in uses if not self.place.within(use, node)]
        if not found or TUNING.search(name):
            return self._flag(name)
        return _union(found)

    def _dict_value(self, node: ast.expr, parent: ast.Dict) -> Pair:
        for key, value in zip(parent.keys, parent.values, strict=True):
            if value is node and isinstance(key, ast.Constant):
                return self._flag(str(key.value))
        return _UNCLEAR

    def _argument(self, node: ast.expr, call: ast.Call, depth: int) -> Pair:
        name = last_name(call.func)
        if name in ("bool", "any", "all", "int", "constexpr", "const_expr"):
            return self.of(call, depth)
        if name in ("static_assert", "check", "torch_check", "assert_"):
            return Pair(Kind.EMPTY, Kind.REFUSE)
        if name in ("skipif", "skipIf", "skip_if"):
            return Pair(Kind.DISABLE, Kind.FEATURE)
        if name in ("skipUnless", "skip_unless"):
            return Pair(Kind.FEATURE, Kind.DISABLE)
        if LOG.search(name):
            return Pair(Kind.LOG, Kind.LOG)
        return _UNCLEAR

    def _flag(self, name: str) -> Pair:
        if TUNING.search(name) and not PREDICATE.search(name):
            return Pair(Kind.TUNE, Kind.TUNE)
        if SWITCH_OFF.search(name):
            return Pair(Kind.DISABLE, Kind.FEATURE)
        return Pair(Kind.FEATURE, Kind.DISABLE)


def _union(pairs: Sequence[Pair]) -> Pair:
    return Pair(max(pair.true for pair in pairs), max(pair.false for pair in pairs))
